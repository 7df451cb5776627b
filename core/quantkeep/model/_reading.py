"""Answering a query from rows that stand in its order already."""

from collections.abc import Iterable, Iterator
from itertools import islice

from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.query import Query, Rows, Where


def pinned_stream(collection: Collection, query: Query) -> Key | None:
    """The one stream of a log that the bound *query* is about, if it says so.

    Its rows, by revision, then stand in the order of a query that asks for no other.
    """
    if not collection.log:
        return None
    equal = {
        c.column: c.value
        for c in query.where
        if isinstance(c, Where) and c.operator == "==" and c.value is not None
    }
    stream = tuple(equal.get(name) for name in collection.stream)
    return None if None in stream else stream


def listed(
    collection: Collection, query: Query, rows: Iterable[StoredRow], others: Rows | None = None
) -> Iterator[StoredRow]:
    """What the bound *query* asks for of one stream of a log that stands in its order.

    Args:
        collection: the log.
        query: with :func:`pinned_stream`; with a cursor only if it asks for no order.
        rows: of that stream, in the query's order (by revision, if it asks for none), backwards if
            it takes the last ones. Read no further than is needed.
        others: the rows of another collection, for conditions on them.
    """
    tests = query.tests(collection, others)
    found = (row for row in rows if all(test(row) for test in tests))
    if query.after is not None:
        last = query.after[-1]
        found = (row for row in found if row.revision > last)  # type: ignore[operator]  # of this log
    if query.take == "last":
        return reversed([*islice(found, query.limit)])
    return islice(found, query.limit)
