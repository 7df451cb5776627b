"""Figures of groups of rows, with no more of each row in memory than the figure needs."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from decimal import Context, Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Kind, instant
from quantkeep.query import (
    Exists,
    Measure,
    Per,
    Query,
    Tally,
    Where,
    column_of,
    comparable,
    quotient,
    total,
    value_of,
)
from quantkeep_backends.parquet._columns import INNER, STAMPS, canonical, file_schema, scalars
from quantkeep_backends.parquet._conditions import excluded, mask, split
from quantkeep_backends.parquet._reading import View

_WIDTHS: Final = {"year": 4, "month": 7, "day": 10, "hour": 13}
_WIDE: Final = Context(prec=200)


def tallied(view: View, tally: Tally) -> list[tuple[Any, ...]]:
    """The answer to the bound *tally*."""
    groups = _Groups(view.collection, tally)
    held = Query(where=tally.where).tests(view.collection, view.others)
    for row in view.held:
        if all(test(row) for test in held):
            groups.add(row)
    exact, others = split(view.collection, tally.where)
    if _counts_alone(tally) and not others and not view.gone:
        groups.count(_counted(view, exact))
        return groups.ranked()
    tests = Query(where=tuple(others)).tests(view.collection, view.others)
    for row in _narrow_rows(view, tally, exact):
        if all(test(row) for test in tests):
            groups.add(row)
    return groups.ranked()


def _counts_alone(tally: Tally) -> bool:
    return not tally.by and all(m.column is None for m in tally.measures)


def _counted(view: View, exact: Sequence[Where]) -> int:
    """How many rows of the segments meet *exact*; of what the bounds decide, nothing is read."""
    if not exact:
        return sum(segment.rows for segment in view.segments)
    names = _file_names(view.collection, [condition.column for condition in exact])
    found = 0
    for table in _tables(view, names, exact):
        found += pc.sum(mask(view.collection, table, exact)).as_py() or 0
    return found


# -- rows, of which only some columns are there ----------------------------------------------------


def _narrow_rows(view: View, tally: Tally, exact: Sequence[Where]) -> Iterator[StoredRow]:
    wanted = _columns(tally)
    stream = view.collection.stream if view.gone else ()
    columns = [*wanted, *stream, "revision", *(w.column for w in exact)]
    names = _file_names(view.collection, columns)
    for table in _tables(view, names, exact):
        meets = mask(view.collection, table, exact)
        found = table if meets is None else table.filter(meets)
        for row in _rows_of(view.collection, found, {*wanted, *stream, "revision"}):
            if not view.gone or view.collection.stored_key(row) not in view.gone:
                yield row


def _columns(tally: Tally) -> list[str]:
    """The columns that the rows need to have."""
    names = [g.column if isinstance(g, Per) else g for g in tally.by]
    names += [m.column for m in tally.measures if m.column is not None]
    for condition in tally.where:
        if isinstance(condition, Exists):
            names += [here for _, here in condition.on]
        else:
            names.append(condition.column)
    return names


def _file_names(collection: Collection, names: Sequence[str]) -> list[str]:
    stamps = dict(zip(STAMPS, INNER, strict=True))
    return [*dict.fromkeys(n if n in collection.places else stamps[n] for n in names)]


def _tables(view: View, names: Sequence[str], exact: Sequence[Where]) -> Iterator[pa.Table]:
    """The row groups that may have rows which meet *exact*, with the columns *names*."""
    for segment in view.segments:
        if excluded(segment.bounds, segment.rows, exact):
            continue
        footer = view.reader.footer(segment)
        for number in footer.groups:
            bounds = footer.bounds(view.collection, number)
            if not excluded(bounds, footer.rows(number), exact):
                table = view.reader.group(segment, number, names)
                yield _completed(view.collection, table, names)


def _completed(collection: Collection, table: pa.Table, names: Sequence[str]) -> pa.Table:
    """With nulls for columns that the file is too old to have."""
    schema = file_schema(collection)
    for name in names:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    return table


def _rows_of(collection: Collection, table: pa.Table, names: set[str]) -> Iterator[StoredRow]:
    nothing = [None] * table.num_rows
    columns = [
        scalars(column.kind, table.column(column.name)) if column.name in names else nothing
        for column in collection.columns
    ]
    stamps = [
        canonical(kind, table.column(name)).to_pylist() if name in table.column_names else nothing
        for name, kind in zip(INNER, (Kind.INTEGER, Kind.TIMESTAMP, Kind.TIMESTAMP), strict=False)
    ]
    for values, stamped in zip(zip(*columns, strict=True), zip(*stamps, strict=True), strict=True):
        revision, created_at, updated_at = stamped
        version = collection.schema_version
        yield StoredRow(values, revision, created_at, updated_at, version, b"")


# -- groups ----------------------------------------------------------------------------------------


class _Groups:
    """The groups of a tally, and the figures of each as they grow."""

    def __init__(self, collection: Collection, tally: Tally) -> None:
        self._tally = tally
        self._collection = collection
        self._takes = [_group_value(collection, group) for group in tally.by]
        self._groups: dict[tuple[Any, ...], list[_Figure]] = {}
        if not tally.by:
            self._groups[()] = self._figures()

    def _figures(self) -> "list[_Figure]":
        return [_Figure(self._collection, measure) for measure in self._tally.measures]

    def add(self, row: StoredRow) -> None:
        group = tuple([take(row) for take in self._takes])
        figures = self._groups.get(group)
        if figures is None:
            figures = self._groups[group] = self._figures()
        for figure in figures:
            figure.add(row)

    def count(self, rows: int) -> None:
        """Add *rows* rows of which nothing but their number matters."""
        for figure in self._groups[()]:
            figure.rows += rows

    def ranked(self) -> list[tuple[Any, ...]]:
        return self._tally.ranked(
            [(*group, *(f.value for f in figures)) for group, figures in self._groups.items()]
        )


class _Figure:
    """One measure of one group; see :class:`quantkeep.query.Measure`."""

    def __init__(self, collection: Collection, measure: Measure) -> None:
        self.rows = 0
        self._measure = measure
        self._best: tuple[Any, Any] | None = None
        self._sum: Any = 0
        self._reals = array("d")
        if measure.column is not None:
            self._column = column_of(collection, measure.column)
            self._take = value_of(collection, measure.column)
        self._keep = self._kept()

    def _kept(self) -> Callable[[Any], None]:
        if self._measure.function in ("min", "max"):
            return self._compare
        return self._note if self._measure.function != "count" else _pass

    def add(self, row: StoredRow) -> None:
        if self._measure.column is None:
            self.rows += 1
            return
        scalar = self._take(row)
        if scalar is not None:
            self.rows += 1
            self._keep(scalar)

    def _compare(self, scalar: Any) -> None:
        found = (comparable(self._column.kind, scalar), scalar)
        if self._best is None:
            self._best = found
        elif self._measure.function == "min":
            self._best = found if found[0] < self._best[0] else self._best
        elif found[0] > self._best[0]:
            self._best = found

    def _note(self, scalar: Any) -> None:
        value = self._column.python(scalar)
        value = abs(value) if self._measure.function == "mean_abs" else value
        if isinstance(value, float):
            self._reals.append(value)
        elif isinstance(value, Decimal):
            self._sum = _WIDE.add(self._sum or Decimal(0), value)
        else:
            self._sum += value

    @property
    def value(self) -> Any:
        """The figure, in Python values."""
        if self._measure.function == "count":
            return self.rows
        if not self.rows:
            return None
        if self._best is not None:
            return self._column.python(self._best[1])
        if self._column.kind is Kind.REAL:
            return total("sum" if self._measure.function == "sum" else "mean", self._reals)
        return self._sum if self._measure.function == "sum" else quotient(self._sum, self.rows)


def _pass(_: Any) -> None:
    """Counting takes no notice of values."""


def _group_value(collection: Collection, group: str | Per) -> Callable[[StoredRow], Any]:
    name = group.column if isinstance(group, Per) else group
    column, take = column_of(collection, name), value_of(collection, name)
    if isinstance(group, Per):
        width = _WIDTHS[group.unit]
        return lambda row: _period(column.kind, take(row), width)
    if column.kind is Kind.REAL:
        return lambda row: _one_nan(take(row))
    return lambda row: column.python(take(row))


def _period(kind: Kind, scalar: Any, width: int) -> str | None:
    if scalar is None:
        return None
    text = instant(scalar).isoformat() if kind is Kind.TIMESTAMP else scalar
    return str(text)[:width]


def _one_nan(real: Any) -> Any:
    """NaN is one group; two objects that are NaN would be two keys of a dictionary."""
    return math.nan if real is not None and math.isnan(real) else real
