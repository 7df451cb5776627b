"""Rows of many row groups in one order, with no more of them in memory than overlap in it.

Row groups are taken in the order of where they begin; what lies before the beginning of the next
one can be handed out. A limit stops it, so the newest rows are read from the newest row groups.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Final, Self

import pyarrow as pa

from quantkeep.ahead import THREADS, begun, threads
from quantkeep_backends.parquet._columns import arranged, file_schema, keys_of
from quantkeep_backends.parquet._conditions import mask
from quantkeep_backends.parquet._order import beyond, in_order, split_at
from quantkeep_backends.parquet._packed import nulls
from quantkeep_backends.parquet._reader import Reader
from quantkeep_backends.parquet._segments import Segment
from quantkeep_backends.parquet._units import Asked, Unit, begin_of, groups_of, is_past, sort

_MANY: Final = 50_000  # rows that are sorted without a thought


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
                ready = ready.slice(0, left)
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
    """The rows that come before everything that is not loaded yet, and the others.

    Each table in *waiting* is in order, and so are those that are given back.
    """
    bound = [part[1] if part[0] else None for part in units[0].bound] if units else None
    if bound == []:
        return None, waiting
    parts = [(table, None) if bound is None else split_at(asked, table, bound) for table in waiting]
    ready = [before for before, _ in parts if before is not None]
    others = [behind for _, behind in parts if behind is not None]
    if len(ready) > 1:
        return in_order(asked, pa.concat_tables(ready)), others
    return (ready[0] if ready else None), others


class _Loader:
    """Takes *units* one by one, in order; of those that will all be read, works ahead in threads.

    A segment gives way to its row groups before it is its turn.
    """

    def __init__(self, asked: Asked, reader: Reader, units: list[Unit]) -> None:
        self._asked = asked
        self._reader = reader
        self._units = units
        self._ahead = THREADS if asked.limit is None else 0
        self._schema = asked.schema or file_schema(asked.collection)
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
        if self._ahead and len(self._units) > 1:
            self._begin(self._units[: self._ahead + 1])
        unit = self._units.pop(0)
        future = self._begun.pop(id(unit), None)
        return self._loaded(unit) if future is None else future.result()

    def _begin(self, units: Sequence[Unit]) -> None:
        for unit in units:
            if id(unit) not in self._begun:
                self._begun[id(unit)] = begun(self._pool, self._loaded, unit)

    def _open(self) -> None:
        """Let the first units be row groups or tables."""
        while closed := [u for u in self._units[: self._ahead + 1] if not u.is_open]:
            for unit in closed:
                self._units.remove(unit)
                assert unit.segment is not None
                self._units.extend(groups_of(self._asked, self._reader, unit.segment))
            sort(self._asked, self._units)

    def _loaded(self, unit: Unit) -> pa.Table | None:
        """The rows of *unit* that are asked for, in order."""
        asked = self._asked
        if unit.whole:
            return in_order(asked, self._packed(unit))
        chosen = [
            found
            for table in self._tables(unit)
            if (found := _chosen(asked, table.select(self._schema.names), unit)) is not None
        ]
        return in_order(asked, pa.concat_tables(chosen)) if chosen else None

    def _tables(self, unit: Unit) -> Iterator[pa.Table]:
        collection = self._asked.collection
        if unit.table is not None:
            yield arranged(collection, unit.table)
        for number in unit.groups:
            assert unit.segment is not None
            yield self._reader.rows(collection, unit.segment, number)

    def _packed(self, unit: Unit) -> pa.Table:
        """All rows of *unit*, of an older file perhaps, with the columns that are to be read."""
        assert unit.segment is not None
        schema = self._schema
        table = self._reader.packed(unit.segment, unit.groups, schema.names)
        known = {*table.column_names}
        columns = [
            table.column(f.name) if f.name in known else nulls(table.num_rows, f.type)
            for f in schema
        ]
        fields = [f.with_type(values.type) for f, values in zip(schema, columns, strict=True)]
        return pa.Table.from_arrays(columns, schema=pa.schema(fields, schema.metadata))


def _chosen(asked: Asked, table: pa.Table, unit: Unit) -> pa.Table | None:
    """The rows of *table* that are asked for."""
    meets = mask(asked.collection, table, asked.where)
    if meets is not None:
        table = table.filter(meets)
    if asked.after is not None and table.num_rows:
        table = table.filter(beyond(asked, table, asked.after, turned=False))
    if asked.gone and unit.segment is not None and table.num_rows:
        there = [key not in asked.gone for key in keys_of(asked.collection, table)]
        table = table.filter(pa.array(there, pa.bool_()))
    return table if table.num_rows else None
