"""Answers to queries: the SQL that fits, and rows one by one.

The entries of a log stand in the order of their ids, that is by stream and revision. A question for
a few streams in that order reads each stream's range of ids, one after the other: no sorting, no
index, and the same cost however large the log. Everything else is one SELECT.
"""

import enum
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from quantkeep.collection import Key, StoredRow
from quantkeep.columns import Scalar
from quantkeep.query import Condition, Query, cursor_key, sort_key
from quantkeep_backends._sql.conditions import Scope, Shape, Term, after, term
from quantkeep_backends._sql.engine import Expression
from quantkeep_backends._sql.queries import Asked, Ordering, count_some, select
from quantkeep_backends._sql.statements import Slots, Statement
from quantkeep_backends.sqlite import streams
from quantkeep_backends.sqlite.access import (
    Access,
    Bounds,
    by_place,
    is_of_stream,
    pinned,
    revision_bounds,
    usable,
)
from quantkeep_backends.sqlite.engine import REVISION_MASK
from quantkeep_backends.sqlite.prepared import Prepared
from quantkeep_backends.sqlite.streams import Stream
from quantkeep_backends.sqlite.system import first_place

_FEW_STREAMS = 256
_FEW_ROWS = 1000  # that may be held in memory, for a listing from the end
_PROBE = 20_000  # entries that an index may lead to before reading the whole stream is no dearer


class _Part(NamedTuple):
    """One stream's share of an answer."""

    stream: Key
    number: int
    bounds: Bounds


class _Way(enum.Enum):
    """How a statement gets at its rows: the condition on ids, the order by ids, a hint."""

    WHOLE = (None, "{id} & {mask}", None)
    PLACE = ("{id}", "{id}", "NOT INDEXED")
    NATURAL = ("{id}", "{id}", None)
    INDEX = ("+{id}", "+{id}", None)  # the sign keeps SQLite from reading the whole range of ids
    STREAM = (None, "{id}", None)

    def extra(self, scope: Scope, slots: Slots) -> list[Expression]:
        """That ids are in a range, whose ends are the next two values."""
        bounded = self.value[0]
        if bounded is None:
            return []
        place = self._place(scope, bounded)
        return [place > slots.next(), place <= slots.next()]

    def ordered(self, scope: Scope, name: str) -> Expression:
        """What to order by, for the column *name*."""
        own = name != "revision" or name in scope.layout.collection.places
        return scope.rank(name) if own else self._place(scope, self.value[1])

    @staticmethod
    def _place(scope: Scope, form: str) -> Expression:
        where = scope.layout.engine.dialect.identifier_preparer.quote(_name(scope.table))
        return sa.literal_column(form.format(id=f"{where}.id", mask=REVISION_MASK))


