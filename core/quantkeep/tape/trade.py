"""The trade tape proper: every fill, and why it was made."""

from datetime import datetime
from typing import Any

from quantkeep.derived import Derived, Derives
from quantkeep.records import field, record
from quantkeep.trading import ACTIONS, ExecType, Mode, PositionSource, Side, slippage_bps

NOTIONAL = Derived("notional", ("qty", "fill_price"), lambda q, p: q * p, "qty * fill_price")
SLIPPAGE = Derived(
    "slippage_bps",
    ("fill_price", "target_price"),
    slippage_bps,
    "(fill_price - target_price) / target_price * 10000",
)


@record(
    "trades",
    log=True,
    stream=("account", "mode"),
    identity=("uid",),
    indexes=[("mode", "timestamp"), ("symbol", "timestamp"), ("entry_id",), ("entry_link_id",)],
)
class Trade(Derives):
    """One fill (CODEX-4, CODEX-5). Prices and money in the quote currency."""

    derived = (NOTIONAL, SLIPPAGE)

    account: str = field(default="default", doc="the account it was made on")
    mode: Mode = field(doc="paper is not live: each has a tape of its own (Z-30)")
    uid: str | None = field(default=None, doc="the fill's own id; makes appending idempotent")
    timestamp: datetime = field(doc="when it was filled")
    symbol: str = field(doc="such as BTC/USDT:USDT")
    side: Side = field(doc="of the position that it changes")
    action: str = field(choices=ACTIONS, extensible=True, doc="what it did to the position")
    source_action: str | None = field(default=None, doc="the program's own label of the action")
    qty: float = field(finite=True, doc="base units, or contracts")
    target_price: float | None = field(default=None, doc="the price that was aimed at")
    fill_price: float | None = field(default=None, doc="paper: estimated; live: the exchange's")
    notional: float | None = field(default=None, doc="qty * fill_price")
    slippage_bps: float | None = field(
        default=None, doc="(fill - target) / target * 10000; > 0: filled above the target"
    )
    slippage_est_bps: float | None = field(default=None, doc="as estimated before, in bps")
    fill_probability_est: float | None = field(default=None, doc="as estimated before, 0 to 1")
    fee: float | None = field(default=0.0, doc="paid; negative: a rebate")
    fee_rate: float | None = field(default=None, doc="fraction of the notional")
    pos_source: PositionSource | None = field(default=None, doc="who says so (CODEX-28)")
    exec_type: ExecType | None = field(default=None, doc="whether it made or took liquidity")
    order_id: str | None = field(default=None, doc="the exchange's id of the order")

    entry_id: str | None = field(default=None, doc="of the entry")
    entry_link_id: str | None = field(
        default=None, doc="the same for all trades of one position's life"
    )
    entry_group: str | None = None
    entry_rank: int | None = field(default=None, doc="among the candidates, 1 is best")
    entry_reason: str | None = None
    entry_ev: float | None = field(default=None, doc="expected value at entry, a fraction")
    entry_kelly: float | None = field(default=None, doc="Kelly fraction at entry")
    entry_confidence: float | None = field(default=None, doc="0 to 1")
    entry_quality_score: float | None = None

    realized_pnl: float | None = field(default=None, doc="money; a loss is negative")
    roe: float | None = field(default=None, doc="return on the margin, a fraction with sign")
    hold_duration_sec: float | None = field(default=None, doc="seconds from entry to this trade")

    regime: str | None = field(default=None, doc="of the market, by the model")
    alpha_vpin: float | None = field(default=None, doc="order flow toxicity, 0 to 1")
    alpha_hurst: float | None = field(default=None, doc="Hurst exponent, 0 to 1")
    pred_mu_alpha: float | None = field(default=None, doc="drift that the alpha model predicted")
    pred_mu_dir_conf: float | None = field(
        default=None, doc="confidence in the sign of that drift, 0 to 1"
    )
    policy_score_threshold: float | None = None
    policy_event_exit_min_score: float | None = None
    policy_unrealized_dd_floor: float | None = field(default=None, doc="a fraction, negative")
    one_way_move_score: float | None = None
    leverage_signal_score: float | None = None
    raw_data: Any = field(default=None, doc="what the source said, as it said it")
