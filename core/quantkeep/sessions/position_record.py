"""What is stored of a current position."""

from datetime import datetime
from typing import Any, Final, Literal, Self

from quantkeep.derived import Derived, Derives
from quantkeep.records import field, record
from quantkeep.trading import ExecType, Mode, PositionSource, Side

SyncStatus = Literal["synced", "pending", "mismatch"]

# What a paper position does not have at all (CODEX-14, CODEX-15, CODEX-17).
LIVE_ONLY: Final = frozenset(
    {
        "target_price",
        "slippage_actual_bps",
        "slippage_estimated_bps",
        "slippage_error_bps",
        "exec_type",
        "actual_fee",
        "actual_fee_rate",
        "fill_rate_actual",
        "sync_status",
        "exchange_size",
        "last_sync_at",
    }
)


@record("positions", key=("account", "mode", "symbol"), stream=("account", "mode"))
class Position(Derives):
    """An open position, with why it was entered and where its exit policy stands (CODEX-7, Z-34).

    Prices and money in the quote currency. What happened to it is on the tape.
    """

    derived = (
        Derived(
            "slippage_error_bps",
            ("slippage_actual_bps", "slippage_estimated_bps"),
            lambda actual, estimated: actual - estimated,
            "slippage_actual_bps - slippage_estimated_bps",
        ),
    )

    account: str = "default"
    mode: Mode = field(doc="a paper position never stands in for a live one (Z-30)")
    symbol: str
    pos_source: PositionSource | None = field(
        default=None, doc="live: the exchange comes first, this is the backup (CODEX-28)"
    )
    status: str = field(default="open", doc="the program's own word")
    side: Side
    size: float = field(finite=True, doc="base units, or contracts, as this program counts")
    entry_price: float = field(finite=True, doc="paper: estimated; live: the actual fill")
    current_price: float | None = None
    leverage: float | None = None
    margin: float | None = None
    notional: float | None = None
    cap_frac: float | None = field(default=None, doc="fraction of the capital")
    unrealized_pnl: float | None = field(default=None, doc="money; a loss is negative")
    roe: float | None = field(default=None, doc="return on the margin, a fraction with sign")
    max_roe: float | None = field(default=None, doc="the best it has been")
    entry_at: datetime | None = None
    last_update_at: datetime | None = field(default=None, doc="by the program's clock")
    age_sec: float | None = field(default=None, doc="seconds since entry, at the last update")

    entry_group: str | None = None
    entry_rank: int | None = field(default=None, doc="among the candidates, 1 is best")
    entry_order: int | None = None
    entry_t_star: float | None = None
    entry_reason: str | None = None

    policy_horizon_sec: int | None = field(default=None, doc="seconds")
    policy_flip_streak: int | None = field(default=None, doc="evaluations in a row")
    policy_hold_bad: int | None = field(default=None, doc="evaluations in a row")
    policy_last_eval_at: datetime | None = None
    policy_mu_annual: float | None = field(default=None, doc="a fraction a year")
    policy_sigma_annual: float | None = field(default=None, doc="a fraction a year")

    slippage_bps: float | None = field(default=None, doc="paper: as simulated")
    fee: float | None = field(default=None, doc="paper: as simulated, money")
    fill_probability_est: float | None = field(default=None, doc="as estimated before, 0 to 1")
    fill_rate_actual: float | None = field(default=None, doc="live: what was filled, 0 to 1")
    target_price: float | None = field(default=None, doc="live: the price that was aimed at")
    slippage_actual_bps: float | None = field(default=None, doc="live; > 0: above the target")
    slippage_estimated_bps: float | None = field(default=None, doc="as estimated before")
    slippage_error_bps: float | None = field(default=None, doc="actual - estimated")
    exec_type: ExecType | None = field(default=None, doc="live")
    actual_fee: float | None = field(default=None, doc="live: money; a rebate is negative")
    actual_fee_rate: float | None = field(default=None, doc="live: fraction of the notional")
    sync_status: SyncStatus | None = field(default=None, doc="live; none counts as synced")
    exchange_size: float | None = field(default=None, doc="live: as the exchange counts")
    last_sync_at: datetime | None = field(default=None, doc="live: when the two were compared")
    raw_data: Any = field(default=None, doc="what the source said, as it said it")

    @property
    def local_size(self) -> float:
        """The size as this program counts it (CODEX-15)."""
        return self.size

    @property
    def size_diff(self) -> float | None:
        """What the exchange counts more than this program; ``None`` if they were not compared."""
        return None if self.exchange_size is None else self.exchange_size - self.size

    def compared(self, exchange_size: float, at: datetime, *, tolerance: float = 0.0) -> Self:
        """This position, with what the exchange says of its size *at* an instant, to be saved.

        Args:
            exchange_size: base units, or contracts.
            at: when it said so.
            tolerance: a difference up to this counts as synced.
        """
        same = abs(exchange_size - self.size) <= tolerance
        return self.replace(
            exchange_size=exchange_size,
            last_sync_at=at,
            sync_status="synced" if same else "mismatch",
        )

    def merged(self) -> dict[str, Any]:
        """The fields, over what else ``raw_data`` holds (CODEX-23 ``get_all_positions``)."""
        fields = self.as_dict()
        raw = fields.pop("raw_data")
        said = {name: value for name, value in fields.items() if value is not None}
        return {**fields, **(raw if isinstance(raw, dict) else {}), **said}
