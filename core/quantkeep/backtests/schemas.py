"""The three tables of a result, column by column (BT-6 ... BT-8), and how versions add to them.

Percentages are percent, drawdown is positive (Z-51). An instant is ``timestamp('us')`` without a
zone, and means UTC (Z-52).
"""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import attrs

from quantkeep.columns import Column, Kind
from quantkeep.errors import Corrupt, InvalidRecord

if TYPE_CHECKING:
    import pyarrow as pa

SUMMARY: Final = "symbol_summary"
SIGNALS: Final = "symbol_signals"
CURVE: Final = "performance_curve"
TABLES: Final = (SUMMARY, SIGNALS, CURVE)

_INT32: Final = (-(2**31), 2**31 - 1)


def _text(name: str, *choices: str, nullable: bool = True) -> Column:
    return Column(name=name, kind=Kind.TEXT, nullable=nullable, choices=choices)


def _real(name: str, doc: str) -> Column:
    return Column(name=name, kind=Kind.REAL, nullable=True, doc=doc)


def _count(name: str, doc: str) -> Column:
    return Column(name=name, kind=Kind.INTEGER, nullable=True, between=_INT32, doc=doc)


_SYMBOL: Final = _text("symbol", nullable=False)
_TIME: Final = Column(name="timestamp", kind=Kind.TIMESTAMP, nullable=True, doc="UTC")


@attrs.frozen(slots=False, cache_hash=True)
class TableSchema:
    """The columns of one table, in order."""

    name: str
    columns: tuple[Column, ...]

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Where each column stands."""
        return {column.name: place for place, column in enumerate(self.columns)}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def is_timed(self) -> bool:
        """Whether its rows have instants."""
        return _TIME.name in self.places

    def column(self, name: str) -> Column:
        """The column called *name*."""
        return self.columns[self.places[name]]

    @cached_property
    def arrow(self) -> "pa.Schema":
        """As Arrow says it."""
        import pyarrow as pa

        return pa.schema([pa.field(column.name, arrow_type(column)) for column in self.columns])


def arrow_type(column: Column) -> Any:
    """The Arrow type of a table's *column*."""
    import pyarrow as pa

    if column.kind is Kind.INTEGER:
        return pa.int32() if column.between == _INT32 else pa.int64()
    types = {
        Kind.TEXT: pa.string(),
        Kind.REAL: pa.float64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TIMESTAMP: pa.timestamp("us"),
    }
    return types[column.kind]


@attrs.frozen(slots=False, cache_hash=True)
class ResultSchema:
    """One version of the three tables (BT-24).

    Later versions only add columns, at the end, that may be null: a reader of an older version
    passes over them, a reader of a newer one sees nulls where a result has none.
    """

    version: str
    tables: tuple[TableSchema, ...]

    def __getitem__(self, table: str) -> TableSchema:
        return self.tables[TABLES.index(table)]

    def adding(self, version: str, **columns: Mapping[str, str]) -> "ResultSchema":
        """The next version: ``V1.adding("2.0", symbol_signals={"adverse_excursion": "real"})``.

        Args:
            version: what it is called.
            columns: by table, the names of new columns and what they hold: ``"real"``,
                ``"integer"`` (64 bits), ``"text"``, ``"boolean"``, ``"timestamp"``.

        Raises:
            InvalidRecord: a column is there already, or a table or kind is unknown.
        """
        unknown = sorted(columns.keys() - {*TABLES})
        if unknown or not version:
            raise InvalidRecord(f"{unknown or version!r}: expected tables {', '.join(TABLES)}")
        return ResultSchema(
            version, tuple(_wider(table, columns.get(table.name, {})) for table in self.tables)
        )

    def added(self, table: str) -> dict[str, str]:
        """The columns that this version has beyond 1.0, and what they hold."""
        first = V1[table].places
        return {c.name: c.kind.value for c in self[table].columns if c.name not in first}


def _wider(table: TableSchema, more: Mapping[str, str]) -> TableSchema:
    kinds = ("real", "integer", "text", "boolean", "timestamp")
    for name, kind in more.items():
        if name in table.places or kind not in kinds:
            raise InvalidRecord(
                f"{table.name}.{name}: cannot be added as {kind!r}; a new column has a new name, "
                f"and is one of {', '.join(kinds)}"
            )
    new = (Column(name=name, kind=Kind(kind), nullable=True) for name, kind in more.items())
    return TableSchema(table.name, (*table.columns, *new))


V1: Final = ResultSchema(
    "1.0",
    (
        TableSchema(
            SUMMARY,
            (
                _SYMBOL,
                _real("win_rate", "percent"),
                _real("avg_return", "percent"),
                _real("max_return", "percent"),
                _real("min_return", "percent"),
                _real("max_drawdown", "percent, positive"),
                _real("avg_hold_bars", "bars"),
                _count("total_signals", "rows of the symbol in symbol_signals"),
                _count("winning_signals", "count"),
                _count("losing_signals", "count"),
                _real("total_pnl", "quote currency"),
                _real("total_pnl_pct", "percent"),
            ),
        ),
        TableSchema(
            SIGNALS,
            (
                _SYMBOL,
                _count("signal_index", "number of the signal within its symbol"),
                _TIME,
                _text("type", "buy", "sell"),
                _real("entry_price", "quote currency"),
                _real("exit_price", "quote currency; null while open"),
                _real("quantity", "base currency"),
                _real("return_pct", "percent"),
                _count("hold_bars", "bars"),
                _real("fee_amount", "quote currency"),
                _real("slippage_amount", "quote currency"),
                _text("status", "closed", "open"),
            ),
        ),
        TableSchema(
            CURVE,
            (
                _SYMBOL,
                _count("idx", "number of the point within its symbol"),
                _TIME,
                _real("equity", "quote currency"),
                _real("drawdown", "percent below the peak, positive"),
                _real("cumulative_pnl", "quote currency"),
                _real("cumulative_pnl_pct", "percent"),
            ),
        ),
    ),
)


def restored(version: str, added: Mapping[str, Mapping[str, str]]) -> ResultSchema:
    """The schema that a stored result says it was written with."""
    if version == V1.version:
        return V1
    try:
        return V1.adding(version, **added)
    except InvalidRecord as error:
        raise Corrupt(f"schema version {version!r} cannot be read: {error}") from None
