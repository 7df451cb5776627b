"""Answering queries over a log: its streams in the order asked for, no more of them than needed."""

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from typing import Final

import attrs

from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.query import Condition, Query, Where, cursor_key, sort_key
from quantkeep_backends.redis import chunks
from quantkeep_backends.redis.shapes import Shape
from quantkeep_backends.redis.streams import Packed, Start
from quantkeep_backends.redis.timely import Timely

Rows = Iterator[StoredRow]
Others = Callable[[Collection], Rows]
_FIRST: Final = 256  # revisions that a listing of the newest looks at to begin with


class Plan:
    """How one query goes through a log's streams.

    Attributes:
        key: what the rows asked for are sorted by.
        last: they are gone through from their end.
        backwards: so are revisions.
    """

    def __init__(self, shape: Shape, collection: Collection, query: Query) -> None:
        self.collection = collection
        self.query = query
        self._shape = shape
        self._ordering = query.ordering(collection)
        self.key = sort_key(collection, self._ordering)
        equal = {c.column for c in query.where if isinstance(c, Where) and c.operator == "=="}
        fixed = equal & set(collection.stream)
        asked = [(name, down) for name, down in self._ordering if name not in fixed]
        downs = {down for _, down in asked}
        self._plain = len(downs) == 1
        self._down = downs == {True}
        self.last = query.take == "last"
        self._names = [name for name, _ in asked]
        self._natural = [name for name in collection.key_columns if name not in fixed]
        self._streamed = collection.stream
        self.backwards = self._down != self.last

    @property
    def column(self) -> str | None:
        """The timely column that the order begins with."""
        timely = {name for name, _, _ in self._shape.timely}
        first = self._names[0] if self._names else ""
        if self._plain and first in timely and self._ties(self._names[1:]):
            return first
        return None

    def _ties(self, names: Sequence[str]) -> bool:
        return [*names] == self._natural

    @property
    def by_revision(self) -> bool:
        """Whether a stream's own order is the one asked for, within it."""
        rest = [name for name in self._natural if name != "revision"]
        return self._plain and (self._ties(self._names) or self._names == ["revision", *rest])

    @property
    def chained(self) -> bool:
        """Whether one stream follows the other."""
        return self._ties(self._names)

    def answer(self, starts: Sequence[Start], others: Others) -> Rows:
        """The rows asked for."""
        query, collection = self.query, self.collection
        where = self.where
        if not self.by_revision and self.column is None:
            every = chain.from_iterable(
                chain.from_iterable(s.stream.ascending(*self.revisions(s), where, Packed()))
                for s in starts
            )
            return query.run(collection, every, others)
        rest = tuple(c for c in query.where if not chunks.is_exact(c, collection))
        tests = attrs.evolve(query, where=rest).tests(collection, others)
        rows = self._ordered(starts, where)
        if tests:
            rows = (row for row in rows if all(test(row) for test in tests))
        if query.after is not None:
            start = cursor_key(collection, self._ordering, query.after)
            rows = (row for row in rows if self.key(row) > start)
        found = islice(rows, query.limit)
        return reversed([*found]) if self.last else found

    @property
    def where(self) -> list[Condition]:
        """What rows must meet, the cursor included."""
        after, column = self.query.after, self.column
        where = [*self.query.where]
        if column is None or after is None or after[0] is None or self._ordering[0][0] != column:
            return where
        if not self._down:
            where.append(Where(column, ">=", after[0]))
        elif not self.collection.column(column).nullable:  # nulls would come behind it
            where.append(Where(column, "<=", after[0]))
        return where

    def _ordered(self, starts: Sequence[Start], where: Sequence[Condition]) -> Rows:
        streams = [self._of_stream(start, where) for start in starts]
        if len(streams) == 1:
            return streams[0]
        if self.chained:
            return chain.from_iterable(
                self._of_stream(start, where) for start in self.in_order(starts)
            )
        return merge(*streams, key=self.key, reverse=self.last)

    def in_order(self, starts: Sequence[Start]) -> list[Start]:
        """Streams in the order in which they follow each other."""
        names = [(name, down) for name, down in self._ordering if name != "revision"]
        key = sort_key(self.collection, names)
        return sorted(
            starts, key=lambda start: key(_probe(self.collection, start.key)), reverse=self.last
        )

    def _of_stream(self, start: Start, where: Sequence[Condition]) -> Rows:
        low, high = self.revisions(start)
        if self.column is None:
            return chain.from_iterable(self.pages(start, low, high, where))
        return Timely(self, start, self.column, where).rows()

    def pages(
        self, start: Start, low: int, high: int, where: Sequence[Condition]
    ) -> Iterator[list[StoredRow]]:
        """The rows of a stream's revisions *low* to *high*, the way this plan goes."""
        packed = start.page.packed if start.page else Packed()
        if not self.backwards:
            return start.stream.ascending(low, high, where, packed)
        first = start.newest if high == start.head else None
        return start.stream.descending(low, high, where, packed, self.many, first)

    @property
    def many(self) -> int:
        """Single entries worth looking at first."""
        return min(self.query.limit or 4 * _FIRST, 16 * _FIRST)

    def revisions(self, start: Start) -> tuple[int, int]:
        """The revisions that conditions and the cursor leave."""
        low, high = 1, start.head
        for condition in self.query.where:
            if isinstance(condition, Where) and condition.column == "revision":
                low, high = _narrowed(condition, low, high)
        seen = self._seen_of(start.key)
        if seen is not None:
            low, high = (low, min(high, seen - 1)) if self._down else (max(low, seen + 1), high)
        return low, high

    def _seen_of(self, stream: Key) -> int | None:
        """The revision that the cursor stands at, if it stands in this *stream*."""
        after, names = self.query.after, [name for name, _ in self._ordering]
        if after is None or not self.by_revision or len(self._natural) > 1:
            return None
        at = dict(zip(names, after, strict=True))
        seen = at["revision"]
        here = all(at[name] == part for name, part in zip(self._streamed, stream, strict=True))
        return seen if here and isinstance(seen, int) else None


def _narrowed(condition: Where, low: int, high: int) -> tuple[int, int]:
    value = condition.value
    if value is None:  # no revision is null
        return (low, high) if condition.operator == "!=" else (1, 0)
    if condition.operator in (">", ">=", "=="):
        low = max(low, value + (condition.operator == ">"))
    if condition.operator in ("<", "<=", "=="):
        high = min(high, value - (condition.operator == "<"))
    return low, high


def _probe(collection: Collection, key: Key) -> StoredRow:
    """A row of that stream and nothing else, to sort streams by."""
    known = dict(zip(collection.stream, key, strict=True))
    return StoredRow(tuple(known.get(name) for name in collection.names), 0, 0, 0, 0, b"")


def wanted(collection: Collection, query: Query, key: Key) -> bool:
    """Whether a stream may have rows that *query* asks for."""
    probe = _probe(collection, key)
    return all(
        condition.test(collection)(probe)
        for condition in query.where
        if isinstance(condition, Where) and condition.column in collection.stream
    )


def pinned(collection: Collection, query: Query) -> Key | None:
    """The one stream that *query* is about, if it says so."""
    equal = {c.column: c.value for c in query.where if isinstance(c, Where) and c.operator == "=="}
    if not equal.keys() >= set(collection.stream):
        return None
    return tuple(equal[name] for name in collection.stream)
