"""A log's rows as Arrow record batches, straight from its chunks (DESIGN §3)."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from quantkeep import arrow
from quantkeep.ahead import ahead
from quantkeep.collection import Collection
from quantkeep.query import Condition, Query
from quantkeep_backends.redis.chunks import Chunk, Place, is_exact
from quantkeep_backends.redis.logs import Plan
from quantkeep_backends.redis.streams import Start, Stream


def suits(plan: Plan, query: Query, collection: Collection, starts: Sequence[Start]) -> bool:
    """Whether *query* can be answered without a Python object for each row."""
    plain = query.limit is None and query.after is None and not plan.backwards
    if not plain or not all(is_exact(condition, collection) for condition in query.where):
        return False
    return (plan.chained and plan.by_revision) or _ascends(plan.column, starts)


def _ascends(column: str | None, starts: Sequence[Start]) -> bool:
    """Whether there is one stream, and it has never had an entry that came late."""
    if column is None or len(starts) != 1:
        return False
    page = starts[0].page or starts[0].stream.page()
    return not page.late(column)


def batches(
    collection: Collection, query: Query, starts: Sequence[Start], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """The rows of *starts*, one stream behind the other."""
    wanted = arrow.schema(collection, envelope=arrow.ENVELOPE)
    for start in starts:
        for batch in _of_stream(collection, query.where, start, wanted):
            for offset in range(0, batch.num_rows, batch_rows):
                yield batch.slice(offset, batch_rows)


def _of_stream(
    collection: Collection, where: Sequence[Condition], start: Start, wanted: pa.Schema
) -> Iterator[pa.RecordBatch]:
    stream, low = start.stream, 1
    packed = (start.page or stream.page()).packed
    places = packed.over(1, start.head)

    def read(place: Place) -> pa.RecordBatch | None:
        chunk = stream.chunk(place, packed)
        return None if chunk is None else _cast(chunk, collection, where, start.head, wanted)

    asked = {place for place in places if stream.may_hold(place, where)}
    with closing(ahead(read, (place for place in places if place in asked))) as batches:
        for place in places:
            yield from _single(stream, collection, where, (low, place.first - 1), wanted)
            low = place.last + 1
            batch = next(batches) if place in asked else None
            if batch is not None:
                yield batch
            elif place in asked:  # pruned or joined meanwhile
                yield from _single(stream, collection, where, (place.first, place.last), wanted)
    yield from _single(stream, collection, where, (low, start.head), wanted)


def _single(
    stream: Stream,
    collection: Collection,
    where: Sequence[Condition],
    revisions: tuple[int, int],
    wanted: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    """Entries that stand alone; or that were packed since we looked."""
    tests = Query(where=tuple(where)).tests(collection)
    packed = stream.page().packed if revisions[0] <= revisions[1] else None
    for rows in stream.ascending(*revisions, where, packed) if packed else ():
        found = [row for row in rows if all(test(row) for test in tests)]
        if found:
            yield arrow.to_batch(collection, found, wanted)


def _cast(
    chunk: Chunk, collection: Collection, where: Sequence[Condition], head: int, wanted: pa.Schema
) -> pa.RecordBatch:
    table, revisions = chunk.arrow(collection, 1, head, where)
    present = {*table.schema.names}
    columns: list[Any] = [
        table.column(name).cast(kind) if name in present else pa.nulls(table.num_rows, kind)
        for name, kind in zip(collection.names, wanted.types, strict=False)
    ]
    return pa.RecordBatch.from_arrays([*columns, revisions], schema=wanted)