class Reading:
    """Answers questions about one collection over one connection."""

    def __init__(self, connection: sqlite3.Connection, prepared: Prepared) -> None:
        self._connection = connection
        self._prepared = prepared
        self._collection = prepared.collection
        self._running: sqlite3.Cursor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End what runs still, so that the connection's next question sees what is new by then."""
        if self._running is not None:
            self._running.close()

    def rows(self, query: Query) -> Iterator[StoredRow]:
        """The rows that *query* asks for, in order."""
        return map(self._prepared.codec.load, self._raw(query))

    def _raw(self, query: Query) -> Iterator[Any]:
        if not self._collection.log:
            return self._selected(query)
        down = by_place(query, self._collection)
        if down is not None:
            self._connection.execute("BEGIN")  # several statements are to see the same
        parts = None if down is None else self._parts(query, down=down)
        if parts is None or down is None:
            return self._selected(query)
        return self._through(query, parts, down=down)

    # -- one SELECT ------------------------------------------------------------------------------

    def _selected(self, query: Query) -> Iterator[Any]:
        collection, conditions = self._collection, query.where
        ordering, way = query.ordering(collection), _Way.WHOLE
        stream = pinned(query, collection) if collection.log else None
        if stream is not None:
            way = _Way.STREAM  # an index that begins with the stream's columns serves the order
        terms = self._terms(conditions)
        cursor, more = self._cursor(query, ordering)
        if stream is not None and cursor is None:
            ordering = tuple(part for part in ordering if part[0] not in collection.stream)
        limit, turned = query.limit, _is_turned(query)
        values = self._limited([*_values(terms), *more], limit)
        if turned and limit is not None and limit <= _FEW_ROWS:
            around = tuple((name, not down) for name, down in ordering)
            asked = Asked(_shapes(terms), around, cursor, limited=True)
            return iter([*self._run(asked, way, values)][::-1])  # sooner than SQLite sorts them
        asked = Asked(_shapes(terms), ordering, cursor, limit is not None, turned)
        return self._run(asked, way, values)

    def _cursor(self, query: Query, ordering: Ordering) -> tuple[Shape | None, tuple[Any, ...]]:
        if query.after is None:
            return None, ()
        return after(self._prepared.engine, self._collection, ordering, query.after)

    def _terms(self, conditions: Iterable[Condition]) -> list[Term]:
        return [term(self._prepared.engine, self._collection, c) for c in conditions]

    def _limited(self, values: list[Any], limit: int | None) -> list[Any]:
        return values if limit is None else [*values, min(limit, REVISION_MASK)]

    def _run(self, asked: Asked, way: _Way, values: Sequence[Any]) -> Iterator[Any]:
        statement = self._prepared.once((asked, way), lambda: self._compiled(asked, way))
        self._running = self._connection.execute(statement.sql, statement.arranged(values))
        return self._running

    def _compiled(self, asked: Asked, way: _Way) -> Statement:
        prepared = self._prepared
        log = prepared.collection.log
        return select(
            prepared.layout,
            asked,
            prepared.columns,
            ordered=way.ordered if log else None,
            extra=way.extra if log else None,
            hint=way.value[2] if log else None,
        )

    # -- streams, one after the other --------------------------------------------------------------

    def _parts(self, query: Query, *, down: bool) -> list[_Part] | None:
        """The streams that *query* asks of, in its order; ``None`` if they are too many."""
        candidates = self._candidates(query)
        if candidates is None:
            return None
        meant = [(key, s) for key, s in candidates if self._is_meant(key, query.where)]
        rank = sort_key(self._collection, [(name, False) for name in self._collection.stream])
        meant.sort(key=lambda found: rank(self._as_row(found[0])), reverse=down)
        bounds = Bounds()
        for condition in query.where:
            bounds = bounds.within(revision_bounds(condition) or bounds)
        parts = [_Part(key, stream.number, bounds) for key, stream in meant]
        return parts if query.after is None else [*self._behind(query, parts, down=down)]

    def _candidates(self, query: Query) -> list[tuple[Key, Stream]] | None:
        stream = pinned(query, self._collection)
        if stream is not None:
            found = streams.find(self._connection, self._collection, stream)
            return [(stream, found)] if found else []
        found_all = streams.all_of(self._connection, self._collection, _FEW_STREAMS + 1)
        return found_all if len(found_all) <= _FEW_STREAMS else None

    def _is_meant(self, stream: Key, conditions: Iterable[Condition]) -> bool:
        row = self._as_row(stream)
        return all(
            c.test(self._collection)(row) for c in conditions if is_of_stream(c, self._collection)
        )

    def _as_row(self, stream: Key, revision: int = 0) -> StoredRow:
        """A row of *stream* of which nothing else is known."""
        values: list[Any] = [None] * len(self._collection.columns)
        for name, value in zip(self._collection.stream, stream, strict=True):
            values[self._collection.places[name]] = value
        return StoredRow(tuple(values), revision, 0, 0, 0, b"")

    def _behind(self, query: Query, parts: list[_Part], *, down: bool) -> Iterator[_Part]:
        """What of *parts* is behind the cursor."""
        ordering, cursor = query.ordering(self._collection), query.after or ()
        key, start = sort_key(self._collection, ordering), self._start(ordering, cursor)
        first, last = (REVISION_MASK, 0) if down else (0, REVISION_MASK)
        at = next(v for (n, _), v in zip(ordering, cursor, strict=True) if n == "revision")
        assert isinstance(at, int)
        for part in parts:
            if key(self._as_row(part.stream, first)) > start:
                yield part
            elif key(self._as_row(part.stream, last)) > start:
                beside = key(self._as_row(part.stream, at)) > start
                edge = Bounds(high=at - 1 + beside) if down else Bounds(low=at - beside)
                yield part._replace(bounds=part.bounds.within(edge))

    def _start(self, ordering: Ordering, cursor: Sequence[Scalar]) -> tuple[Any, ...]:
        return cursor_key(self._collection, ordering, cursor)

    def _through(self, query: Query, parts: list[_Part], *, down: bool) -> Iterator[Any]:
        conditions = [c for c in query.where if revision_bounds(c) is None]
        if not _is_turned(query):
            return self._in_turn(parts, conditions, query.limit, down=down)
        found = [*self._in_turn(parts[::-1], conditions, query.limit, down=not down)]
        return iter(found[::-1])

    def _in_turn(
        self, parts: Iterable[_Part], conditions: list[Condition], limit: int | None, *, down: bool
    ) -> Iterator[Any]:
        access, helpful = usable(conditions, self._collection)
        implied = [c for c in conditions if is_of_stream(c, self._collection)]
        terms = self._terms(c for c in conditions if c not in implied or c in helpful)
        asked = Asked(_shapes(terms), (("revision", down),), None, limit is not None)
        way = self._way(access, helpful)
        for part in parts:
            values = [*_places(part.number, part.bounds), *_values(terms)]
            values = self._limited(values, limit)
            for raw in self._run(asked, way, values):
                yield raw
                if limit is not None:
                    limit -= 1
            if limit == 0:
                return

    def _way(self, access: Access, helpful: Sequence[Condition]) -> _Way:
        """Through an index only where it leads to few entries: see :data:`_PROBE`."""
        if access is Access.NATURAL:
            return _Way.NATURAL
        few = access is Access.INDEX and self._led_to(helpful) < _PROBE
        return _Way.INDEX if few else _Way.PLACE

    def _led_to(self, conditions: Sequence[Condition]) -> int:
        """How many entries meet *conditions*, counted no further than :data:`_PROBE`."""
        terms, prepared = self._terms(conditions), self._prepared
        shapes = _shapes(terms)
        statement = prepared.once(("probe", shapes), lambda: count_some(prepared.layout, shapes))
        values = statement.arranged([*_values(terms), _PROBE])
        count: int = self._connection.execute(statement.sql, values).fetchone()[0]
        return count


def _shapes(terms: Iterable[Term]) -> tuple[Shape, ...]:
    return tuple(each.shape for each in terms)


def _values(terms: Iterable[Term]) -> list[Any]:
    return [value for each in terms for value in each.values]


def _places(number: int, bounds: Bounds) -> tuple[int, int]:
    """The ids of a stream's entries: above the one, and up to the other."""
    first = first_place(number)
    low, high = (min(max(bound, 0), REVISION_MASK) for bound in bounds)
    return first + low, first + high


def _is_turned(query: Query) -> bool:
    return query.take == "last"


def _name(table: sa.FromClause) -> str:
    return str(getattr(table, "name", ""))
