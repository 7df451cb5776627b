"""From stored rows to Arrow record batches."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from quantkeep._arrow_schema import ENVELOPE, schema
from quantkeep.backend import Backend
from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Kind
from quantkeep.query import ENVELOPE_COLUMNS, Query


def read(
    collection: Collection,
    backend: Backend,
    query: Query,
    batch_rows: int = 10_000,
    *,
    envelope: Sequence[str] = ENVELOPE,
) -> pa.RecordBatchReader:
    """The rows that *query* asks for, as a stream of record batches in bounded memory.

    No rows are a stream of the same schema. Each digest is held against its row.

    Args:
        collection: whose rows.
        backend: where they are.
        query: which of them, in which order.
        batch_rows: rows of a record batch, at most.
        envelope: the store's own columns to put behind the record's; see :func:`schema`.

    Raises:
        Corrupt: while reading: a row does not match its digest.
    """
    wanted = schema(collection, envelope=envelope)
    batches = None
    if tuple(envelope) == ENVELOPE:
        batches = backend.scan_arrow(collection, query, batch_rows=batch_rows)
    if batches is None:
        stored = backend.scan(collection, query)
        batches = _converted(collection, stored, wanted, tuple(envelope), batch_rows)
    return pa.RecordBatchReader.from_batches(wanted, batches)


def _converted(
    collection: Collection,
    stored: Iterator[StoredRow],
    wanted: pa.Schema,
    envelope: tuple[str, ...],
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    while chunk := [*islice(stored, batch_rows)]:
        yield to_batch(collection, chunk, wanted, envelope)


def to_batch(
    collection: Collection,
    stored: Sequence[StoredRow],
    wanted: pa.Schema,
    envelope: Sequence[str] = ENVELOPE,
) -> pa.RecordBatch:
    """One record batch of schema *wanted*; raises :class:`quantkeep.Corrupt`."""
    for row in stored:
        collection.verify(row)
    columns: list[Any] = [*zip(*[row.values for row in stored], strict=True)]
    kinds = [column.kind for column in collection.columns]
    for name in envelope:
        columns.append([getattr(row, name) for row in stored])
        kinds.append(ENVELOPE_COLUMNS[name].kind)
    arrays = [_array(*part) for part in zip(kinds, columns, wanted.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _array(kind: Kind, scalars: Sequence[Any], wanted: Any) -> pa.Array:
    storage = _STORAGE.get(kind)
    return (
        pa.array(scalars, wanted) if storage is None else pa.array(scalars, storage()).cast(wanted)
    )


_STORAGE: Final[dict[Kind, Callable[[], Any]]] = {  # where the canonical scalar is of another type
    Kind.TIMESTAMP: pa.int64,
    Kind.DATE: pa.string,
    Kind.DECIMAL: pa.string,
}
