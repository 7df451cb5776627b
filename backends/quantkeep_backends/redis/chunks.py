"""Packed entries of a log: some thousand rows as one Arrow file, compressed, with its own digest.

``digest of all that follows (16 bytes), Arrow IPC file``. Beside a collection's columns, in the
types of their canonical scalars, it may hold ``_offset`` (of each row's revision from the first,
where they are not dense), ``_created_at``, ``_updated_at``, ``_schema_version`` and ``_digest``.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeGuard

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.arrow import scalar_type
from quantkeep.collection import Collection, SealedRow, StoredRow
from quantkeep.columns import Kind
from quantkeep.digests import DIGEST_BYTES
from quantkeep.errors import Corrupt
from quantkeep.query import Condition, Where
from quantkeep_backends.redis.shapes import Shape

ROWS: Final = 10_000  # of a chunk that a bulk append makes
LEAST: Final = 256  # rows of an append that are worth packing

_EXTRA: Final = {
    "_offset": pa.int64(),
    "_created_at": pa.int64(),
    "_updated_at": pa.int64(),
    "_schema_version": pa.int64(),
    "_digest": pa.binary(DIGEST_BYTES),
}
LONGEST: Final = 16_384  # revisions that a chunk spans at most
_NUMBERS: Final = pa.array(range(LONGEST), pa.int64())
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)  # chunks do


class Place(NamedTuple):
    """Where a chunk stands: its first revision, and the stamp of rows that brought none."""

    first: int
    last: int
    live: int
    at: int
    info: bytes


def place(first: bytes, text: bytes) -> Place:
    """What the keep remembers of a chunk."""
    last, live, at, info = text.split(b" ", 3)
    return Place(int(first), int(last), int(live), int(at), info)


# -- packing ---------------------------------------------------------------------------------------


def of_rows(collection: Collection, rows: Sequence[SealedRow]) -> pa.RecordBatch:
    """Rows that are to be appended, as columns."""
    columns = [*zip(*[row.values for row in rows], strict=True)]
    arrays = {
        column.name: pa.array(values, scalar_type(column.kind))
        for column, values in zip(collection.columns, columns, strict=True)
    }
    arrays["_digest"] = pa.array([row.digest for row in rows], _EXTRA["_digest"])
    if any(row.created_at is not None or row.updated_at is not None for row in rows):
        arrays["_created_at"] = pa.array([row.created_at for row in rows], pa.int64())
        arrays["_updated_at"] = pa.array([row.updated_at for row in rows], pa.int64())
    return pa.RecordBatch.from_pydict(arrays)


def of_stored(collection: Collection, rows: Sequence[StoredRow]) -> pa.RecordBatch:
    """Entries that stood alone, as columns."""
    sealed = [SealedRow(r.values, r.digest, r.created_at, r.updated_at) for r in rows]
    batch = of_rows(collection, sealed)
    batch = batch.append_column("_schema_version", pa.array([r.schema_version for r in rows]))
    first = rows[0].revision
    if rows[-1].revision - first + 1 == len(rows):
        return batch
    return batch.append_column("_offset", pa.array([r.revision - first for r in rows]))


def whole(collection: Collection, rows: Sequence[StoredRow]) -> pa.Table:
    """Entries that stood alone, to be joined with others."""
    batch = of_stored(collection, rows)
    if "_offset" in batch.schema.names:
        batch = batch.drop_columns(["_offset"])
    revisions = pa.array([row.revision for row in rows], pa.int64())
    return pa.table(batch).append_column("_revision", revisions)


def joined(tables: Sequence[pa.Table]) -> tuple[list[int], pa.RecordBatch]:
    """The rows of several, one behind the other, as one chunk; and their revisions."""
    table = pa.concat_tables(tables, promote_options="default").combine_chunks()
    revisions: list[int] = table.column("_revision").to_pylist()
    first = revisions[0]
    table = table.drop_columns(["_revision"])
    if revisions[-1] - first + 1 != len(revisions):
        offsets = pa.array([revision - first for revision in revisions], pa.int64())
        table = table.append_column("_offset", offsets)
    (batch,) = table.to_batches(max_chunksize=len(revisions))
    return revisions, batch


def packed(batch: pa.RecordBatch) -> bytes:
    """The bytes that are stored; columns of nothing but nulls are left out."""
    void = [n for n in batch.schema.names if batch.column(n).null_count == batch.num_rows]
    batch = batch.drop_columns(void) if void else batch
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema, options=_OPTIONS) as writer:
        writer.write_batch(batch)
    body = memoryview(sink.getvalue())
    return b"".join((blake2b(body, digest_size=DIGEST_BYTES).digest(), body))


# -- reading ---------------------------------------------------------------------------------------


def read(stored: bytes | None, name: str, where: Place) -> pa.RecordBatch:
    """The columns of a chunk; raises ``Corrupt`` where it is not what was written."""
    body = memoryview(stored or b"")[DIGEST_BYTES:]
    good = stored and blake2b(body, digest_size=DIGEST_BYTES).digest() == stored[:DIGEST_BYTES]
    if not good:
        what = "is missing" if stored is None else "does not match its digest"
        raise Corrupt(
            f"{name}: the packed entries {where.first} to {where.last} of a stream: their chunk "
            f"{what}; it was changed outside quantkeep: run `quantkeep verify`, and restore it "
            "from a backup",
            locator=f"{name} chunk {where.first}",
        )
    with pa.ipc.open_file(pa.py_buffer(body)) as file:
        return file.get_batch(0)


def ascends(column: Any) -> bool:
    """Whether an Arrow column goes up, and has no nulls."""
    if column.null_count or len(column) < 2:
        return not column.null_count
    before, behind = column.slice(0, len(column) - 1), column.slice(1)
    return bool(pc.all(pc.less_equal(before, behind)).as_py())


def is_exact(condition: Condition, collection: Collection) -> TypeGuard[Where]:
    """Whether Arrow compares as the condition does."""
    if not isinstance(condition, Where) or condition.column not in collection.places:
        return False
    comparable = collection.column(condition.column).kind in _COMPARABLE
    return comparable and condition.operator in _COMPARISONS and condition.value is not None


class Chunk:
    """One chunk, read and found whole, without the entries that are *gone*."""

    def __init__(
        self, shape: Shape, where: Place, batch: pa.RecordBatch, gone: Iterable[int]
    ) -> None:
        self._where = where
        self._version = shape.collection.schema_version
        self.batch = batch
        self._gone = sorted(r - where.first for r in gone if where.first <= r <= where.last)

    @property
    def first(self) -> int:
        """Its first revision."""
        return self._where.first

    @property
    def last(self) -> int:
        """Its last revision."""
        return self._where.last

    def ascends(self, column: str) -> bool:
        """Whether its rows ascend in *column*, which is nowhere null."""
        return column in self.batch.schema.names and ascends(self.batch.column(column))

    def rows(
        self, collection: Collection, low: int, high: int, where: Sequence[Condition] = ()
    ) -> list[StoredRow]:
        """The rows of revisions *low* to *high* that *where* may be true of, ascending."""
        table, chosen = self._chosen(collection, low, high, where)
        offsets = chosen.to_pylist()
        names = set(table.schema.names)
        values = [
            table.column(name).to_pylist() if name in names else [None] * len(offsets)
            for name in collection.names
        ]
        return [*self._stored(collection, table, offsets, [*zip(*values, strict=True)])]

    def _stored(
        self, collection: Collection, table: pa.RecordBatch, offsets: list[int], rows: list[Any]
    ) -> Iterator[StoredRow]:
        extra = [self._extra(table, name) for name in (*_EXTRA,)[1:]]
        first, at = self._where.first, self._where.at
        for offset, row, created, updated, version, digest in zip(
            offsets, rows, *extra, strict=True
        ):
            yield StoredRow(
                row,
                first + offset,
                at if created is None else created,
                at if updated is None else updated,
                self._version if version is None else version,
                collection.digest(row) if digest is None else digest,
            )

    @staticmethod
    def _extra(table: pa.RecordBatch, name: str) -> list[Any]:
        if name in table.schema.names:
            found: list[Any] = table.column(name).to_pylist()
            return found
        return [None] * table.num_rows

    def _offsets(self) -> Any:
        if "_offset" in self.batch.schema.names:
            return self.batch.column("_offset")
        return _NUMBERS.slice(0, self.batch.num_rows)

    def _between(self, low: int, high: int) -> tuple[pa.RecordBatch, Any]:
        """The rows from one offset to another, and their offsets."""
        table, offsets = self.batch, self._offsets()
        if "_offset" not in table.schema.names:
            low, count = max(low, 0), min(high + 1, table.num_rows) - max(low, 0)
            return table.slice(low, max(count, 0)), offsets.slice(low, max(count, 0))
        if low <= offsets[0].as_py() and high >= offsets[-1].as_py():
            return table, offsets
        mask = pc.and_(pc.greater_equal(offsets, low), pc.less_equal(offsets, high))
        return table.filter(mask), offsets.filter(mask)

    def _chosen(
        self, collection: Collection, low: int, high: int, where: Sequence[Condition]
    ) -> tuple[pa.RecordBatch, Any]:
        # What stands under its key may have been joined with what comes behind it.
        low, high = max(low, self._where.first), min(high, self._where.last)
        table, offsets = self._between(low - self._where.first, high - self._where.first)
        mask = None
        if self._gone:
            kept = pc.invert(pc.is_in(offsets, pa.array(self._gone, pa.int64())))
            mask = kept
        for condition in where:
            found = _mask(table, collection, condition)
            if found is not None:
                mask = found if mask is None else pc.and_(mask, found)
        if mask is None:
            return table, offsets
        return table.filter(mask), offsets.filter(mask)

    def whole(self, collection: Collection) -> pa.Table:
        """All rows with their revisions and stamps, to be joined with others."""
        table, offsets = self._chosen(collection, self._where.first, self._where.last, ())
        given = {*table.schema.names}

        def column(name: str, kind: Any, otherwise: int | None = None) -> Any:
            found = table.column(name) if name in given else pa.nulls(table.num_rows, kind)
            return found if otherwise is None else pc.fill_null(found, otherwise)

        made = {c.name: column(c.name, scalar_type(c.kind)) for c in collection.columns}
        for name in ("_created_at", "_updated_at"):
            made[name] = column(name, pa.int64(), self._where.at)
        made["_schema_version"] = column("_schema_version", pa.int64(), self._version)
        if "_digest" in given:
            made["_digest"] = table.column("_digest")
        return pa.table({**made, "_revision": pc.add(offsets, self._where.first)})

    def arrow(self, collection: Collection, low: int, high: int, where: Sequence[Condition]) -> Any:
        """As :meth:`rows`, as columns, with the revisions."""
        table, offsets = self._chosen(collection, low, high, where)
        return table, pc.add(offsets, self._where.first)


def _mask(table: pa.RecordBatch, collection: Collection, condition: Condition) -> Any:
    """Which rows a condition is true of, where Arrow says so as queries do."""
    if not is_exact(condition, collection):
        return None
    if condition.column not in table.schema.names:  # all of it is null
        return pa.repeat(pa.scalar(False), table.num_rows)
    bound = pa.scalar(condition.value, scalar_type(collection.column(condition.column).kind))
    compare = _COMPARISONS[condition.operator]
    return pc.fill_null(compare(table.column(condition.column), bound), False)


_COMPARABLE: Final = (Kind.TEXT, Kind.TIMESTAMP, Kind.INTEGER, Kind.DATE, Kind.UUID)
_COMPARISONS: Final[dict[str, Any]] = {
    "==": pc.equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
