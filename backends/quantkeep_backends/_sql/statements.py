"""Compiled statements: SQL text for the driver, made once for each shape of a question."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa


class Statement(NamedTuple):
    """SQL for the driver, and what puts values into the order in which it takes them."""

    sql: str
    arranged: Callable[[Sequence[Any]], Sequence[Any]]


class Slots:
    """Parameters in the order of the values that will fill them."""

    def __init__(self) -> None:
        self._count = 0

    def next(self) -> sa.BindParameter[Any]:
        """The place of the next value."""
        self._count += 1
        # a name that no column can have, so that SQLAlchemy does not take it for one's value
        return sa.bindparam(f"_{self._count - 1}", type_=sa.types.NullType())

    def take(self, count: int) -> list[sa.BindParameter[Any]]:
        """The places of the next *count* values."""
        return [self.next() for _ in range(count)]


def compiled(element: sa.ClauseElement, dialect: sa.Dialect) -> Statement:
    """Compile what was built with :class:`Slots` for the driver of *dialect*."""
    made = element.compile(dialect=dialect)
    names: Sequence[str] = getattr(made, "positiontup", None) or ()
    constants = [made.params[name] for name in names if not _is_slot(name)]
    places = [int(name[1:]) for name in names if _is_slot(name)]
    return Statement(str(made), _arrangement(names, places, constants))


def AS_THEY_ARE(values: Sequence[Any]) -> Sequence[Any]:  # noqa: N802  # a constant
    """The arrangement of values that are in order."""
    return values


def _is_slot(name: str) -> bool:
    return name[:1] == "_" and name[1:].isdecimal()


def _arrangement(
    names: Sequence[str], places: list[int], constants: list[Any]
) -> Callable[[Sequence[Any]], Sequence[Any]]:
    if places == [*range(len(names))]:
        return AS_THEY_ARE
    if not constants and len(places) > 1:
        return itemgetter(*places)
    spare = iter(constants)
    plan = [(int(n[1:]), None) if _is_slot(n) else (-1, next(spare)) for n in names]
    return lambda values: [constant if p < 0 else values[p] for p, constant in plan]
