"""Rows of many row groups in one order, with no more of them in memory than overlap in it.

Row groups are taken in the order of where they begin; what lies before the beginning of the next
one can be handed out. A limit stops it, so the newest rows are read from the newest row groups.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.ahead import THREADS, begun, threads
from quantkeep.collection import Collection
from quantkeep.columns import Kind, Scalar
from quantkeep.query import Query, column_of
from quantkeep_backends.parquet._columns import arranged, is_constant, keys_of, permuted
from quantkeep_backends.parquet._conditions import EXACT, mask, values_of
from quantkeep_backends.parquet._reader import Reader
from quantkeep_backends.parquet._segments import Segment
from quantkeep_backends.parquet._units import (
    Asked,
    Ordering,
    Unit,
    begin_of,
    groups_of,
    is_past,
    sort,
)

_MANY: Final = 50_000  # rows that are sorted without a thought
_SORTED: Final = EXACT | {Kind.REAL}


def ordering_of(collection: Collection, query: Query) -> Ordering:
    """The order in which rows are found: backwards, where the last are wanted."""
    flip = query.take == "last"
    return [(name, down != flip) for name, down in query.ordering(collection)]


def can_sort(collection: Collection, ordering: Ordering) -> bool:
    """Whether Arrow sorts these columns as queries do."""
    return all(column_of(collection, name).kind in _SORTED for name, _ in ordering)


def sweep(
    asked: Asked, reader: Reader, segments: Sequence[Segment], tables: Sequence[pa.Table] = ()
) -> Iterator[pa.Table]:
    """The rows of *segments* and *tables* that are asked for, in order, a table at a time."""
    units = [
        Unit(begin_of(asked, segment.bounds), segment)
        for segment in segments
        if not is_past(asked, segment.bounds, segment.rows)
    ]
    units += [Unit((), table=table) for table in tables]
    with _Loader(asked, reader, units) as loader:
        waiting, left = list[pa.Table](), asked.limit
        while units or waiting:
            if left == 0:
                return
            loaded = loader.next() if units else None
            if loaded is not None:
                waiting = _cut([*waiting, loaded], asked, left)
            elif units:
                continue
            ready, waiting = _parted(asked, waiting, units) if waiting else (None, [])
            if ready is not None:
                ready = in_order(asked, ready).slice(0, left)
                left = None if left is None else left - ready.num_rows
                yield ready


def _cut(waiting: list[pa.Table], asked: Asked, left: int | None) -> list[pa.Table]:
    """Let go of rows behind those that are wanted, now and then."""
    if left is None or sum(table.num_rows for table in waiting) <= max(4 * left, _MANY):
        return waiting
    return [in_order(asked, pa.concat_tables(waiting)).slice(0, left)]


def _parted(
    asked: Asked, waiting: list[pa.Table], units: Sequence[Unit]
) -> tuple[pa.Table | None, list[pa.Table]]:
    """The rows that come before everything that is not loaded yet, and the others."""
    table = waiting[0] if len(waiting) == 1 else pa.concat_tables(waiting)
    if not units:
        return table, []
    bound = units[0].bound
    if not bound:
        return None, waiting
    before = beyond(asked, table, [p[1] if p[0] else None for p in bound], turned=True)
    count = pc.sum(before).as_py() or 0
    if not count:
        return None, waiting
    if count == table.num_rows:
        return table, []
    return table.filter(before), [table.filter(pc.invert(before))]


class _Loader:
    """Takes *units* one by one, in order; of those that will all be read, works ahead in threads.

    A segment gives way to its row groups before it is its turn.
    """

    def __init__(self, asked: Asked, reader: Reader, units: list[Unit]) -> None:
        self._asked = asked
        self._reader = reader
        self._units = units
        self._ahead = THREADS if asked.limit is None else 0
        self._pool = threads()
        self._begun: dict[int, Future[pa.Table | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def next(self) -> pa.Table | None:
        """The rows of the first unit, if it has any that are asked for."""
        self._open()
        if not self._units:
            return None
        unit = self._units.pop(0)
        future = self._begun.pop(id(unit), None)
        for later in self._units[: self._ahead]:
            if id(later) not in self._begun:
                self._begun[id(later)] = begun(self._pool, self._loaded, later)
        return self._loaded(unit) if future is None else future.result()

    def _open(self) -> None:
        """Let the first units be row groups or tables."""
        while closed := [u for u in self._units[: self._ahead + 1] if not u.is_open]:
            for unit in closed:
                self._units.remove(unit)
                assert unit.segment is not None
                self._units.extend(groups_of(self._asked, self._reader, unit.segment))
            sort(self._asked, self._units)

    def _loaded(self, unit: Unit) -> pa.Table | None:
        asked = self._asked
        if unit.table is not None:
            return _chosen(asked, arranged(asked.collection, unit.table), unit)
        assert unit.segment is not None
        tables = [self._reader.rows(asked.collection, unit.segment, n) for n in unit.groups]
        found = [t for table in tables if (t := _chosen(asked, table, unit)) is not None]
        if len(found) < 2:
            return found[0] if found else None
        return in_order(asked, pa.concat_tables(found))


def beyond(asked: Asked, table: pa.Table, place: Sequence[Scalar], *, turned: bool) -> Any:
    """Which rows come after *place* in the order (*turned*: before it)."""
    found: Any = None
    same: Any = None
    for (name, down), scalar in zip(asked.ordering, place, strict=False):
        values = values_of(asked.collection, table, name)
        further = _further(values, scalar, up=down == turned)
        equal = pc.is_null(values) if scalar is None else pc.fill_null(
            pc.equal(values, pa.scalar(scalar, values.type)), False
        )  # fmt: skip
        found = further if found is None else pc.or_(found, pc.and_(same, further))
        same = equal if same is None else pc.and_(same, equal)
    return found


def _further(values: Any, scalar: Scalar, *, up: bool) -> Any:
    """Which values are greater than *scalar* (*up*), or less; null is less than everything."""
    if scalar is None:
        return pc.is_valid(values) if up else pc.and_(pc.is_valid(values), pc.is_null(values))
    than = pa.scalar(scalar, values.type)
    return pc.fill_null((pc.greater if up else pc.less)(values, than), not up)


# -- rows ------------------------------------------------------------------------------------------


def _chosen(asked: Asked, table: pa.Table, unit: Unit) -> pa.Table | None:
    """The rows of *table* that are asked for, in order."""
    meets = mask(asked.collection, table, asked.where)
    if meets is not None:
        table = table.filter(meets)
    if asked.after is not None and table.num_rows:
        table = table.filter(beyond(asked, table, asked.after, turned=False))
    if asked.gone and unit.segment is not None and table.num_rows:
        there = [key not in asked.gone for key in keys_of(asked.collection, table)]
        table = table.filter(pa.array(there, pa.bool_()))
    return table if table.num_rows else None


def in_order(asked: Asked, table: pa.Table) -> pa.Table:
    """*table*, sorted."""
    fixed = {c.column for c in asked.where if c.operator == "=="}
    fixed.update(
        name for name, _ in asked.ordering if is_constant(values_of(asked.collection, table, name))
    )
    arrays, keys = list[Any](), list[tuple[str, str]]()
    for name, down in asked.ordering:
        if name not in fixed:
            for values in _sortable(asked, table, name):
                keys.append((str(len(arrays)), "descending" if down else "ascending"))
                arrays.append(values)
    if not keys or (len(keys) == 1 and _is_sorted(arrays[0], down=keys[0][1] == "descending")):
        return table
    columns = pa.Table.from_arrays(arrays, names=[name for name, _ in keys])
    return permuted(table, pc.sort_indices(columns, sort_keys=keys))


def _sortable(asked: Asked, table: pa.Table, name: str) -> Iterator[Any]:
    """Columns that together sort as queries do: null before all else, NaN behind."""
    values = values_of(asked.collection, table, name)
    if values.null_count:
        yield pc.is_valid(values).cast(pa.int8())
    if pa.types.is_floating(values.type):
        yield pc.fill_null(pc.is_nan(values), False).cast(pa.int8())
    yield values


def _is_sorted(values: Any, *, down: bool) -> bool:
    if values.null_count or not pa.types.is_integer(values.type):
        return False
    flat = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
    first, second = flat.slice(0, max(len(flat) - 1, 0)), flat.slice(1)
    compared = (pc.greater_equal if down else pc.less_equal)(first, second)
    return pc.all(compared).as_py() is not False
