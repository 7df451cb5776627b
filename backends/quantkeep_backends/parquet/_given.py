"""What a large append gives: canonical columns, and the stamps of its rows."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import length_hint
from typing import Any, Final

import attrs
import pyarrow as pa

from quantkeep import arrow
from quantkeep.batch import Append
from quantkeep.collection import Collection, SealedRow
from quantkeep.model import arranger
from quantkeep_backends.parquet._columns import file_table

_CHUNK: Final = 10_000


@attrs.frozen
class Columns:
    """Canonical columns of some rows, and when these were created and updated."""

    table: pa.Table
    created: Any
    updated: Any

    def taken(self, places: Sequence[int]) -> "Columns":
        """Of the rows those at *places*."""
        wanted = pa.array(places, pa.int64())
        return Columns(*(each.take(wanted) for each in (self.table, self.created, self.updated)))

    def numbered(self, collection: Collection, revisions: Any) -> pa.Table:
        """The table of a file that holds the rows, under *revisions*."""
        version = pa.repeat(pa.scalar(collection.schema_version, pa.int64()), self.table.num_rows)
        stamps = [revisions, self.created, self.updated, version]
        return file_table(collection, self.table, stamps)


class Given:
    """What *write* gives, with the columns of *collection*: others may have added some (Z-3).

    Records become columns while :meth:`parts` are read; all else is columns at once.

    Args:
        now: what rows are stamped with that have no stamps of their own.
    """

    def __init__(self, write: Append, collection: Collection, now: int) -> None:
        self._write = write
        self._collection = collection
        self._now = now
        self._coming = self._of_columns() if hasattr(write.rows, "parts") else self._of_rows()
        self._parts = list[Columns]()
        if not isinstance(write.rows, arrow.RecordColumns):
            self._parts += self._coming

    @property
    def is_whole(self) -> bool:
        """Whether all columns are there."""
        there: int = sum(part.table.num_rows for part in self._parts)
        return there == length_hint(self._write.rows)

    def parts(self) -> Iterator[Columns]:
        """The rows, in order."""
        yield from self._parts
        for part in self._coming:
            self._parts.append(part)
            yield part

    def whole(self) -> Columns:
        """All rows, once :meth:`parts` have been read."""
        if len(self._parts) == 1:
            return self._parts[0]
        tables = pa.concat_tables(part.table for part in self._parts)
        stamps = [[getattr(part, name) for part in self._parts] for name in ("created", "updated")]
        return Columns(tables, *map(pa.chunked_array, stamps))

    def rows(self) -> Iterable[SealedRow]:
        """The rows one by one, with their digests."""
        arranged = arranger(self._write.collection, self._collection)
        if arranged is None:
            return self._write.rows
        return (row._replace(values=arranged(row.values)) for row in self._write.rows)

    def _of_columns(self) -> Iterator[Columns]:
        for table in self._write.rows.parts():  # type: ignore[attr-defined]  # it was asked for
            stamps = pa.repeat(pa.scalar(self._now, pa.int64()), table.num_rows)
            yield Columns(_widened(self._collection, table), stamps, stamps)

    def _of_rows(self) -> Iterator[Columns]:
        rows = [*self.rows()]
        created = [self._now if row.created_at is None else row.created_at for row in rows]
        updated = [self._now if row.updated_at is None else row.updated_at for row in rows]
        table = _table(self._collection, rows)
        yield Columns(table, pa.array(created, pa.int64()), pa.array(updated, pa.int64()))


def _widened(collection: Collection, table: pa.Table) -> pa.Table:
    have = set(table.column_names)
    arrays = [
        table.column(c.name)
        if c.name in have
        else pa.nulls(table.num_rows, arrow.scalar_type(c.kind))
        for c in collection.columns
    ]
    return pa.Table.from_arrays(arrays, names=[*collection.names])


def _table(collection: Collection, rows: Sequence[SealedRow]) -> pa.Table:
    """In chunks: turning a million tuples at once is slower by half."""
    values, parts = iter(rows), list[pa.Table]()
    while chunk := [row.values for row in islice(values, _CHUNK)]:
        parts.append(arrow.canonical_table(collection, chunk))
    return pa.concat_tables(parts)
