"""How the columns of one file are kept: chosen by its first row group, held to by all others.

Measured in ``docs/backtest-encoding.md``: rising integers and instants as deltas, short decimals as
decimals in deltas, few distinct values in a dictionary, other floats byte-split or plain, whichever
comes out smaller.
"""

import io
from collections.abc import Mapping
from typing import Any, Final

import attrs
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quantkeep.backtests import _decimals, _derivations
from quantkeep.backtests._derivations import Rule
from quantkeep.backtests._rule_finding import find_rules
from quantkeep.backtests.encodings import Encoding
from quantkeep.backtests.schemas import CURVE, TableSchema
from quantkeep.columns import Kind

_REPEATED: Final = 0.2  # distinct values per row, up to which a dictionary is smaller
_TRIED_ROWS: Final = 8_192
_FEW_ROWS: Final = 512  # below it a dictionary's own page costs more than it saves
_DELTA: Final = "DELTA_BINARY_PACKED"
_SPLIT: Final = "BYTE_STREAM_SPLIT"


class Broken(Exception):
    """A later row group does not fit the plan; *plan* fits what is known now."""

    def __init__(self, plan: "Plan") -> None:
        super().__init__()
        self.plan = plan


@attrs.frozen
class Plan:
    """How each column of a file is kept.

    Attributes:
        table: whose columns.
        decimals: columns of floats kept as decimals, with their digits after the point.
        zeros: those of them beside which a column says which zeros are negative.
        rules: how the columns that are left out follow.
        dictionary: columns that get one.
        encodings: of the others, where it is not plain.
    """

    table: TableSchema
    decimals: Mapping[str, int] = attrs.field(factory=dict)
    zeros: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    dictionary: tuple[str, ...] = ()
    encodings: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def names(self) -> list[str]:
        """The table's columns that are in the file; those of zeros follow them."""
        left_out = {rule.column for rule in self.rules}
        return [name for name in self.table.names if name not in left_out]

    @property
    def schema(self) -> pa.Schema:
        """Of the file, as it is written."""
        return self._schema(pa.decimal64)

    @property
    def read_schema(self) -> pa.Schema:
        """Of the file, as it is read: Parquet's decimals come back wider."""
        return self._schema(pa.decimal128)

    def _schema(self, decimal: Any) -> pa.Schema:
        zeros = [pa.field(zeros_of(name), pa.bool_()) for name in self.zeros]
        return pa.schema([*(self._field(name, decimal) for name in self.names), *zeros])

    def _field(self, name: str, decimal: Any) -> pa.Field:
        if name in self.decimals:
            return pa.field(name, decimal(18, self.decimals[name]))
        return self.table.arrow.field(name)

    def writer_options(self, encoding: Encoding) -> dict[str, Any]:
        """What a ParquetWriter is told."""
        statistics = [name for name in ("symbol", "timestamp") if name in self.table.places]
        options: dict[str, Any] = {
            "compression": encoding.codec,
            "compression_level": encoding.level,
            "store_schema": False,  # the types say it all; on small files it was a fifth
        }
        if encoding.tuned:
            options |= {
                "use_dictionary": list(self.dictionary) or False,
                "column_encoding": dict(self.encodings) or None,
                "store_decimal_as_integer": True,
                "write_statistics": statistics,
                "max_rows_per_page": encoding.row_group_rows,
            }
        return options

    # -- row groups --------------------------------------------------------------------------------

    def packed(self, group: Any, walk: _derivations.Walk) -> pa.RecordBatch:
        """*group* as it goes into the file; raises :class:`Broken`."""
        self._check_rules(group, walk)
        arrays = [self._packed(name, group[name]) for name in self.names]
        arrays += [_decimals.negative_zeros(group[name]) for name in self.zeros]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _packed(self, name: str, array: Any) -> Any:
        if name not in self.decimals:
            return array
        packed = _decimals.to_decimals(array, self.decimals[name])
        if packed is None:
            raise Broken(self.without_decimals(name))
        if name not in self.zeros and _decimals.has_negative_zeros(array):
            raise Broken(attrs.evolve(self, zeros=(*self.zeros, name)))
        return packed

    def _check_rules(self, group: Any, walk: _derivations.Walk) -> None:
        if not self.rules:
            return
        try:
            derived = _derivations.derive(self.rules, walk.inputs(group))
        except _derivations.Interrupted:
            raise Broken(attrs.evolve(self, rules=())) from None
        wrong = {
            name for name, found in derived.items() if not _decimals.same_bits(found, group[name])
        }
        if wrong:
            raise Broken(self.without_rules(wrong))

    def without_decimals(self, name: str) -> "Plan":
        """This plan, the column *name* kept as the floats it holds."""
        decimals = {n: digits for n, digits in self.decimals.items() if n != name}
        encodings = {n: e for n, e in self.encodings.items() if n != name}
        zeros = tuple(n for n in self.zeros if n != name)
        return attrs.evolve(self, decimals=decimals, encodings=encodings, zeros=zeros)

    def without_rules(self, columns: set[str]) -> "Plan":
        """This plan, *columns* kept in the file, and what reckons with them too."""
        if "cumulative_pnl" in columns:
            columns = {*columns, "cumulative_pnl_pct"}
        return attrs.evolve(self, rules=tuple(r for r in self.rules if r.column not in columns))


