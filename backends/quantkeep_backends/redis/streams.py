"""Reading one stream of a log: chunks and single entries, by revision."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from struct import unpack_from
from typing import Any, Final

import attrs

from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import Corrupt
from quantkeep.query import Condition
from quantkeep_backends.redis import chunks, statistics
from quantkeep_backends.redis.chunks import Chunk, Place
from quantkeep_backends.redis.entries import Reader
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link
from quantkeep_backends.redis.scripts import script
from quantkeep_backends.redis.shapes import Shape

TOPS: Final = 256  # revisions between notes of the greatest value so far
_PAGE: Final = 4_096  # single entries that are asked for together
_BYTES: Final = 8 * 2**20
_REMEMBERED: Final = 1_000  # streams whose chunks are known without asking
_CHUNKS: Final = 8  # chunks that are kept unpacked

Ask = Callable[..., list[Any]]  # runs a reading script; raises Regression


@attrs.frozen
class Packed:
    """The chunks of a stream at one moment, and which of their entries are gone."""

    epoch: str = ""
    places: tuple[Place, ...] = ()
    gone: frozenset[int] = frozenset()

    def over(self, low: int, high: int) -> list[Place]:
        """The chunks with revisions from *low* to *high*."""
        return [place for place in self.places if place.first <= high and place.last >= low]


@attrs.frozen
class Page:
    """Single entries of some revisions, and what else was true at that moment."""

    head: int
    epoch: str
    facts: dict[bytes, bytes]
    packed: Packed
    reached: int
    entries: list[bytes]

    @property
    def segments(self) -> list[int]:
        """The first revisions of large appends whose identities stand beside the others."""
        return [*map(int, self.facts.get(b"segments", b"").split())]

    @property
    def tops(self) -> list[bytes]:
        """The fields that say how great values are up to some revisions."""
        return [name for name in self.facts if name.startswith(b"top:")]

    def top(self, column: str, revision: int) -> bytes:
        """What no entry up to *revision* is greater than, as :mod:`ordering` encodes it."""
        for checked in range(-(-revision // TOPS) * TOPS, self.head + 1, TOPS):
            known = self.facts.get(f"top:{column}:{checked}".encode())
            if known is not None:
                return known
        return self.facts.get(f"max:{column}".encode(), b"")

    def below(self, column: str, least: bytes) -> int:
        """Up to this revision every value is known to be less than *least*."""
        beginning = f"top:{column}:".encode()
        noted = [name for name in self.tops if name.startswith(beginning)]
        revisions = [int(n[len(beginning) :]) for n in noted if self.facts[n] < least]
        return max(revisions, default=0)

    def late(self, column: str) -> int:
        """Behind this revision entries ascend in *column*, and stand behind all before."""
        return int(self.facts.get(f"late:{column}".encode(), 0))


class Cache:
    """What is known of streams and chunks from earlier reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._packed: OrderedDict[str, Packed] = OrderedDict()
        self._chunks: OrderedDict[str, Any] = OrderedDict()

    def packed(self, stream: str) -> Packed:
        with self._lock:
            return self._packed.get(stream, Packed())

    def note(self, stream: str, packed: Packed) -> None:
        with self._lock:
            self._packed[stream] = packed
            self._packed.move_to_end(stream)
            if len(self._packed) > _REMEMBERED:
                self._packed.popitem(last=False)

    def batch(self, key: str, read: Callable[[], Any]) -> Any:
        """The chunk at *key*, found whole once."""
        with self._lock:
            known = self._chunks.get(key)
        if known is None:
            known = read()
            with self._lock:
                self._chunks[key] = known
                if len(self._chunks) > _CHUNKS:
                    self._chunks.popitem(last=False)
        return known

    def forget(self) -> None:
        """Look at everything anew."""
        with self._lock:
            self._packed.clear()
            self._chunks.clear()


