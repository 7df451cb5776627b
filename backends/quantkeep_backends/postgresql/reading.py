"""Answers to queries and tallies: the SQL that fits, and rows in bounded memory.

What may be long is read through a cursor of the server's, inside a transaction: all of it is one
snapshot, whatever is committed meanwhile. A transaction that a reader left idle for too long is
ended by the server, so that it does not keep old versions of rows for ever.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from quantkeep.collection import StoredRow
from quantkeep.query import Condition, Query, Tally, Where
from quantkeep_backends._sql.conditions import Shape, Term, after, term
from quantkeep_backends._sql.queries import Asked, Ordering, select, tallying
from quantkeep_backends._sql.statements import Statement
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.prepared import Prepared

BATCH: Final = 2_000  # rows that are fetched at once, and held in memory
_PATIENCE: Final = 15  # minutes that a reader may pause
_MOST: Final = 2**62  # rows; a greater limit is none


class Reading:
    """Answers questions about one collection over one connection."""

    def __init__(self, link: Link, prepared: Prepared) -> None:
        self._link = link
        self._prepared = prepared
        self._collection = prepared.collection

    def rows(self, query: Query) -> Iterator[StoredRow]:
        """The rows that *query* asks for, in order; the first of them are there at once."""
        statement, values, turned = self._asked(query)
        if query.limit is not None and query.limit <= BATCH:
            found = self._link.run(statement.sql, statement.arranged(values)).fetchall()
            return map(self._prepared.codec.load, found[::-1] if turned else found)
        if query.limit is None:
            short = self._short(statement, values)
            if short is not None:
                return map(self._prepared.codec.load, short)
        return map(self._prepared.codec.load, self._streamed(statement, values))

    def _asked(self, query: Query) -> tuple[Statement, list[Any], bool]:
        """The statement, its values, and whether its rows come from the end."""
        collection, ordering = self._collection, query.ordering(self._collection)
        terms = [term(self._prepared.engine, collection, c) for c in query.where]
        cursor, more = self._cursor(query, ordering)
        if cursor is None:
            ordering = self._needed(ordering, query.where)
        values = [*_values(terms), *more]
        if query.limit is not None:
            values.append(str(min(query.limit, _MOST)))
        last = query.take == "last"
        turned = last and query.limit is not None and query.limit <= BATCH
        if turned:
            ordering = tuple((name, not down) for name, down in ordering)
        limited = query.limit is not None
        asked = Asked(_shapes(terms), ordering, cursor, limited, last and not turned)
        columns = self._prepared.columns
        statement = self._prepared.once(
            asked, lambda: select(self._prepared.layout, asked, columns)
        )
        return statement, values, turned

    def _needed(self, ordering: Ordering, conditions: Sequence[Condition]) -> Ordering:
        """The order without columns that are the same in all rows."""
        pinned = {c.column for c in conditions if isinstance(c, Where) and c.operator == "=="}
        needed = tuple(part for part in ordering if part[0] not in pinned)
        return needed or ordering

    def _cursor(self, query: Query, ordering: Ordering) -> tuple[Shape | None, tuple[Any, ...]]:
        if query.after is None:
            return None, ()
        return after(self._prepared.engine, self._collection, ordering, query.after)

    def _short(self, statement: Statement, values: list[Any]) -> list[Any] | None:
        """All rows, in one trip, if they are few: most answers are."""
        some = f"{statement.sql} LIMIT {BATCH + 1}"
        found = self._link.run(some, statement.arranged(values)).fetchall()
        return found if len(found) <= BATCH else None

    def _streamed(self, statement: Statement, values: list[Any]) -> Iterator[Any]:
        link = self._link
        with link.together():
            link.begin("READ ONLY")
            link.send(f"SET LOCAL idle_in_transaction_session_timeout = '{_PATIENCE}min'")
            declared = f"DECLARE quantkeep_scan NO SCROLL CURSOR FOR {statement.sql}"
            link.send(declared, statement.arranged(values))
            first = link.queue(_FETCH)
        rows = first.fetchall()
        return self._fetched(rows)

    def _fetched(self, rows: list[Any]) -> Iterator[Any]:
        while len(rows) == BATCH:
            yield from rows
            rows = self._link.run(_FETCH).fetchall()
        self._link.undo()  # nobody needs the snapshot any more
        yield from rows

    # -- tallies ---------------------------------------------------------------------------------

    def figures(self, tally: Tally) -> list[tuple[Any, ...]]:
        """The figures of each group, in no order; raises ``Inexact``."""
        prepared = self._prepared
        terms = [term(prepared.engine, self._collection, c) for c in tally.where]
        shapes = _shapes(terms)
        asked = (tally.by, tally.measures, shapes)
        how = prepared.once(asked, lambda: tallying(prepared.layout, tally, shapes, exact=False))
        rows = self._link.run(how.statement.sql, how.statement.arranged(_values(terms)))
        return [how.finished(row) for row in rows]


_FETCH: Final = f"FETCH {BATCH} FROM quantkeep_scan"


def _shapes(terms: Iterable[Term]) -> tuple[Shape, ...]:
    return tuple(each.shape for each in terms)


def _values(terms: Iterable[Term]) -> list[Any]:
    return [value for each in terms for value in each.values]
