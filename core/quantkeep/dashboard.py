"""What a dashboard shows of one account, as values that JSON holds (CODEX-13 ... CODEX-18, Z-36).

The names are those of the dashboards there are: instants as ``..._ms``, the mode as
``trading_mode``. What only live trading has is absent on paper, not null (CODEX-17).
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from quantkeep.instants import to_milliseconds
from quantkeep.sessions.orders import Order
from quantkeep.sessions.position_record import LIVE_ONLY, Position
from quantkeep.sessions.positions import SyncState
from quantkeep.tape.slippage import SlippageStats
from quantkeep.trading import Mode

if TYPE_CHECKING:
    from quantkeep.keep import Keep

_NAMES: Final = {
    "mode": "trading_mode",
    "timestamp": "timestamp_ms",
    "entry_at": "entry_time_ms",
    "last_update_at": "last_update_ms",
    "policy_last_eval_at": "policy_last_eval_ms",
    "last_sync_at": "last_sync_ms",
    "submitted_at": "submitted_at_ms",
}


def payload(
    keep: "Keep", *, mode: Mode, account: str = "default", at: datetime | None = None
) -> dict[str, Any]:
    """Everything a dashboard shows of one account and mode (CODEX-18).

    Args:
        keep: with a tape and sessions.
        mode: ``live`` has ``sync_status``, ``pending_orders`` and ``slippage_summary`` too.
        account: whose.
        at: the instant it is shown for, from which ages are counted; left out, now.
    """
    now = at or datetime.now(UTC)
    positions = keep.sessions.positions.all(mode=mode, account=account)
    orders = keep.sessions.orders.all(mode=mode, account=account) if mode == "live" else []
    shown = {
        "time_ms": to_milliseconds(now),
        "trading_mode": mode,
        "rows": [row(p, (o for o in orders if o.symbol == s), now) for s, p in positions.items()],
        "portfolio": portfolio(keep, mode=mode, account=account),
        "metrics": metrics(keep, mode=mode, account=account),
    }
    if mode == "live":
        stats = keep.tape.slippage_stats(account=account)
        sync = keep.sessions.positions.sync_state(mode=mode, account=account)
        shown["sync_status"] = sync_status(sync)
        shown["pending_orders"] = [order(o, now) for o in orders if o.is_open]
        shown["slippage_summary"] = slippage_summary(stats)
    return shown


def row(position: Position, orders: Iterable[Order], at: datetime) -> dict[str, Any]:
    """One line of the dashboard: a position and, live, its *orders* (CODEX-13 ... CODEX-17)."""
    shown = _shown(position, leave_out=("account", "raw_data"))
    shown["price"] = position.current_price
    if position.mode != "live":
        hidden = {_NAMES.get(name, name) for name in LIVE_ONLY}
        return {name: value for name, value in shown.items() if name not in hidden}
    shown["sync_status"] = position.sync_status or "synced"
    shown["local_size"] = position.local_size
    shown["size_diff"] = position.size_diff
    return {**shown, **_order_fields([*orders], at)}


def _order_fields(orders: list[Order], at: datetime) -> dict[str, Any]:
    """Of the order submitted last (CODEX-16)."""
    last = orders[-1] if orders else None
    return {
        "order_status": last and last.status,
        "fill_progress": last and last.fill_progress,
        "pending_qty": last and last.pending_qty,
        "order_age_ms": last and round(last.age(at) * 1_000),
        "pending_orders": sum(o.is_open for o in orders),
    }


def order(shown: Order, at: datetime) -> dict[str, Any]:
    """An order, with what follows from it (CODEX-16, Z-35)."""
    return {
        **_shown(shown, leave_out=("account", "raw_data")),
        "pending_qty": shown.pending_qty,
        "fill_progress": shown.fill_progress,
        "order_age_ms": round(shown.age(at) * 1_000),
    }


def portfolio(keep: "Keep", *, mode: Mode, account: str = "default") -> dict[str, Any]:
    """The equity point committed last, and the balance (Z-36)."""
    point = keep.tape.latest_equity(mode=mode, account=account)
    balance = keep.sessions.bot_state.balance(mode=mode, account=account)
    shown = _shown(point, leave_out=("account", "mode", "uid")) if point else {}
    return {**shown, "balance": balance}


def metrics(keep: "Keep", *, mode: Mode, account: str = "default") -> dict[str, Any]:
    """The diagnostic committed last of each type (Z-36)."""
    found = keep.tape.latest_metrics(mode=mode, account=account)
    return {metric: diagnostic.data for metric, diagnostic in found.items()}


def sync_status(state: SyncState) -> dict[str, Any]:
    """Whether the exchange agrees (CODEX-22)."""
    return {
        "overall": state.overall,
        "last_sync_ms": state.last_sync_at and to_milliseconds(state.last_sync_at),
        "mismatches": [
            {
                "symbol": m.symbol,
                "exchange_size": m.exchange_size,
                "local_size": m.local_size,
                "size_diff": m.size_diff,
            }
            for m in state.mismatches
        ],
    }


def slippage_summary(stats: SlippageStats) -> dict[str, Any]:
    """The three figures of CODEX-18, in basis points; null where there were no fills."""
    return {
        "avg_bps": stats.avg_bps,
        "max_bps": stats.max_bps,
        "estimation_error_avg": stats.avg_est_error_bps,
    }


def _shown(record: Any, *, leave_out: tuple[str, ...]) -> dict[str, Any]:
    return {
        _NAMES.get(name, name): to_milliseconds(value) if isinstance(value, datetime) else value
        for name, value in record.as_dict().items()
        if name not in leave_out
    }
