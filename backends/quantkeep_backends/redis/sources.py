"""What an append brings, as records or as a table, in slices that are worked on one at a time."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import pyarrow as pa

from quantkeep.arrow import ArrowRows
from quantkeep.batch import Append
from quantkeep.collection import Collection, Key, SealedRow
from quantkeep.digests import DIGEST_BYTES
from quantkeep_backends.redis import chunks
from quantkeep_backends.redis.batches import rows_of
from quantkeep_backends.redis.shapes import Shape, arranged

_DIGEST: Final = pa.binary(DIGEST_BYTES)


class Slice(NamedTuple):
    """Some rows: as they are stored, and what identifies them (an empty text: nothing)."""

    batch: pa.RecordBatch
    identities: list[str]
    digests: list[bytes]


class Source(Protocol):
    """The rows of an append, by their places in it."""

    identified: bool  # some rows may have an identity

    def __len__(self) -> int: ...

    def single(self) -> Key | None:
        """The one stream of all rows, if they are of one."""
        ...

    def each(self) -> Iterator[tuple[Key, str, bytes]]:
        """Stream, identity and digest of every row; only the stream where none has an identity."""
        ...

    def slice(self, places: Sequence[int]) -> Slice:
        """The rows at *places*."""
        ...

    def row(self, place: int) -> SealedRow:
        """One row."""
        ...


def source_of(shape: Shape, write: Append) -> Source:
    """The rows of *write*, in the columns of the keep."""
    given = write.rows
    if isinstance(given, ArrowRows) and arranged(write.collection, shape.collection) is None:
        return OfTable(shape, write.collection, given.table)
    return OfRows(shape, rows_of(write, shape))


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

    def each(self) -> Iterator[tuple[Key, str, bytes]]:
        return _each(self._shape, self._rows)

    def slice(self, places: Sequence[int]) -> Slice:
        rows = [self._rows[place] for place in places]
        batch = chunks.of_rows(self._shape.collection, rows)
        identity = self._shape.identity
        identities = [identity(row.values) for row in rows] if self.identified else []
        return Slice(batch, identities, [row.digest for row in rows])

    def row(self, place: int) -> SealedRow:
        return self._rows[place]


class OfTable:
    """Rows of an Arrow table, which become Python objects only for their digests, slice by slice.

    Where no row has an identity they never do.
    """

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

    def each(self) -> Iterator[tuple[Key, str, bytes]]:
        if self.identified:
            return _each(self._shape, self._made(self._table))
        columns = [self._table.column(n).to_pylist() for n in self._shape.collection.stream]
        streams = zip(*columns, strict=True) if columns else iter([()] * len(self))
        return ((stream, "", b"") for stream in streams)

    def slice(self, places: Sequence[int]) -> Slice:
        table = self._taken(places)
        (batch,) = table.combine_chunks().to_batches(max_chunksize=len(places))
        if not self.identified:
            return Slice(batch, [], [])
        rows = [*self._made(table)]
        digests = [row.digest for row in rows]
        batch = batch.append_column("_digest", pa.array(digests, _DIGEST))
        return Slice(batch, [self._shape.identity(row.values) for row in rows], digests)

    def _taken(self, places: Sequence[int]) -> pa.Table:
        if places[-1] - places[0] + 1 == len(places):
            return self._table.slice(places[0], len(places))
        return self._table.take(pa.array(places, pa.int64()))

    def _made(self, table: pa.Table) -> Iterable[SealedRow]:
        return ArrowRows(self._collection, table)

    def row(self, place: int) -> SealedRow:
        return next(iter(self._made(self._table.slice(place, 1))))


def _each(shape: Shape, rows: Iterable[SealedRow]) -> Iterator[tuple[Key, str, bytes]]:
    identity: Any = shape.identity if shape.collection.identity else lambda values: ""
    return ((shape.take_stream(row.values), identity(row.values), row.digest) for row in rows)