def zeros_of(name: str) -> str:
    """The column that says which zeros of column *name* are negative."""
    return f"{name}_is_negative_zero"


def planned(table: TableSchema, group: Any, encoding: Encoding) -> Plan:
    """The plan for a file that begins with *group*."""
    if not encoding.tuned:
        return Plan(table)
    wanted = encoding.derive and table.name == CURVE
    rules = tuple(find_rules(group)) if wanted else ()
    left_out = {rule.column for rule in rules}
    plan = Plan(table, rules=rules)
    for column in table.columns:
        if column.name not in left_out:
            plan = _with_column(plan, column.kind, column.name, group[column.name], encoding)
    return plan


def _with_column(plan: Plan, kind: Kind, name: str, array: Any, encoding: Encoding) -> Plan:
    digits = _decimals.digits_of(array) if kind is Kind.REAL and encoding.decimals else None
    if digits is not None:
        zeros = (name,) if _decimals.has_negative_zeros(array) else ()
        plan = attrs.evolve(
            plan, decimals={**plan.decimals, name: digits}, zeros=(*plan.zeros, *zeros)
        )
    if kind is Kind.INTEGER and _repeats(array) and _smaller(array, encoding, None, _DELTA):
        return attrs.evolve(plan, dictionary=(*plan.dictionary, name))
    if kind in (Kind.INTEGER, Kind.TIMESTAMP) or digits is not None:
        return attrs.evolve(plan, encodings={**plan.encodings, name: _DELTA})
    if _repeats(array):
        return attrs.evolve(plan, dictionary=(*plan.dictionary, name))
    if kind is Kind.REAL and _split_is_smaller(array, encoding):
        return attrs.evolve(plan, encodings={**plan.encodings, name: _SPLIT})
    return plan


def _repeats(array: Any) -> bool:
    if len(array) < _FEW_ROWS:
        return False
    distinct: int = pc.count_distinct(array).as_py()
    return distinct < len(array) * _REPEATED


def _split_is_smaller(array: Any, encoding: Encoding) -> bool:
    if len(array) < _FEW_ROWS:
        return len(array) > 1 and pc.count_distinct(array).as_py() > len(array) * 0.8
    return _smaller(array, encoding, _SPLIT, "PLAIN")


def _smaller(array: Any, encoding: Encoding, one: str | None, other: str | None) -> bool:
    """Which of two is, tried on a part, compressed as it would be; ``None`` is a dictionary."""
    part = array.slice(0, _TRIED_ROWS)
    return _size(part, encoding, one) < _size(part, encoding, other)


def _size(part: Any, encoding: Encoding, column_encoding: str | None) -> int:
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"x": part}), sink, compression=encoding.codec,
        compression_level=encoding.level, use_dictionary=column_encoding is None,
        column_encoding=column_encoding and {"x": column_encoding},
        write_statistics=False, store_schema=False,
    )  # fmt: skip
    return sink.tell()
