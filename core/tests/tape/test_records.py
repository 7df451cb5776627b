"""What the tape's records hold: every column of the design, under its good name."""

import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from quantkeep import InvalidValue, Keep
from quantkeep.collection import Index
from quantkeep.tape import (
    Diagnostic,
    EquityPoint,
    ExpectedValue,
    PositionEvent,
    Slippage,
    Trade,
)
from quantkeep.tape.logs import LOGS
from quantkeep.trading import ACTIONS, action_of

Make = Callable[..., Trade]

RENAMED = {
    "timestamp_ms": "timestamp",
    "trading_mode": "mode",
    "trade_uid": "uid",
    "id": "revision",
}

TRADES = """symbol side action target_price fill_price qty notional slippage_bps slippage_est_bps
    fee fee_rate trading_mode pos_source exec_type order_id timestamp_ms entry_group entry_rank
    entry_reason entry_ev entry_kelly entry_confidence realized_pnl roe hold_duration_sec
    raw_data"""
TRADES_LATER = """trade_uid entry_id entry_link_id regime alpha_vpin alpha_hurst pred_mu_alpha
    pred_mu_dir_conf policy_score_threshold policy_event_exit_min_score policy_unrealized_dd_floor
    entry_quality_score one_way_move_score leverage_signal_score"""
EQUITY = """timestamp_ms trading_mode pos_source total_equity wallet_balance available_balance
    unrealized_pnl position_count total_notional total_margin margin_ratio total_leverage"""
EVENTS = """symbol trading_mode pos_source event_type timestamp_ms side size entry_price exit_price
    leverage realized_pnl unrealized_pnl roe reason snapshot_data"""
SLIPPAGE = """symbol timestamp_ms target_price fill_price slippage_bps estimated_slippage_bps
    estimation_error_bps side exec_type volatility spread_bps order_size bid_price ask_price
    volume_24h"""
DIAGNOSTICS = "timestamp_ms metric_type symbol data"
EXPECTED = "timestamp_ms symbol ev_per_hour ev_score confidence kelly regime details"


@pytest.mark.parametrize(
    ("record", "table", "columns"),
    [
        pytest.param(
            Trade, "trades", TRADES, marks=pytest.mark.requirement("CODEX-4", api="tape.Trade")
        ),
        pytest.param(
            Trade,
            "trades",
            TRADES_LATER,
            marks=pytest.mark.requirement("CODEX-5", api="tape.Trade"),
        ),
        pytest.param(
            EquityPoint,
            "equity_history",
            EQUITY,
            marks=pytest.mark.requirement("CODEX-6", api="tape.EquityPoint"),
        ),
        pytest.param(
            PositionEvent,
            "position_history",
            EVENTS,
            marks=pytest.mark.requirement("CODEX-8", api="tape.PositionEvent"),
        ),
        pytest.param(
            Slippage,
            "slippage_analysis",
            SLIPPAGE,
            marks=pytest.mark.requirement("CODEX-10", api="tape.Slippage"),
        ),
        pytest.param(
            Diagnostic,
            "diagnostics",
            DIAGNOSTICS,
            marks=pytest.mark.requirement("CODEX-11", api="tape.Diagnostic"),
        ),
        pytest.param(
            ExpectedValue,
            "evph_history",
            EXPECTED,
            marks=pytest.mark.requirement("CODEX-12", api="tape.ExpectedValue"),
        ),
    ],
)
def test_every_column_of_the_design_is_there(record: Any, table: str, columns: str) -> None:
    assert record.collection.name == table
    names = {RENAMED.get(name, name) for name in columns.split()}
    assert names <= set(record.collection.names)


@pytest.mark.requirement("CODEX-2", "CODEX-5", api="tape.Trade")
def test_what_is_queried_is_indexed() -> None:
    def indexed(record: Any) -> set[str]:
        said: tuple[Index, ...] = record.collection.indexes
        return {name for index in said for name in index.columns} | set(record.collection.identity)

    assert indexed(Trade) >= {"timestamp", "symbol", "mode", "entry_id", "entry_link_id", "uid"}
    assert indexed(EquityPoint) >= {"timestamp", "mode"}
    assert indexed(PositionEvent) >= {"timestamp", "symbol"}
    assert indexed(Slippage) >= {"timestamp", "symbol"}
    assert indexed(Diagnostic) >= {"timestamp", "metric_type"}
    assert indexed(ExpectedValue) >= {"timestamp", "symbol"}


