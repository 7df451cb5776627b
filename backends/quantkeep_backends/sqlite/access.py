"""How to get at a log's entries: by their place, or through an index."""

import enum
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeGuard

from quantkeep.collection import Collection, Key
from quantkeep.query import Condition, Query, Where
from quantkeep_backends.sqlite.engine import REVISION_MASK

_RANGES: Final = ("<", "<=", ">", ">=", "prefix", "in")


class Access(enum.Enum):
    """Which way a statement goes."""

    PLACE = "the stream's range of ids"
    INDEX = "an index, and then the rows it leads to"
    NATURAL = "an index whose entries of equal value stand in the order of ids"


def is_of_stream(condition: Condition, collection: Collection) -> TypeGuard[Where]:
    """Whether *condition* speaks of the stream alone."""
    return isinstance(condition, Where) and condition.column in collection.stream


def pinned(query: Query, collection: Collection) -> Key | None:
    """The one stream that *query* asks of, if its conditions name it."""
    equal = {
        condition.column: condition.value
        for condition in query.where
        if isinstance(condition, Where) and condition.operator == "=="
    }
    if not equal.keys() >= set(collection.stream):
        return None
    return tuple(equal[name] for name in collection.stream)


def by_place(query: Query, collection: Collection) -> bool | None:
    """Whether the order asked for is that of ids: ``True`` if descending, ``None`` if it is not."""
    ordering = query.ordering(collection)
    if "revision" in collection.places:
        return None  # a column of the record's own has that name
    if pinned(query, collection) is not None:  # the stream's columns are equal in all entries
        name, down = next(part for part in ordering if part[0] not in collection.stream)
        return down if name == "revision" else None
    names, downs = [name for name, _ in ordering], {down for _, down in ordering}
    return downs.pop() if names == [*collection.stream, "revision"] and len(downs) == 1 else None


class Bounds(NamedTuple):
    """Revisions: above *low*, and up to *high*."""

    low: int = 0
    high: int = REVISION_MASK

    def within(self, other: "Bounds") -> "Bounds":
        """What is within both."""
        return Bounds(max(self.low, other.low), min(self.high, other.high))


def revision_bounds(condition: Condition) -> Bounds | None:
    """The revisions that *condition* allows, if it is about nothing else."""
    if not isinstance(condition, Where) or condition.column != "revision":
        return None
    value = condition.value
    if value is None or condition.operator not in ("==", "<", "<=", ">", ">="):
        return None
    return {
        "==": Bounds(value - 1, value),
        "<": Bounds(high=value - 1),
        "<=": Bounds(high=value),
        ">": Bounds(low=value),
        ">=": Bounds(low=value - 1),
    }[condition.operator]


def usable(conditions: Sequence[Condition], collection: Collection) -> tuple[Access, list[Where]]:
    """What helps most to find entries that meet *conditions*, and the conditions it needs."""
    equal = {c.column: c for c in _of(conditions, ("==",))}
    ranged = {c.column: c for c in _of(conditions, _RANGES)}
    best: list[Where] = []
    for index in collection.indexes:
        found = [*_prefix(index.columns, equal, ranged)]
        if all(is_of_stream(c, collection) for c in found):
            continue  # the range of ids says it already
        if len(found) == len(index.columns) and all(c.column in equal for c in found):
            return Access.NATURAL, found
        best = max(best, found, key=len)
    return (Access.INDEX, best) if best else (Access.PLACE, [])


def _of(conditions: Sequence[Condition], operators: Sequence[str]) -> Iterator[Where]:
    return (
        c
        for c in conditions
        if isinstance(c, Where) and c.operator in operators and c.value is not None
    )


def _prefix(
    columns: Sequence[str], equal: dict[str, Where], ranged: dict[str, Where]
) -> Iterator[Where]:
    """The conditions that an index on *columns* takes: equal ones, then ranges of one column."""
    for name in columns:
        if name not in equal:
            if name in ranged:
                yield ranged[name]
            return
        yield equal[name]
