"""Conditions on rows: Where and Exists."""

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal

import attrs

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Column, Kind, Scalar
from quantkeep.errors import InvalidQuery
from quantkeep.query._columns import ODD, column_of, comparable, nullable, value_of

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "prefix", "contains"]
_OPERATORS: Final = ("==", "!=", "<", "<=", ">", ">=", "in", "prefix", "contains")

Rows = Callable[[Collection], Iterable[StoredRow]]


@attrs.frozen
class Where:
    """*column* *operator* *value*; the value is a Python value of the column's type."""

    column: str
    operator: Operator
    value: Any

    def bound(self, collection: Collection) -> "Where":
        """This condition with its value made canonical; raises InvalidQuery or InvalidValue."""
        column = column_of(collection, self.column)
        if self.operator not in _OPERATORS:
            raise InvalidQuery(f"{self.operator!r} is no operator: use {', '.join(_OPERATORS)}")
        return Where(self.column, self.operator, self._canonical(column, collection))

    def _canonical(self, column: Column, collection: Collection) -> Any:
        if self.operator == "contains":
            return self._element(column, collection)
        if self.operator == "prefix" and column.kind is not Kind.TEXT:
            raise InvalidQuery(f"{collection.name}.{column.name} is not text: it has no prefix")
        equal = self.operator in ("==", "!=", "in")
        # others may have stored further choices
        lenient = column.asked if equal and not column.extensible else column.compared
        if self.operator == "in":
            return tuple(_comparable_to(lenient, v, collection.name) for v in self.value)
        if self.value is None and self.operator not in ("==", "!="):
            raise InvalidQuery(f"{column.name} {self.operator} None is never true; use == or !=")
        return _comparable_to(lenient, self.value, collection.name)

    def _element(self, column: Column, collection: Collection) -> Scalar:
        if column.kind is not Kind.DOCUMENT:
            raise InvalidQuery(
                f"{collection.name}.{column.name} is no document: it has no elements"
            )
        if type(self.value) not in (str, int, bool):
            raise InvalidQuery(f"{column.name} contains {self.value!r}: ask for text or an integer")
        element: Scalar = self.value
        return element

    def test(self, collection: Collection) -> Callable[[StoredRow], bool]:
        """Whether a stored row meets this (bound) condition."""
        take = value_of(collection, self.column)
        kind = column_of(collection, self.column).kind
        holds = _holds(self.operator, self.value, kind)
        return lambda stored: holds(take(stored))


@attrs.frozen
class Exists:
    """There is (or, with *negate*, there is not) a row of *collection* that belongs to this one.

    It belongs if each of its columns named in *on* equals this row's column, and *where* holds.
    """

    collection: Collection
    on: tuple[tuple[str, str], ...]  # (column there, column here)
    where: tuple[Where, ...] = ()
    negate: bool = False

    def bound(self, collection: Collection) -> "Exists":
        """With its conditions made canonical."""
        for there, here in self.on:
            column_of(self.collection, there)
            column_of(collection, here)
        return attrs.evolve(self, where=tuple(w.bound(self.collection) for w in self.where))

    def test(self, collection: Collection, rows: Rows) -> Callable[[StoredRow], bool]:
        """Whether a stored row meets this (bound) condition, given other collections' rows."""
        there = [value_of(self.collection, name) for name, _ in self.on]
        here = [value_of(collection, name) for _, name in self.on]
        tests = [w.test(self.collection) for w in self.where]
        found = {
            tuple(take(row) for take in there)
            for row in rows(self.collection)
            if all(test(row) for test in tests)
        }
        return lambda stored: (tuple(take(stored) for take in here) in found) != self.negate


Condition = Where | Exists


def where(**conditions: Any) -> tuple[Where, ...]:
    """``where(symbol="BTC", side="LONG")``: equality for each that is not ``None``."""
    return tuple(
        Where(name, "==", value) for name, value in conditions.items() if value is not None
    )


def test_of(
    condition: Condition, collection: Collection, others: Rows | None
) -> Callable[[StoredRow], bool]:
    if isinstance(condition, Where):
        return condition.test(collection)
    if others is None:
        raise InvalidQuery("a condition on another collection needs its rows")
    return condition.test(collection, others)


def _comparable_to(column: Column, value: Any, record: str) -> Scalar:
    """Canonical scalar of a bound; a Decimal finer than the column is a fine bound all the same."""
    if column.kind is Kind.DECIMAL and isinstance(value, Decimal) and value.is_finite():
        column = attrs.evolve(column, precision=10_000, scale=5_000)
    return column.canonical(value, record=record)


def _holds(operator: Operator, value: Any, kind: Kind) -> Callable[[Any], bool]:
    if operator == "contains":
        return lambda scalar: scalar is not None and _has_element(scalar, value)
    if operator == "prefix":
        return lambda scalar: scalar is not None and scalar.startswith(value)
    if operator == "in":
        wanted = {nullable(kind, v) for v in value}
        return lambda scalar: nullable(kind, scalar) in wanted
    if operator in ("==", "!="):
        same, bound = operator == "==", nullable(kind, value)
        if kind not in ODD:
            return lambda scalar: (scalar == bound) is same
        return lambda scalar: (nullable(kind, scalar) == bound) is same
    compare, bound = _COMPARISONS[operator], comparable(kind, value)
    return lambda scalar: scalar is not None and compare(comparable(kind, scalar), bound)


_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def _has_element(document: str, element: Scalar) -> bool:
    """Whether the list a canonical *document* holds has *element*, plain text or an integer."""
    items = json.loads(document)
    return isinstance(items, list) and any(type(i) is type(element) and i == element for i in items)
