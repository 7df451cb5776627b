"""Queries of logs, answered from segments and from the rows that are in none yet."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, islice
from typing import Any

import attrs
import pyarrow as pa

from quantkeep import arrow
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.query import Query, Rows, Where, column_of, sort_key
from quantkeep_backends.parquet._columns import file_schema, one, stored_rows, table_of
from quantkeep_backends.parquet._conditions import EXACT, split
from quantkeep_backends.parquet._order import can_sort, ordering_of
from quantkeep_backends.parquet._packed import nulls
from quantkeep_backends.parquet._reader import Reader
from quantkeep_backends.parquet._segments import Segment
from quantkeep_backends.parquet._shelf import segment_rows
from quantkeep_backends.parquet._sweep import sweep
from quantkeep_backends.parquet._units import Asked, Ordering


@attrs.frozen
class View:
    """One log as it was when a reader began.

    Attributes:
        collection: in the form in which it is read.
        segments: all that were there.
        gone: keys of rows in them that had been deleted.
        held: the rows that were in no segment, in that form.
    """

    collection: Collection
    segments: Sequence[Segment]
    gone: Mapping[Key, int]
    held: Sequence[StoredRow]
    reader: Reader
    others: Rows

    def scan(self, query: Query) -> Iterator[StoredRow]:
        """The rows the bound *query* asks for, in its order."""
        ordering = ordering_of(self.collection, query)
        if not can_sort(self.collection, ordering) or not self._can_go_on(query, ordering):
            rows = chain(self.held, self._of_segments())
            return query.run(self.collection, rows, self.others)
        held = [*query.run(self.collection, self.held, self.others)]
        found = self._found(query, ordering)
        if not held:
            return self._turned(query, found)
        if query.take == "last":
            held.reverse()
        key = sort_key(self.collection, ordering)
        return self._turned(query, merge(held, found, key=key))

    def _can_go_on(self, query: Query, ordering: Ordering) -> bool:
        """Whether the place of the cursor can be found in Arrow."""
        kinds = {column_of(self.collection, name).kind for name, _ in ordering}
        return query.after is None or kinds <= EXACT

    def _of_segments(self) -> Iterator[StoredRow]:
        return segment_rows(self.collection, self.reader, self.segments, self.gone)

    def _found(self, query: Query, ordering: Ordering) -> Iterator[StoredRow]:
        _, others = split(self.collection, query.where)
        asked = attrs.evolve(self._asked(query, ordering), limit=None if others else query.limit)
        tests = Query(where=tuple(others)).tests(self.collection, self.others)
        tables = _parts(sweep(asked, self.reader, self.segments))
        found = chain.from_iterable(stored_rows(self.collection, table) for table in tables)
        return (row for row in found if all(test(row) for test in tests)) if tests else found

    def _asked(self, query: Query, ordering: Ordering) -> Asked:
        exact, _ = split(self.collection, query.where)
        return Asked(self.collection, exact, ordering, query.limit, query.after, self.gone)

    def _turned(self, query: Query, found: Iterator[StoredRow]) -> Iterator[StoredRow]:
        """No more of them than are wanted, and in the order that is wanted."""
        wanted = islice(found, query.limit)
        return reversed([*wanted]) if query.take == "last" else wanted

    # -- without a Python object for each row ------------------------------------------------------

    def record_batches(self, query: Query, batch_rows: int) -> Iterator[pa.RecordBatch] | None:
        """As :meth:`scan`; ``None`` where rows have to be looked at one by one."""
        ordering = ordering_of(self.collection, query)
        _, others = split(self.collection, query.where)
        sortable = can_sort(self.collection, ordering) and self._can_go_on(query, ordering)
        if others or not sortable:
            return None
        held = [*query.run(self.collection, self.held, self.others)]
        for row in held:
            self.collection.verify(row)
        tables = [table_of(self.collection, held)] if held else []
        asked = attrs.evolve(self._asked(query, ordering), schema=self._shown(query, ordering))
        found = sweep(asked, self.reader, self.segments, tables)
        return self._batches(query, found, batch_rows)

    def _shown(self, query: Query, ordering: Ordering) -> pa.Schema:
        """The columns of a file that are shown, and those that decide what is."""
        schema = file_schema(self.collection)
        said = {c.column for c in query.where if isinstance(c, Where)} | {n for n, _ in ordering}
        shown = len(self.collection.columns) + len(arrow.ENVELOPE)
        others = said - {*self.collection.places, *arrow.ENVELOPE}
        return schema if others else pa.schema([*schema][:shown], schema.metadata)

    def _batches(
        self, query: Query, found: Iterator[pa.Table], batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        wanted = arrow.schema(self.collection, envelope=arrow.ENVELOPE)
        if query.take == "last":
            found = _backwards(found)
        for table in found:
            columns = [_contiguous(values) for values in table.columns[: len(wanted)]]
            shown = pa.Table.from_arrays(columns, schema=wanted)
            yield from shown.to_batches(max_chunksize=batch_rows)


def _contiguous(values: Any) -> Any:
    """A single array, so that batches are as large as they may be."""
    return nulls(len(values), values.type) if values.null_count == len(values) else one(values)


def _parts(tables: Iterator[pa.Table], rows: int = 4_096) -> Iterator[pa.Table]:
    """*tables* in parts of which there are not too many Python objects at once."""
    for table in tables:
        for start in range(0, table.num_rows, rows):
            yield table.slice(start, rows)


def _backwards(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    for table in reversed([*tables]):
        yield table.take(pa.array(range(table.num_rows - 1, -1, -1), pa.int64()))
