"""What a keep knows of each backtest result beside its tables (BT-1 ... BT-5)."""

from datetime import date
from typing import Any, Final
from uuid import UUID

from quantkeep.errors import InvalidValue
from quantkeep.records import Record, field, record

STATUSES: Final = ("completed", "failed", "running", "cancelled")
_LENGTHS: Final = {"strategy": 100, "timeframe": 10, "status": 20}  # BT-1


def path_of(task_id: UUID) -> str:
    """Where a result's files stand in an exported folder (BT-9)."""
    return f"backtests/{task_id}/"


@record(
    "backtest_results",
    key=("task_id",),
    indexes=[("created_at",), ("strategy", "created_at"), ("status", "created_at")],
)
class BacktestResult(Record):
    """One run of a backtest. Its tables are visible exactly when this record refers to them.

    ``created_at`` and ``updated_at`` are the store's, in the envelope (BT-4).
    """

    task_id: UUID
    strategy: str = field(doc="1 to 100 characters")
    symbols: list[str] = field(doc="what it traded; searched by containment (BT-5)")
    start_date: date
    end_date: date = field(doc="not before start_date")
    timeframe: str | None = field(default=None, doc='such as "1h"; up to 10 characters')
    status: str = field(default="completed", choices=STATUSES, extensible=True)
    parquet_path: str | None = field(
        default=None, doc="backtests/{task_id}/ in an export; null without tables (Z-53)"
    )
    file_size: int | None = field(default=None, doc="bytes of the tables' files")
    record_count: int | None = field(default=None, doc="rows of symbol_signals")
    metadata: dict[str, Any] = field(
        factory=dict, doc="the caller's own, and compression and schema_version of the tables"
    )
    error: str | None = field(default=None, doc="why it failed")
    files: dict[str, Any] | None = field(
        default=None, doc="for each table its blob, counts, etag and encoding"
    )
    other: dict[str, Any] | None = field(
        default=None, doc="what the original JSON said beside these fields (Z-50)"
    )

    def __attrs_post_init__(self) -> None:
        _check_lengths(self)
        check_symbols(self.symbols)
        if type(self.start_date) is type(self.end_date) is date and self.start_date > self.end_date:
            raise InvalidValue(
                f"is {self.start_date}, after the end {self.end_date}",
                record=type(self).__name__, field="start_date", value=self.start_date,
                expected="start_date <= end_date",
            )  # fmt: skip
        _check_tables(self)

    @property
    def has_tables(self) -> bool:
        """Whether tables were published."""
        return self.files is not None


@record("backtest_tombstones", key=("task_id",))
class BacktestTombstone(Record):
    """A result that was deleted; its files go when the grace period is over (Z-54)."""

    task_id: UUID
    parquet_path: str | None = None
    content: dict[str, Any] = field(doc="the record as it was, by its fields")
    created_at_then: int = field(doc="its created_at, microseconds since 1970-01-01 UTC")


def _check_lengths(result: BacktestResult) -> None:
    for name, most in _LENGTHS.items():
        text = getattr(result, name)
        if isinstance(text, str) and not 1 <= len(text) <= most:
            raise InvalidValue(
                f"has {len(text)} characters",
                record=type(result).__name__, field=name, value=text,
                expected=f"1 to {most}",
            )  # fmt: skip


def check_symbols(symbols: object) -> None:
    """Each symbol once, as text; raises :class:`InvalidValue`."""
    name = BacktestResult.__name__
    if not isinstance(symbols, list) or not all(isinstance(s, str) and s for s in symbols):
        raise InvalidValue(
            "is no list of symbols", record=name, field="symbols", value=symbols,
            expected='a list of text, such as ["BTC/USDT"]',
        )  # fmt: skip
    seen: set[str] = set()
    for symbol in symbols:
        if symbol in seen:
            raise InvalidValue(
                f"names {symbol!r} twice", record=name, field="symbols", value=symbol,
                expected="each symbol once: its rows are found by its name",
            )  # fmt: skip
        seen.add(symbol)


def _check_tables(result: BacktestResult) -> None:
    """Path, size and count are there exactly if the tables are (Z-53)."""
    name, has = type(result).__name__, result.files is not None
    for column in ("parquet_path", "file_size", "record_count"):
        value = getattr(result, column)
        if (value is not None) != has:
            raise InvalidValue(
                f"is {value!r} for a result {'with' if has else 'without'} tables",
                record=name, field=column, value=value,
                expected="a value with tables, none without",
            )  # fmt: skip
    if has and (result.parquet_path != path_of(result.task_id) or result.status == "running"):
        raise InvalidValue(
            f"is {result.parquet_path!r} of a {result.status} result",
            record=name, field="parquet_path", value=result.parquet_path,
            expected=f"{path_of(result.task_id)!r}, and none while it is running",
        )  # fmt: skip
