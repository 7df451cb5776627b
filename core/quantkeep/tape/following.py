"""Reading a log on from where one stopped, and nothing is ever missed.

Revisions are dense and given in the order of commits, so what follows the revision seen last is
what was committed since: no clock is asked. A revision that is not there is either pruned, which
the reader is told, or was removed behind the store's back.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import merge
from typing import Final, TypeVar

from quantkeep.contract import regressed
from quantkeep.errors import Corrupt, NotFound
from quantkeep.query import Where, where
from quantkeep.records import Record
from quantkeep.table import Table
from quantkeep.watermarks import Stream

R = TypeVar("R", bound=Record)

PAGE: Final = 1_000


def entries(table: Table[R], stream: Stream, after: int, head: int) -> Iterator[R]:
    """The entries of *stream* behind revision *after*, to *head*, in order, in bounded memory.

    Raises:
        NotFound: some of them were pruned.
        Corrupt: one is missing, and was not pruned.
        Regression: the stream ends before *after*: the store is older than its reader.
    """
    if after > head:
        raise regressed(table.collection, stream.key, after, head)
    while after < head:
        for entry in _page(table, stream, after, head):
            if entry.revision != after + 1:
                raise _gone(table, stream, after + 1)
            after += 1
            yield entry


def _page(table: Table[R], stream: Stream, after: int, head: int) -> list[R]:
    behind = (Where("revision", ">", after), Where("revision", "<=", head))
    page = table.list(*where(account=stream.account, mode=stream.mode), *behind, limit=PAGE)
    if not page:
        raise _gone(table, stream, after + 1)
    return page


def oldest(table: Table[R], stream: Stream) -> int | None:
    """The first revision of *stream* that is still kept."""
    first = table.first(*where(account=stream.account, mode=stream.mode))
    return first.revision if first else None


def _before(table: Table[R], stream: Stream) -> int:
    """The revision before the beginning of what is kept."""
    head = table.head(*stream.key)  # asked first: what is added meanwhile is behind it
    return (oldest(table, stream) or head + 1) - 1


def _gone(table: Table[R], stream: Stream, revision: int) -> Exception:
    """Why *revision* is not there: what is pruned is pruned from the beginning."""
    name, first = table.collection.name, oldest(table, stream)
    where_ = f"{name} {stream.key!r}"
    if first is None or first > revision:
        kept = "nothing is kept any more" if first is None else f"what is kept begins at {first}"
        return NotFound(
            f"{where_}: revision {revision} was pruned; {kept}. Read on from there, and take what "
            "lies between from a backup or from the exchange"
        )
    return Corrupt(
        f"{where_}: revision {revision} is missing; it was removed outside quantkeep. Run "
        "`quantkeep verify`, and restore it from a backup",
        locator=f"{name}{(*stream.key, revision)!r}",
    )


def follow(
    table: Table[R], stream: Stream, after: int | None, poll: float, patience: float | None
) -> Iterator[R]:
    """Entries behind *after* as they are committed; ends after *patience* seconds of silence."""
    seen = _before(table, stream) if after is None else after
    quiet_since = time.monotonic()
    while True:
        for entry in entries(table, stream, seen, table.head(*stream.key)):
            seen += 1
            yield entry
            quiet_since = time.monotonic()
        if patience is not None and time.monotonic() - quiet_since >= patience:
            return
        time.sleep(poll)


def merged(logs: Iterable[Iterable[Record]]) -> Iterator[Record]:
    """Entries of several logs, each in its own order, as they were committed.

    Between logs there is no revision in common: the store's stamp decides, and within one commit
    the order of the logs. A clock that was set back never changes the order within a log.
    """
    return merge(*logs, key=_committed_at)


def _committed_at(entry: Record) -> datetime:
    assert entry.envelope is not None
    return entry.envelope.created_at
