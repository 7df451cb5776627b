"""Single entries of a log become chunks when there are many: smaller, and quicker to scan.

And identities that large appends left in segments of their own join those of their stream.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from quantkeep.errors import QuantkeepError
from quantkeep_backends.redis import chunks, statistics
from quantkeep_backends.redis.catalogue import Catalogue
from quantkeep_backends.redis.keys import Names, taken_apart
from quantkeep_backends.redis.link import Link, Lost
from quantkeep_backends.redis.reading import Reading
from quantkeep_backends.redis.scripts import script
from quantkeep_backends.redis.steps import step
from quantkeep_backends.redis.streams import Page, Stream

_ROWS: Final = 2_048  # of a chunk; as many stay single, for listings of the newest
_LEAST: Final = 256
_SEGMENTS: Final = 8  # that every append looks into
_IDENTITIES: Final = 500  # that one script moves


class Sealing:
    """Seals the streams of one keep."""

    def __init__(self, link: Link, names: Names, catalogue: Catalogue, reading: Reading) -> None:
        self._link = link
        self._names = names
        self._catalogue = catalogue
        self._reading = reading

    def relieve(self, name: str) -> None:
        """Pack the oldest single entries of a stream; what hinders it is tried again later."""
        with suppress(QuantkeepError, Lost):
            stream = self._stream(name)
            self.seal(stream, most=1)
            self.fold(stream, _SEGMENTS)

    def seal(self, stream: Stream, most: int | None = None) -> int:
        """Pack runs of single entries, oldest first; how many chunks that made."""
        made = 0
        for low, high in _gaps(stream.page()):
            at = low
            while at <= high and made != most:
                page = stream.page(at, high, _ROWS)
                if len(page.entries) >= _LEAST and self._sealed(stream, page):
                    made += 1
                at = page.reached + 1
        return made

    def fold(self, stream: Stream, most: int = 0) -> None:
        """Move the identities of the oldest segments, until at most so many are left."""
        segments = stream.page().segments
        for first in segments[: max(len(segments) - most, 0)]:
            self._folded(stream, first)

    def _folded(self, stream: Stream, first: int) -> None:
        cursor = b"0"
        while True:
            step("redis.seal.send", self._link)
            (cursor,) = script("fold").run(
                self._link, self._names.meta, stream.name, first, cursor, _IDENTITIES
            )[0]
            if cursor == b"0":
                return

    def _stream(self, name: str) -> Stream:
        collection, _, of = name.partition(":")
        shape = self._catalogue.shape(collection)
        key = taken_apart(shape.stream_columns, of)
        return self._reading.stream(shape, shape.collection, key)

    def _sealed(self, stream: Stream, page: Page) -> bool:
        rows = stream.rows(page)
        collection = stream.collection
        for row in rows:
            collection.verify(row)
        batch = chunks.of_stored(collection, rows)
        first, last = rows[0].revision, rows[-1].revision
        gaps = sorted({*range(first, last + 1)} - {row.revision for row in rows})
        tops = [name for name in page.tops if first <= int(name.rpartition(b":")[2]) <= last]
        step("redis.seal.send", self._link)
        answer = script("seal").run(
            self._link, self._names.meta, stream.name, first, last, len(rows), page.epoch,
            statistics.summed_up(collection, batch), chunks.packed(batch), len(gaps), *gaps,
            len(tops), *tops,
        )[0]  # fmt: skip
        return bool(answer == b"ok")


def _gaps(page: Page) -> Iterator[tuple[int, int]]:
    """The revisions between chunks."""
    low = 1
    for place in page.packed.places:
        if low < place.first:
            yield low, place.first - 1
        low = place.last + 1
    if low <= page.head:
        yield low, page.head