@pytest.mark.requirement("Z-30", "Z-31", api="TradeTape")
def test_every_log_is_numbered_by_account_and_mode() -> None:
    for record in LOGS:
        assert record.collection.log
        assert record.collection.stream == ("account", "mode")
        assert record.collection.identity == ("uid",)
        assert not record.collection.unique  # two events of one millisecond both stay


@pytest.mark.requirement("CODEX-29", api="TradeTape")
def test_the_exchange_streams_are_not_kept(keep: Keep) -> None:
    streams = {"tickers", "orderbook", "kline", "publicTrade", "position", "wallet", "execution"}
    assert not streams & set(keep.sizes())


def _entries(noon: datetime) -> list[Any]:
    raw = {"at": noon, "flags": [1, None, math.inf], "info": {"id": "a", "px": Decimal("1.10")}}
    common: dict[str, Any] = {"account": "sub/1", "uid": "u-1", "timestamp": noon}
    return [
        Trade(
            **common, mode="live", symbol="BTC/USDT:USDT", side="SHORT", action="REDUCE",
            source_action="REBAL_EXIT", qty=0.25, target_price=49_990.0, fill_price=50_000.0,
            slippage_est_bps=1.5, fill_probability_est=0.8, fee=-0.1, fee_rate=-0.0001,
            pos_source="exchange", exec_type="maker", order_id="1" * 77, entry_id="e",
            entry_link_id="l", entry_group="g", entry_rank=1, entry_reason="☕", entry_ev=0.01,
            entry_kelly=0.2, entry_confidence=0.9, entry_quality_score=math.nan, realized_pnl=-5.5,
            roe=-0.01, hold_duration_sec=3.5, regime="bull", alpha_vpin=0.1, alpha_hurst=0.5,
            pred_mu_alpha=-0.0, pred_mu_dir_conf=0.6, policy_score_threshold=1.0,
            policy_event_exit_min_score=2.0, policy_unrealized_dd_floor=-0.05,
            one_way_move_score=3.0, leverage_signal_score=4.0, raw_data=raw,
        ),
        EquityPoint(
            **common, mode="paper", pos_source="simulator", total_equity=10_000.1,
            wallet_balance=1.0, available_balance=2.0, unrealized_pnl=-3.0, position_count=4,
            total_notional=5.0, total_margin=6.0, margin_ratio=0.7, total_leverage=8.0,
        ),
        PositionEvent(
            **common, mode="live", symbol="ETH", event_type="LIQUIDATION", pos_source="exchange",
            side="LONG", size=1.0, entry_price=2.0, exit_price=3.0, leverage=4.0, realized_pnl=5.0,
            unrealized_pnl=6.0, roe=7.0, reason="margin", snapshot_data=raw,
        ),
        Slippage(
            **common, symbol="ETH", target_price=1.0, fill_price=1.1, estimated_slippage_bps=900.0,
            fill_probability_est=0.5, side="LONG", exec_type="taker", volatility=0.02,
            spread_bps=1.0, order_size=2.0, bid_price=0.9, ask_price=1.2, volume_24h=1e9,
        ),
        Diagnostic(**common, mode="test", metric_type="engine", symbol="ETH", data=raw),
        ExpectedValue(
            **common, mode="backtest", symbol="ETH", ev_per_hour=0.001, ev_score=1.0,
            confidence=0.5, kelly=0.1, regime="sideways", details=raw,
        ),
    ]  # fmt: skip


@pytest.mark.requirement("CODEX-1", "X-3", api="TradeTape.append")
def test_everything_comes_back_as_it_went_in(keep: Keep, noon: datetime) -> None:
    entries = _entries(noon)
    receipt = keep.tape.append(*entries)
    assert receipt.added == len(LOGS)
    for entry in entries:
        (found,) = keep.tape.scan(type(entry))
        assert repr(found) == repr(entry)  # repr: NaN is not equal to itself
        assert found.revision == 1
        assert all(getattr(entry, name) is not None for name in entry.collection.names)


