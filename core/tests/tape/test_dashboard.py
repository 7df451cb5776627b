"""Everything a dashboard shows, from what is kept (CODEX-13 ... CODEX-22)."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from quantkeep import Keep, dashboard
from quantkeep.sessions.orders import Order
from quantkeep.sessions.position_record import LIVE_ONLY, Position
from quantkeep.tape import Diagnostic, EquityPoint, Slippage, Trade

Make = Callable[..., Trade]

LIVE_KEYS = {
    "target_price", "slippage_actual_bps", "slippage_estimated_bps", "slippage_error_bps",
    "exec_type", "actual_fee", "actual_fee_rate", "sync_status", "exchange_size", "local_size",
    "size_diff", "last_sync_ms", "order_status", "fill_progress", "pending_qty", "order_age_ms",
    "pending_orders",
}  # fmt: skip


def _fill(keep: Keep, noon: datetime, mode: Any) -> None:
    position = Position(
        mode=mode, symbol="BTC/USDT", side="LONG", size=0.1, entry_price=50_000.0,
        current_price=50_100.0, status="HOLD", entry_at=noon, slippage_bps=2.0, fee=3.0,
    )  # fmt: skip
    if mode == "live":
        position = position.replace(
            target_price=49_990.0, slippage_actual_bps=2.0, slippage_estimated_bps=1.5,
            exec_type="taker", actual_fee=1.0, actual_fee_rate=0.0002,
        ).compared(0.3, noon)  # fmt: skip
    keep.sessions.positions.save(position)
    keep.sessions.bot_state.save_balance(10_000.0, mode=mode)
    keep.tape.append(
        EquityPoint(mode=mode, timestamp=noon, total_equity=10_010.0, position_count=1),
        Diagnostic(mode=mode, timestamp=noon, metric_type="risk", data={"var": 0.1}),
    )


@pytest.mark.requirement("CODEX-13", "CODEX-17", "CODEX-18", "CODEX-29", api="dashboard.payload")
def test_on_paper_what_is_live_alone_is_absent(keep: Keep, noon: datetime) -> None:
    _fill(keep, noon, "paper")
    _fill(keep, noon, "live")
    shown = dashboard.payload(keep, mode="paper", at=noon)
    assert set(shown) == {"time_ms", "trading_mode", "rows", "portfolio", "metrics"}
    (row,) = shown["rows"]
    assert (row["symbol"], row["price"], row["status"]) == ("BTC/USDT", 50_100.0, "HOLD")
    assert (row["entry_price"], row["slippage_bps"], row["fee"]) == (50_000.0, 2.0, 3.0)
    assert not LIVE_KEYS & set(row)
    assert row["trading_mode"] == shown["trading_mode"] == "paper"


@pytest.mark.requirement(
    "CODEX-14", "CODEX-15", "CODEX-16", "CODEX-18", "CODEX-22", "Z-36", api="dashboard.payload"
)
def test_live_says_all_of_it(keep: Keep, noon: datetime) -> None:
    _fill(keep, noon, "live")
    order = Order(
        mode="live", order_id="1", symbol="BTC/USDT", side="BUY", quantity=2.0, filled=0.5,
        status="partial", submitted_at=noon,
    )  # fmt: skip
    keep.sessions.orders.save(
        order.replace(order_id="0", status="filled", submitted_at=noon - timedelta(hours=1)), order
    )
    keep.tape.append(
        Slippage(
            timestamp=noon,
            symbol="BTC/USDT",
            target_price=49_990.0,
            fill_price=50_000.0,
            estimated_slippage_bps=1.5,
        )
    )
    shown = dashboard.payload(keep, mode="live", at=noon + timedelta(seconds=1.5))
    (row,) = shown["rows"]
    assert set(row) >= LIVE_KEYS | {"symbol", "price", "status"}
    assert (row["slippage_error_bps"], row["exec_type"]) == (0.5, "taker")
    assert (row["sync_status"], row["exchange_size"], row["local_size"]) == ("mismatch", 0.3, 0.1)
    assert row["last_sync_ms"] == 1_768_824_000_000
    assert (row["order_status"], row["fill_progress"], row["pending_qty"]) == ("partial", 0.25, 1.5)
    assert (row["order_age_ms"], row["pending_orders"]) == (1_500, 1)
    assert shown["time_ms"] == 1_768_824_001_500
    mismatch = {
        "symbol": "BTC/USDT",
        "exchange_size": 0.3,
        "local_size": 0.1,
        "size_diff": 0.3 - 0.1,
    }
    assert shown["sync_status"] == {
        "overall": "mismatch",
        "last_sync_ms": 1_768_824_000_000,
        "mismatches": [mismatch],
    }
    assert [o["order_id"] for o in shown["pending_orders"]] == ["1"]
    assert shown["pending_orders"][0]["order_age_ms"] == 1_500
    summary = shown["slippage_summary"]
    assert set(summary) == {"avg_bps", "max_bps", "estimation_error_avg"}
    assert summary["avg_bps"] == pytest.approx(2.0004, abs=1e-4)
    assert summary["estimation_error_avg"] == pytest.approx(0.5004, abs=1e-4)


@pytest.mark.requirement("CODEX-18", "Z-36", api="dashboard.payload")
def test_portfolio_and_metrics_are_the_latest(keep: Keep, noon: datetime) -> None:
    _fill(keep, noon, "live")
    shown = dashboard.payload(keep, mode="live", at=noon)
    assert shown["portfolio"]["total_equity"] == 10_010.0
    assert shown["portfolio"]["balance"] == 10_000.0
    assert shown["portfolio"]["timestamp_ms"] == 1_768_824_000_000
    assert shown["metrics"] == {"risk": {"var": 0.1}}
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


@pytest.mark.requirement("CODEX-17", "CODEX-22", api="dashboard.payload")
def test_nothing_kept_is_shown_as_nothing(keep: Keep, noon: datetime) -> None:
    shown = dashboard.payload(keep, mode="live", at=noon)
    assert (shown["rows"], shown["metrics"], shown["pending_orders"]) == ([], {}, [])
    assert shown["portfolio"] == {"balance": None}
    nothing = {"overall": "synced", "last_sync_ms": None, "mismatches": []}
    assert shown["sync_status"] == nothing
    assert shown["slippage_summary"]["avg_bps"] is None


def test_a_live_row_without_orders_or_comparison_is_synced(keep: Keep, noon: datetime) -> None:
    position = Position(mode="live", symbol="A", side="LONG", size=1.0, entry_price=1.0)
    keep.sessions.positions.save(position)
    (row,) = dashboard.payload(keep, mode="live", at=noon)["rows"]
    assert (row["sync_status"], row["order_status"], row["pending_orders"]) == ("synced", None, 0)


def test_every_live_field_is_one_of_a_position() -> None:
    assert set(Position.collection.names) >= LIVE_ONLY
