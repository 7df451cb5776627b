"""What appends bring, as records or as tables, in slices that are worked on one at a time."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import chain
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from quantkeep.arrow import ArrowRows
from quantkeep.batch import Append
from quantkeep.collection import Collection, Key, SealedRow
from quantkeep_backends.redis import chunks, identities
from quantkeep_backends.redis.batches import rows_of
from quantkeep_backends.redis.shapes import Shape, arranged


class Slice(NamedTuple):
    """Some rows.

    Attributes:
        batch: as they are stored.
        identities: of each the text that identifies it, or null.
        digests: of each, if they were needed for anything else: they take longer than all the rest.
    """

    batch: pa.RecordBatch
    identities: pa.Array
    digests: Sequence[bytes]


class Source(Protocol):
    """The rows of appends to one log, by their places in all of them."""

    identified: bool  # some rows may have an identity

    def __len__(self) -> int: ...

    def single(self) -> Key | None:
        """The one stream of all rows, if they are of one."""
        ...

    def each(self) -> Iterator[tuple[Key, str]]:
        """Stream and identity of every row, in order; the text is empty where it has none."""
        ...

    def slice(self, places: Sequence[int]) -> Slice:
        """The rows at *places*."""
        ...

    def digests(self, places: Sequence[int]) -> list[bytes]:
        """What tells whether the rows at *places* are the same as others."""
        ...

    def row(self, place: int) -> SealedRow:
        """One row."""
        ...


def source_of(shape: Shape, writes: Sequence[Append]) -> tuple[Source, list[int]]:
    """The rows of *writes*, one behind the other, in the columns of the keep; how many of each."""
    tables = [*_tables(shape, writes)]
    if len(tables) == len(writes):
        source = OfTable(shape, writes[0].collection, _joined(tables))
        return source, [table.num_rows for table in tables]
    rows = [rows_of(write, shape) for write in writes]
    return OfRows(shape, [*chain.from_iterable(rows)]), [*map(len, rows)]


def count(write: Append) -> int | None:
    """How many rows it has, where that is known before they are looked at."""
    return len(write.rows) if isinstance(write.rows, Sized) else None


def _tables(shape: Shape, writes: Sequence[Append]) -> Iterator[pa.Table]:
    for write in writes:
        same = arranged(write.collection, shape.collection) is None
        if same and isinstance(write.rows, ArrowRows):
            yield write.rows.table


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Without a copy, but where their texts are of types that differ."""
    if len(tables) == 1:
        return tables[0]
    return pa.concat_tables(tables, promote_options="permissive")


class OfRows:
    """Rows that are there one by one."""

    def __init__(self, shape: Shape, rows: Sequence[SealedRow]) -> None:
        self._shape = shape
        self._rows = rows
        self.identified = bool(shape.collection.identity)

    def __len__(self) -> int:
        return len(self._rows)

    def single(self) -> Key | None:
        found = {*map(self._shape.take_stream, [row.values for row in self._rows])}
        return found.pop() if len(found) == 1 else None

    def each(self) -> Iterator[tuple[Key, str]]:
        stream = self._shape.take_stream
        identity: Any = self._shape.identity if self.identified else lambda values: ""
        return ((stream(row.values), identity(row.values)) for row in self._rows)

    def slice(self, places: Sequence[int]) -> Slice:
        rows = [self._rows[place] for place in places]
        batch = chunks.of_rows(self._shape.collection, rows)
        found = identities.of_batch(self._shape, batch)
        return Slice(batch, found, [row.digest for row in rows])

    def digests(self, places: Sequence[int]) -> list[bytes]:
        return [self._rows[place].digest for place in places]

    def row(self, place: int) -> SealedRow:
        return self._rows[place]


class OfTable:
    """Rows of an Arrow table: none becomes Python objects unless others have its identity."""

    def __init__(self, shape: Shape, collection: Collection, table: pa.Table) -> None:
        self._shape = shape
        self._collection = collection
        self._table = table
        identity = [table.column(name) for name in shape.collection.identity]
        self.identified = bool(identity) and all(c.null_count < len(c) for c in identity)

    def __len__(self) -> int:
        rows: int = self._table.num_rows
        return rows

    def single(self) -> Key | None:
        columns = [self._table.column(name).unique() for name in self._shape.collection.stream]
        one = all(len(values) == 1 for values in columns)
        return tuple(values[0].as_py() for values in columns) if one else None

    def each(self) -> Iterator[tuple[Key, str]]:
        for batch in self._table.to_batches(max_chunksize=chunks.ROWS):
            columns = [batch.column(name).to_pylist() for name in self._shape.collection.stream]
            streams: Iterable[Key] = zip(*columns, strict=True) if columns else [()] * len(batch)
            found = identities.of_batch(self._shape, batch).to_pylist()
            yield from ((stream, said or "") for stream, said in zip(streams, found, strict=True))

    def slice(self, places: Sequence[int]) -> Slice:
        (batch,) = self._taken(places).combine_chunks().to_batches(max_chunksize=len(places))
        return Slice(batch, identities.of_batch(self._shape, batch), ())

    def _taken(self, places: Sequence[int]) -> pa.Table:
        if places[-1] - places[0] + 1 == len(places):
            return self._table.slice(places[0], len(places))
        return self._table.take(pa.array(places, pa.int64()))

    def digests(self, places: Sequence[int]) -> list[bytes]:
        return [row.digest for row in self._made(self._taken(places))]

    def _made(self, table: pa.Table) -> Iterable[SealedRow]:
        return ArrowRows(self._collection, table)

    def row(self, place: int) -> SealedRow:
        return next(iter(self._made(self._table.slice(place, 1))))
