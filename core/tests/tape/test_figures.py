"""Figures: execution quality, closed trades, what is latest, what there is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from quantkeep import Keep
from quantkeep.errors import InvalidQuery
from quantkeep.tape import Diagnostic, EquityPoint, Slippage, SlippageStats, Trade

Make = Callable[..., Trade]


def _fill(symbol: str, bps: float, estimated: float | None = None, days_ago: float = 0) -> Slippage:
    return Slippage(
        timestamp=datetime.now(UTC) - timedelta(days=days_ago),
        symbol=symbol,
        target_price=10_000.0,
        fill_price=10_000.0 + bps,
        slippage_bps=bps,
        estimated_slippage_bps=estimated,
    )


@pytest.mark.requirement("CODEX-21", "CODEX-23", api="TradeTape.slippage_stats")
def test_slippage_statistics(keep: Keep) -> None:
    keep.tape.append(
        _fill("BTC", 4.0, 3.0), _fill("BTC", -2.0, 1.0), _fill("BTC", 1.0), _fill("ETH", 50.0, 0.0)
    )
    stats = keep.tape.slippage_stats("BTC", days=7)
    assert (stats.count, stats.max_bps, stats.min_bps) == (3, 4.0, -2.0)
    assert stats.avg_bps == pytest.approx(1.0)
    assert stats.avg_abs_bps == pytest.approx(7 / 3)
    assert stats.avg_est_error_bps == pytest.approx((1.0 - 3.0) / 2)  # of those with an estimate
    assert keep.tape.slippage_stats().count == 4


@pytest.mark.requirement("CODEX-21", api="TradeTape.slippage_stats")
def test_slippage_statistics_of_the_last_days(keep: Keep) -> None:
    keep.tape.append(_fill("BTC", 1.0, days_ago=8), _fill("BTC", 3.0, days_ago=1))
    assert keep.tape.slippage_stats("BTC", days=7).avg_bps == 3.0
    since = datetime.now(UTC) - timedelta(days=9)
    assert keep.tape.slippage_stats("BTC", since=since).avg_bps == 2.0
    nothing = SlippageStats(0, None, None, None, None, None)
    assert keep.tape.slippage_stats("BTC", days=0.5) == nothing
    assert keep.tape.slippage_stats("BTC", account="sub") == nothing


@pytest.mark.requirement("CODEX-21", "CODEX-29", api="TradeTape.slippage_stats")
def test_paper_has_no_slippage_to_measure(keep: Keep) -> None:
    with pytest.raises(InvalidQuery, match="no slippage statistics for paper"):
        keep.tape.slippage_stats("BTC", days=7, mode="paper")


@pytest.mark.requirement("CODEX-23", api="TradeTape.count_closed_trades")
def test_closed_trades_are_those_that_end_a_position(keep: Keep, trade: Make) -> None:
    ends = ["CLOSE", "KILL", "MANUAL", "EXTERNAL"]
    goes_on = ["OPEN", "INCREASE", "REDUCE", "REBALANCE", "FUNDING"]
    keep.tape.append([trade(action=a) for a in ends + goes_on], trade(action="CLOSE", mode="live"))
    assert keep.tape.count_closed_trades(mode="paper") == 4
    assert keep.tape.count_closed_trades(mode="live") == 1
    assert keep.tape.count_closed_trades() == 5
    assert keep.tape.count_closed_trades(account="sub") == 0


@pytest.mark.requirement("Z-2", "Z-36", api="TradeTape.latest_metrics")
def test_what_is_latest_is_said_by_the_store_and_not_by_a_clock(keep: Keep, noon: datetime) -> None:
    def metric(kind: str, minute: int, **data: int) -> Diagnostic:
        at = noon + timedelta(minutes=minute)
        return Diagnostic(mode="live", timestamp=at, metric_type=kind, data=data)

    keep.tape.append(metric("risk", 9, n=1), metric("engine", 1, n=2), metric("risk", 5, n=3))
    found = keep.tape.latest_metrics(mode="live")
    assert {name: d.data for name, d in found.items()} == {"engine": {"n": 2}, "risk": {"n": 3}}
    assert keep.tape.latest_metrics(mode="paper") == {}
    points = [
        EquityPoint(mode="live", timestamp=noon - timedelta(minutes=m), total_equity=float(m))
        for m in (1, 2)
    ]
    keep.tape.append(points)
    assert keep.tape.latest_equity(mode="live") == points[1]
    assert keep.tape.latest_equity(mode="paper") is None


@pytest.mark.requirement("CODEX-23", api="TradeTape.sizes")
def test_rows_of_every_log_are_counted(keep: Keep, trade: Make) -> None:
    keep.tape.append(trade(), trade(mode="live"))
    assert keep.tape.sizes() == {
        "trades": 2,
        "position_history": 0,
        "equity_history": 0,
        "slippage_analysis": 0,
        "diagnostics": 0,
        "evph_history": 0,
    }