class Stream:
    """One stream, read in the columns of one collection."""

    def __init__(
        self, link: Link, names: Names, cache: Cache, ask: Ask, shape: Shape,
        collection: Collection, of: str, reader: Reader,
    ) -> None:  # fmt: skip
        self._link = link
        self._names = names
        self._cache = cache
        self._ask = ask
        self._shape = shape
        self.collection = collection
        self._of = of
        self._reader = reader
        self.name = f"{collection.name}:{of}"

    # -- what is there -----------------------------------------------------------------------------

    def page(
        self, low: int | str = "", high: int | str = "", many: int = 0, *, backwards: bool = False
    ) -> Page:
        """The stream's state, and single entries from *low* to *high*, at most *many* revisions."""
        known = self._cache.packed(self.name)
        answer = self._ask(
            script("entries"), self.collection.name, self._of, known.epoch,
            low, high, many, _BYTES, "1" if backwards else "",
        )  # fmt: skip
        head, epoch, facts, places, gone, reached, text = answer
        if places is not None:
            pairs = zip(places[::2], places[1::2], strict=True)
            ordered = sorted(chunks.place(*pair) for pair in pairs)
            known = Packed(epoch.decode(), tuple(ordered), frozenset(map(int, gone)))
            self._cache.note(self.name, known)
        return Page(
            int(head), epoch.decode(), dict(zip(facts[::2], facts[1::2], strict=True)), known,
            int(reached), [*_entries(text)],
        )  # fmt: skip

    def rows(self, page: Page) -> list[StoredRow]:
        """The rows of a page's single entries; raises ``Corrupt`` if one is in another's place."""
        rows = [*map(self._reader, page.entries)]
        for one, other in pairwise(rows):
            if one.revision >= other.revision:
                raise self.misplaced(one.revision)
        return rows

    def misplaced(self, revision: int) -> Corrupt:
        """An entry is not where it belongs."""
        return Corrupt(
            f"{self.name}: the entry of revision {revision} is not in its place; it was moved "
            "outside quantkeep: run `quantkeep verify`, and restore it from a backup",
            locator=f"{self.name} {revision}",
        )

    # -- by revision -------------------------------------------------------------------------------

    def ascending(
        self, low: int, high: int, where: Sequence[Condition], packed: Packed
    ) -> Iterator[list[StoredRow]]:
        """Rows of revisions *low* to *high* that may meet *where*.

        They do meet what of it Arrow compares as queries do (:func:`chunks.is_exact`).
        """
        while low <= high:
            found = packed.over(low, high)
            if found and found[0].first <= low:
                rows = self._chunk(found[0], packed, low, high, where)
                if rows is None:
                    packed = self.page().packed
                    continue
                yield rows
                low = found[0].last + 1
                continue
            upto = found[0].first - 1 if found else high
            page = self.page(low, upto, _PAGE)
            packed = page.packed
            if packed.over(low, page.reached):
                continue  # packed meanwhile
            yield self._meeting(where, self.rows(page))
            low = page.reached + 1

    def descending(
        self, low: int, high: int, where: Sequence[Condition], packed: Packed, many: int = _PAGE,
        first: Page | None = None,
    ) -> Iterator[list[StoredRow]]:  # fmt: skip
        """As :meth:`ascending`, from the end; the *first* page may be there already."""
        while low <= high:
            found = packed.over(low, high)
            if found and found[-1].last >= high:
                least = max(low, found[-1].first, high - many + 1)
                rows = self._chunk(found[-1], packed, least, high, where)
                if rows is None:
                    packed = self.page().packed
                    continue
                yield rows[::-1]
                high, many = least - 1, min(many * 4, _PAGE)
                continue
            after = found[-1].last + 1 if found else low
            page = first or self.page(after, high, many, backwards=True)
            first, packed, many = None, page.packed, min(many * 4, _PAGE)
            reached = max(page.reached, after)
            if packed.over(reached, high):
                continue
            rows = [row for row in self.rows(page)[::-1] if after <= row.revision <= high]
            yield self._meeting(where, rows)
            high = reached - 1

    def _meeting(self, where: Sequence[Condition], rows: list[StoredRow]) -> list[StoredRow]:
        """Of single entries, what chunks give of theirs."""
        tests = [c.test(self.collection) for c in where if chunks.is_exact(c, self.collection)]
        return [row for row in rows if all(test(row) for test in tests)] if tests else rows

    # -- chunks ------------------------------------------------------------------------------------

    def _chunk(
        self, place: Place, packed: Packed, low: int, high: int, where: Sequence[Condition]
    ) -> list[StoredRow] | None:
        """The rows of a chunk; ``None`` if it was pruned or joined with others meanwhile."""
        if not self.may_hold(place, where):
            return []
        chunk = self.chunk(place, packed)
        return None if chunk is None else chunk.rows(self.collection, low, high, where)

    def may_hold(self, place: Place, where: Sequence[Condition]) -> bool:
        """Whether the chunk may have rows that meet *where*."""
        return not where or statistics.may_hold(self.collection, self.summary(place), where)

    @staticmethod
    def summary(place: Place) -> dict[str, statistics.Summary]:
        """The statistics of a chunk."""
        return statistics.recalled(place.info)

    def chunk(self, place: Place, packed: Packed) -> Chunk | None:
        """The chunk that stands at *place*; ``None`` if it was pruned or joined meanwhile."""
        key = self._names.of("chunk", self.name, str(place.first))
        try:
            batch = self._cache.batch(f"{key}-{place.last}", lambda: self._read(key, place))
        except Corrupt:
            if (place.first, place.last) in {p[:2] for p in self.page().packed.places}:
                raise
            return None
        return Chunk(self._shape, place, batch, packed.gone)

    def _read(self, key: str, place: Place) -> Any:
        return chunks.read(self._link.ask("GET", key), self.collection.name, place)


@attrs.frozen
class Start:
    """A stream as the reader found it: what comes behind *head* is not for it.

    Attributes:
        page: its state, if it is known.
        newest: its newest single entries, if they were read.
    """

    key: Key
    stream: Stream
    head: int
    page: Page | None = None
    newest: Page | None = None


def _entries(text: bytes) -> Iterator[bytes]:
    at, end = 0, len(text)
    while at < end:
        (size,) = unpack_from(">I", text, at)
        yield text[at + 4 : at + 4 + size]
        at += 4 + size
