"""Letting go of what is old.

A stream is pruned from its beginning: all entries up to a revision go, and none behind it. So what
is kept stays dense, and whoever checks a log for gaps finds none.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import attrs

from quantkeep.batch import Batch, Delete
from quantkeep.query import Condition, Measure, Query, Tally, Where, where
from quantkeep.table import Table
from quantkeep.watermarks import Stream, Watermarks

_COMMIT: Final = 1_000  # rows; a writer beside us waits for one of these at most


@attrs.frozen
class Expired:
    """The beginning of one stream of one log.

    Attributes:
        collection: of the log.
        account, mode: of the stream.
        through: the last revision of it.
        rows: how many entries that are.
    """

    collection: str
    account: str
    mode: str
    through: int
    rows: int


def expired(
    table: Table[Any], stream: Stream, head: int, older_than: datetime, kept: Watermarks
) -> Expired | None:
    """The entries from the beginning of *stream* that are all older than *older_than*."""
    ours = where(account=stream.account, mode=stream.mode)
    recent = (*ours, Where("timestamp", ">=", older_than))
    first_recent = _figure(table, Measure("min", "revision"), recent)
    through = head if first_recent is None else first_recent - 1
    through = min(through, kept.get(stream.of(table.collection.name), through))
    rows = table.count(*ours, Where("revision", "<=", through))
    name = table.collection.name
    return Expired(name, *stream.key, through, rows) if rows else None


def _figure(table: Table[Any], measure: Measure, conditions: tuple[Condition, ...]) -> Any:
    return table.tally(Tally(measures=(measure,), where=conditions))[0][0]


def remove(table: Table[Any], part: Expired) -> int:
    """Delete *part*, oldest first, in commits of a thousand rows; how many there were."""
    removed = 0
    for deletes in _portions(table, part):
        removed += table.backend.commit(Batch(deletes)).added
    return removed


def _portions(table: Table[Any], part: Expired) -> Iterator[tuple[Delete, ...]]:
    conditions = (
        *where(account=part.account, mode=part.mode),
        Where("revision", "<=", part.through),
    )
    # Read anew each time: what was read last is deleted meanwhile.
    query = Query(where=conditions, limit=_COMMIT)
    while rows := [*table.backend.scan(table.collection, query)]:
        stored_key, collection = table.collection.stored_key, table.collection
        yield tuple(Delete(collection, stored_key(row)) for row in rows)
