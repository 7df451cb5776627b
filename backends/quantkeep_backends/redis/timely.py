"""One stream in the order of a column that its entries usually ascend in, such as their time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import chain, count
from typing import Any, Final, Protocol

from quantkeep.collection import Collection, StoredRow
from quantkeep.query import Condition, Where, column_of, value_of
from quantkeep_backends.redis import ordering
from quantkeep_backends.redis.chunks import Chunk, Place
from quantkeep_backends.redis.streams import TOPS, Packed, Page, Start

Rows = Iterator[StoredRow]
_Part = tuple[bytes, Callable[[int, int], Rows]]
_FIRST: Final = 256  # rows of a chunk that are looked at to begin with


class Way(Protocol):
    """What is needed of a plan."""

    collection: Collection
    key: Callable[[StoredRow], Any]
    last: bool
    backwards: bool

    def pages(
        self, start: Start, low: int, high: int, where: Sequence[Condition]
    ) -> Iterator[list[StoredRow]]:
        """Rows by revision."""
        ...

    def revisions(self, start: Start) -> tuple[int, int]:
        """The first and last that may be asked for."""
        ...


class Timely:
    """The rows of a stream that may meet *where*, in the order of *column*.

    Behind the last entry that came late, revisions are that order. Before it, chunks are taken in
    the order of their beginnings, and a row is given as soon as no other can come before it.
    """

    def __init__(self, way: Way, start: Start, column: str, where: Sequence[Condition]) -> None:
        self._way = way
        self._collection = way.collection
        self._start = start
        self._stream = start.stream
        self._page: Page = start.page or start.stream.page()
        self._column = column
        self._where = where
        self._kind = column_of(way.collection, column).kind
        self._take = value_of(way.collection, column)
        self._numbers = count()

    def rows(self) -> Rows:
        """All of them."""
        late = min(self._page.late(self._column), self._start.head)
        low, high = self._way.revisions(self._start)
        low = max(low, self._page.below(self._column, self._least()) + 1)
        pages = self._way.pages(self._start, max(low, late + 1), high, self._where)
        tail = _until(chain.from_iterable(pages), self._over())
        mixed = self._mixed(low, min(high, late)) if late >= low else iter(())
        return chain(tail, mixed) if self._way.backwards else chain(mixed, tail)

    def _least(self) -> bytes:
        """What no row that meets the conditions is less than."""
        bounds = [
            ordering.encoded(self._kind, c.value)
            for c in self._where
            if isinstance(c, Where) and c.column == self._column and c.operator in (">", ">=", "==")
        ]
        return max(bounds, default=b"")

    def _over(self) -> Callable[[StoredRow], bool]:
        """Whether nothing behind a row can meet the conditions."""
        backwards, take = self._way.backwards, self._take
        wanted = (">", ">=", "==") if backwards else ("<", "<=", "==")
        bounds = [
            c.value
            for c in self._where
            if isinstance(c, Where) and c.column == self._column and c.operator in wanted
            and c.value is not None
        ]  # fmt: skip
        if not bounds:
            return lambda row: False
        bound = max(bounds) if backwards else min(bounds)

        def over(row: StoredRow) -> bool:
            value: Any = take(row)
            return value is not None and bool(value < bound if backwards else value > bound)

        return over

    # -- where the order is mixed ------------------------------------------------------------------

    def _mixed(self, low: int, high: int) -> Rows:
        waiting = self._waiting(low, high)
        heap: list[tuple[Any, int, StoredRow, Rows]] = []
        while heap or waiting:
            if not waiting or (heap and self._before(heap[0][2], waiting[0][0])):
                _, _, row, rows = heappop(heap)
                yield row
                self._enter(heap, rows)
            else:
                self._enter(heap, waiting.popleft()[1](low, high))

    def _enter(self, heap: list[tuple[Any, int, StoredRow, Rows]], rows: Rows) -> None:
        """Let the next of *rows* take part."""
        row = next(rows, None)
        if row is not None:
            heappush(heap, (self._turned(row), next(self._numbers), row, rows))

    def _waiting(self, low: int, high: int) -> deque[_Part]:
        """What may have rows to give, each part behind the bound of what is in it."""
        stream, over = self._stream, self._page.packed.over(low, high)
        found: list[_Part] = [
            (self._bound(place), partial(self._of_chunk, place))
            for place in over
            if stream.may_hold(place, self._where)
        ]
        for first, last in self._single(low, high):
            bound = self._page.top(self._column, last) if self._way.backwards else b""
            found.append((bound, partial(self._of_tail, first, last)))
        return deque(sorted(found, key=lambda part: part[0], reverse=self._way.backwards))

    def _bound(self, place: Place) -> bytes:
        """What no row of the chunk comes before."""
        summary = self._stream.summary(place).get(self._column)
        if summary is None:
            return b"\xff" if self._way.backwards else b""
        least, most, nulls, _ = summary
        if self._way.backwards:
            return most or ordering.NULL
        return ordering.NULL if nulls or least is None else least

    def _before(self, row: StoredRow, bound: bytes) -> bool:
        encoded = ordering.encoded(self._kind, self._take(row))
        return encoded > bound if self._way.backwards else encoded < bound

    def _turned(self, row: StoredRow) -> Any:
        """What sorts rows in the order in which they are gone through."""
        return _Turned(self._way.key(row)) if self._way.last else self._way.key(row)

    def _of_chunk(self, place: Place, low: int, high: int) -> Rows:
        """A chunk's rows in order; few at a time, if they stand in it that way."""
        chunk = self._stream.chunk(place, self._page.packed)
        if chunk is None:
            yield from self._of_tail(place.first, place.last, low, high)
            return
        low, high = max(low, place.first), min(high, place.last)
        if not chunk.ascends(self._column):
            yield from sorted(self._rows(chunk, low, high), key=self._turned)
            return
        many = _FIRST
        while low <= high:
            if self._way.backwards:
                least = max(low, high - many + 1)
                yield from self._rows(chunk, least, high)[::-1]
                high = least - 1
            else:
                most = min(high, low + many - 1)
                yield from self._rows(chunk, low, most)
                low = most + 1
            many *= 4

    def _rows(self, chunk: Chunk, low: int, high: int) -> list[StoredRow]:
        return chunk.rows(self._collection, low, high, self._where)

    def _of_tail(self, first: int, last: int, low: int, high: int) -> Rows:
        """Entries that stand alone, or did when we looked."""
        found = self._stream.ascending(max(first, low), min(last, high), self._where, Packed())
        yield from sorted(chain.from_iterable(found), key=self._turned)

    def _single(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The revisions outside chunks, in pieces whose greatest value is known."""
        at = low
        for place in [*self._page.packed.over(low, high), None]:
            upto = high if place is None else place.first - 1
            while at <= upto:
                last = min(upto, -(-at // TOPS) * TOPS)
                yield at, last
                at = last + 1
            at = max(at, high + 1 if place is None else place.last + 1)


class _Turned:
    """Turns an order around."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: "_Turned") -> bool:
        return bool(other.key < self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Turned) and bool(self.key == other.key)

    __hash__ = None  # type: ignore[assignment]  # nobody looks one up


def _until(rows: Rows, over: Callable[[StoredRow], bool]) -> Rows:
    for row in rows:
        if over(row):
            return
        yield row