# -- what follows from the rest --------------------------------------------------------------------


@pytest.mark.requirement("CODEX-4", api="tape.Trade")
def test_notional_and_slippage_are_filled_in(trade: Make) -> None:
    made = trade(qty=0.5, target_price=49_990.0, fill_price=50_000.0)
    assert made.notional == 25_000.0
    assert made.slippage_bps == pytest.approx(2.0004, abs=1e-4)
    sold_above = trade(side="SHORT", target_price=100.0, fill_price=101.0)
    assert sold_above.slippage_bps == 100.0  # above the target is positive, whatever the side
    unpriced = trade(fill_price=None)
    assert (unpriced.notional, unpriced.slippage_bps) == (None, None)


@pytest.mark.requirement("CODEX-4", api="tape.Trade")
def test_rounded_values_are_kept_and_contradictions_refused(trade: Make) -> None:
    assert trade(target_price=49_990.0, slippage_bps=2.0).slippage_bps == 2.0
    with pytest.raises(InvalidValue, match=r"Trade\.slippage_bps: is -2\.0"):
        trade(target_price=49_990.0, slippage_bps=-2.0)
    with pytest.raises(InvalidValue, match=r"Trade\.notional: is 250\.0, but qty \* fill_price"):
        trade(notional=250.0)


@pytest.mark.requirement("CODEX-10", "Z-34", api="tape.Slippage")
def test_slippage_and_its_estimation_error_are_filled_in(noon: datetime) -> None:
    made = Slippage(
        timestamp=noon, symbol="BTC", target_price=100.0, fill_price=101.0,
        estimated_slippage_bps=90.0,
    )  # fmt: skip
    assert (made.mode, made.slippage_bps, made.estimation_error_bps) == ("live", 100.0, 10.0)


@pytest.mark.requirement("CODEX-10", "X-5", api="TradeTape.append")
def test_slippage_is_of_live_fills_alone(keep: Keep, noon: datetime) -> None:
    paper = Slippage(mode="paper", timestamp=noon, symbol="BTC", target_price=1.0, fill_price=1.0)
    with pytest.raises(InvalidValue, match=r"Slippage\.mode.*one of 'live'"):
        keep.tape.append(paper)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.requirement("Z-33", api="tape.Trade")
@pytest.mark.parametrize(
    ("label", "action"),
    [
        ("ENTER", "OPEN"),
        ("EXIT", "CLOSE"),
        ("SPREAD", "OPEN"),
        ("REBAL", "REBALANCE"),
        ("REBAL_EXIT", "REDUCE"),
        ("kill", "KILL"),
        ("FUNDING", "FUNDING"),
    ],
)
def test_labels_of_other_programs_have_an_action(label: str, action: str) -> None:
    assert action_of(label) == action
    assert action in ACTIONS


@pytest.mark.requirement("X-1", "X-2", "X-5", api="TradeTape.append")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("action", "HEDGE"),
        ("side", "BUY"),
        ("mode", "demo"),
        ("qty", math.nan),
        ("qty", Decimal("0.1")),
        ("qty", None),
        ("timestamp", datetime(2026, 1, 19)),  # noqa: DTZ001  # naive on purpose
        ("symbol", "BTC\0USDT"),
        ("symbol", None),
        ("entry_rank", 2**63),
        ("entry_rank", 1.0),
        ("raw_data", {1: "a"}),
        ("exec_type", "MAKER"),
        ("account", None),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(
    keep: Keep, trade: Make, field: str, value: object
) -> None:
    with pytest.raises(InvalidValue, match=rf"Trade\.{field}"):
        keep.tape.append(trade(), trade(**{field: value}))
    assert keep.tape.trades() == []


def test_a_field_left_out_is_named(noon: datetime) -> None:
    with pytest.raises(InvalidValue, match=r"Trade\.qty: is required"):
        Trade(mode="paper", timestamp=noon, symbol="BTC", side="LONG", action="OPEN")
