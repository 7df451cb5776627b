"""Entries of logs on their way into a table: the hot loop of every bulk load."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from zlib import crc32

from quantkeep.collection import Key, SealedRow
from quantkeep.columns import Row
from quantkeep_backends.sqlite.prepared import Prepared
from quantkeep_backends.sqlite.rows import PACK_LOG
from quantkeep_backends.sqlite.streams import Stream


class Revisions:
    """The revisions given to entries, as runs: a million of one stream are one run."""

    def __init__(self) -> None:
        self._runs: list[range] = []

    def add(self, stream: Stream, head: int) -> None:
        """Those after the head of *stream*, up to *head*, which is its head now."""
        self._runs.append(range(stream.head + 1, head + 1))
        stream.head = head

    def given(self) -> Sequence[int]:
        """All of them, in order."""
        if len(self._runs) == 1:
            return self._runs[0]
        return [*itertools.chain.from_iterable(self._runs)]


def entries(
    prepared: Prepared,
    rows: Iterable[SealedRow],
    now: int,
    stream_at: Callable[[Key], Stream],
    revisions: Revisions,
) -> Iterator[tuple[Any, ...]]:
    """*rows* as they are inserted, each given its place; made one by one, held nowhere.

    The seal is that of :func:`~.rows.log_seal`, written out. The digest goes as a bytearray because
    the driver takes one as it is, and looks for adapters of bytes, which costs as much as the seal.
    """
    collection, bind = prepared.collection, prepared.codec.bind
    nullable = prepared.codec.nullable_reals
    part_of, version = prepared.stream_part, collection.schema_version
    part: Any = revisions  # which is no row's
    stream, place, first = Stream(0, "", 0), 0, 0
    for values, digest, stamp, _ in rows:
        here = part_of(values) if part_of else None
        if here != part:
            if first:
                revisions.add(stream, place - first)
            part, stream = here, stream_at(collection.stream_of(values))
            first = stream.first
            place = first + stream.head
        created = now if stamp is None else stamp
        place += 1
        seal = crc32(PACK_LOG(place, created, version), crc32(digest))
        # SQLite makes NULL of a NaN that is bound as it is, which columns that are required refuse
        total: float = sum(filter(None, nullable(values)))  # NaN if any is
        bound: Row = values if total == total else bind(values)
        yield (place,) + bound + (created, version, bytearray(digest), seal)  # noqa: RUF005  # faster
    if first:
        revisions.add(stream, place - first)
