"""Query: which rows of one collection, in which order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from heapq import nlargest, nsmallest
from typing import Literal

import attrs

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Kind, Scalar
from quantkeep.errors import InvalidQuery
from quantkeep.query._columns import column_of, value_of
from quantkeep.query._conditions import Condition, Rows, Where, test_of
from quantkeep.query._ordering import cursor_key, sort_key


@attrs.frozen(kw_only=True)
class Query:
    """Which rows of one collection, in which order; see :mod:`quantkeep.query`."""

    where: tuple[Condition, ...] = ()
    order: tuple[str, ...] = ()
    limit: int | None = None
    take: Literal["first", "last"] = "first"
    after: tuple[Scalar, ...] | None = None

    def bound(self, collection: Collection) -> "Query":
        """This query checked against *collection*, with canonical values.

        Raises:
            InvalidQuery: a column, operator, limit or cursor that is not the collection's.
        """
        if self.limit is not None and (type(self.limit) is not int or self.limit < 0):
            raise InvalidQuery(f"limit {self.limit!r}: expected a count of rows, or None")
        if self.take == "last" and self.limit is None:
            raise InvalidQuery('take="last" needs a limit')
        ordering = self.ordering(collection)
        _check_order(collection, ordering)
        if self.after is not None and len(self.after) != len(ordering):
            raise InvalidQuery("the cursor is not of this query: its order differs")
        where = tuple([c.bound(collection) for c in self.where])
        return Query(
            where=where, order=self.order, limit=self.limit, take=self.take, after=self.after
        )

    def ordering(self, collection: Collection) -> tuple[tuple[str, bool], ...]:
        """The whole order: (column, descending), tie-break included."""
        return _ordering(tuple(self.order), collection.key_columns)

    def cursor(self, collection: Collection, stored: StoredRow) -> tuple[Scalar, ...]:
        """The cursor that stands at *stored*."""
        return tuple(value_of(collection, name)(stored) for name, _ in self.ordering(collection))

    def tests(
        self, collection: Collection, others: Rows | None = None
    ) -> list[Callable[[StoredRow], bool]]:
        """What a row must pass to be one of those this (bound) query is about."""
        return [test_of(condition, collection, others) for condition in self.where]

    def run(
        self, collection: Collection, rows: Iterable[StoredRow], others: Rows | None = None
    ) -> Iterator[StoredRow]:
        """Answer this (bound) query over *rows*. The meaning every engine must match."""
        key = sort_key(collection, self._telling_order(collection))
        found = iter(rows)
        for test in self.tests(collection, others):
            found = filter(test, found)
        if self.after is not None:
            found = filter(self._is_behind(self.after, collection), found)
        if self.limit is None:
            return iter(sorted(found, key=key))
        if self.take == "last":
            return iter(sorted(nlargest(self.limit, found, key=key), key=key))
        return iter(nsmallest(self.limit, found, key=key))

    def _telling_order(self, collection: Collection) -> list[tuple[str, bool]]:
        """The order without columns in which all rows are the same."""
        same = {c.column for c in self.where if isinstance(c, Where) and c.operator == "=="}
        return [part for part in self.ordering(collection) if part[0] not in same]

    def _is_behind(
        self, cursor: Sequence[Scalar], collection: Collection
    ) -> Callable[[StoredRow], bool]:
        ordering = self.ordering(collection)
        key, start = sort_key(collection, ordering), cursor_key(collection, ordering, cursor)
        return lambda stored: key(stored) > start


@lru_cache(maxsize=1024)
def _ordering(order: tuple[str, ...], ties: tuple[str, ...]) -> tuple[tuple[str, bool], ...]:
    given = [(name.removeprefix("-"), name.startswith("-")) for name in order]
    named = {name for name, _ in given}
    direction = given[-1][1] if given else False
    return (*given, *((name, direction) for name in ties if name not in named))


@lru_cache(maxsize=1024)
def _check_order(collection: Collection, ordering: tuple[tuple[str, bool], ...]) -> None:
    """Raises :class:`InvalidQuery`; what is in order once is not looked at again."""
    for name, _ in ordering:
        if column_of(collection, name).kind in (Kind.DOCUMENT, Kind.BINARY):
            raise InvalidQuery(f"{collection.name} cannot be ordered by {name!r}")
