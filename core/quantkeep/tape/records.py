"""What else is on the tape: equity, position events, slippage, diagnostics, expected values."""

from datetime import datetime
from typing import Any

from quantkeep.derived import Derived, Derives
from quantkeep.records import Record, field, record
from quantkeep.tape.trade import SLIPPAGE
from quantkeep.trading import ExecType, Mode, PositionSource, Side

_STREAM = ("account", "mode")
_IDENTITY = ("uid",)
_BY_MODE = ("mode", "timestamp")
_BY_SYMBOL = ("symbol", "timestamp")


@record(
    "equity_history", log=True, stream=_STREAM, identity=_IDENTITY, indexes=[_BY_MODE]
)  # fmt: skip
class EquityPoint(Record):
    """What the account was worth at an instant (CODEX-6). Money in the account's currency."""

    account: str = "default"
    mode: Mode
    uid: str | None = field(default=None, doc="makes appending idempotent")
    timestamp: datetime
    pos_source: PositionSource | None = field(default=None, doc="who says so (CODEX-28)")
    total_equity: float = field(finite=True, doc="wallet balance and unrealized profit")
    wallet_balance: float | None = None
    available_balance: float | None = field(default=None, doc="not bound as margin")
    unrealized_pnl: float | None = field(default=None, doc="a loss is negative")
    position_count: int | None = field(default=None, doc="open positions")
    total_notional: float | None = field(default=None, doc="of all open positions")
    total_margin: float | None = None
    margin_ratio: float | None = field(default=None, doc="margin / equity, a fraction")
    total_leverage: float | None = field(default=None, doc="notional / equity")


@record(
    "position_history",
    log=True,
    stream=_STREAM,
    identity=_IDENTITY,
    indexes=[_BY_MODE, _BY_SYMBOL],
)
class PositionEvent(Record):
    """What happened to a position (CODEX-8); the positions of now are in the session store."""

    account: str = "default"
    mode: Mode
    uid: str | None = field(default=None, doc="makes appending idempotent")
    timestamp: datetime
    symbol: str
    event_type: str = field(
        choices=("OPEN", "CLOSE", "UPDATE", "LIQUIDATION"), extensible=True
    )  # fmt: skip
    pos_source: PositionSource | None = field(default=None, doc="who says so (CODEX-28)")
    side: Side | None = None
    size: float | None = field(default=None, doc="base units, or contracts")
    entry_price: float | None = None
    exit_price: float | None = None
    leverage: float | None = None
    realized_pnl: float | None = field(default=None, doc="money; a loss is negative")
    unrealized_pnl: float | None = field(default=None, doc="money; a loss is negative")
    roe: float | None = field(default=None, doc="return on the margin, a fraction with sign")
    reason: str | None = None
    snapshot_data: Any = field(default=None, doc="the position as it was")


@record(
    "slippage_analysis",
    log=True,
    stream=_STREAM,
    identity=_IDENTITY,
    indexes=[_BY_MODE, _BY_SYMBOL],
)
class Slippage(Derives):
    """How far a live fill was from its target (CODEX-10). Paper has none: its fills are made up."""

    derived = (
        SLIPPAGE,
        Derived(
            "estimation_error_bps",
            ("slippage_bps", "estimated_slippage_bps"),
            lambda actual, estimated: actual - estimated,
            "slippage_bps - estimated_slippage_bps",
        ),
    )

    account: str = "default"
    mode: str = field(default="live", choices=("live",), extensible=True)
    uid: str | None = field(default=None, doc="makes appending idempotent")
    timestamp: datetime
    symbol: str
    target_price: float = field(finite=True)
    fill_price: float = field(finite=True)
    slippage_bps: float = field(
        default=None, finite=True, doc="(fill - target) / target * 10000; > 0: above the target"
    )
    estimated_slippage_bps: float | None = field(default=None, doc="as estimated before")
    estimation_error_bps: float | None = field(default=None, doc="actual - estimated")
    fill_probability_est: float | None = field(default=None, doc="as estimated before, 0 to 1")
    side: Side | None = None
    exec_type: ExecType | None = None
    volatility: float | None = field(default=None, doc="a fraction")
    spread_bps: float | None = None
    order_size: float | None = field(default=None, doc="base units, or contracts")
    bid_price: float | None = None
    ask_price: float | None = None
    volume_24h: float | None = None


@record(
    "diagnostics",
    log=True,
    stream=_STREAM,
    identity=_IDENTITY,
    indexes=[_BY_MODE, ("metric_type", "timestamp")],
)
class Diagnostic(Record):
    """A metric of the program itself (CODEX-11)."""

    account: str = "default"
    mode: Mode
    uid: str | None = field(default=None, doc="makes appending idempotent")
    timestamp: datetime
    metric_type: str = field(doc="such as engine, risk, execution")
    symbol: str | None = None
    data: dict[str, Any]


@record(
    "evph_history",
    log=True,
    stream=_STREAM,
    identity=_IDENTITY,
    indexes=[_BY_MODE, _BY_SYMBOL],
)
class ExpectedValue(Record):
    """What the strategy expected of a symbol at an instant (CODEX-12)."""

    account: str = "default"
    mode: Mode
    uid: str | None = field(default=None, doc="makes appending idempotent")
    timestamp: datetime
    symbol: str
    ev_per_hour: float | None = field(default=None, doc="expected return an hour, a fraction")
    ev_score: float | None = None
    confidence: float | None = field(default=None, doc="0 to 1")
    kelly: float | None = field(default=None, doc="Kelly fraction")
    regime: str | None = field(default=None, doc="of the market, by the model")
    details: Any = None
