"""Tally: figures of groups of rows."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal
from typing import Any, Literal

import attrs

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Kind, Scalar, instant
from quantkeep.errors import InvalidQuery
from quantkeep.query._columns import column_of, comparable, value_of
from quantkeep.query._conditions import Condition, Rows, test_of

Function = Literal["count", "sum", "min", "max", "mean", "mean_abs"]
Unit = Literal["hour", "day", "month", "year"]


@attrs.frozen
class Measure:
    """One figure of a group.

    ``count`` counts rows, or with a column its non-null values. The others pass over nulls and are
    ``None`` where there are none. Integers and Decimals are exact (a mean of Decimals is a
    quotient at 38 digits, a mean of integers a float); floats agree to within one part in 10**9,
    and NaN makes the result NaN (``max`` too, for NaN is the greatest; ``min`` only among NaNs).
    """

    function: Function
    column: str | None = None


@attrs.frozen
class Per:
    """Group a timestamp or date by *unit*: ``2025``, ``2025-01``, ``2025-01-17`` or ``…T09``."""

    column: str
    unit: Unit


@attrs.frozen(kw_only=True)
class Tally:
    """Figures of groups of rows.

    Each answer is a tuple: the group's values, then the measures. Ordered by measure number
    *order_by* (from 0), greatest first if *descending*, ``None`` least; ties, and without
    *order_by* everything, by the group's values ascending. Without *by* there is one group, of all
    rows, present even if there are none.
    """

    by: tuple[str | Per, ...] = ()
    measures: tuple[Measure, ...] = (Measure("count"),)
    where: tuple[Condition, ...] = ()
    order_by: int | None = None
    descending: bool = True
    limit: int | None = None

    def bound(self, collection: Collection) -> "Tally":
        """This tally checked against *collection*, with canonical values; raises InvalidQuery."""
        for group in self.by:
            column_of(collection, group.column if isinstance(group, Per) else group)
        for measure in self.measures:
            _check_measure(measure, collection)
        if self.order_by is not None and not 0 <= self.order_by < len(self.measures):
            raise InvalidQuery(f"order_by {self.order_by}: there are {len(self.measures)} measures")
        return attrs.evolve(self, where=tuple(c.bound(collection) for c in self.where))

    def run(
        self, collection: Collection, rows: Iterable[StoredRow], others: Rows | None = None
    ) -> list[tuple[Any, ...]]:
        """Answer this (bound) tally over *rows*, in Python values. The meaning engines match."""
        tests = [test_of(condition, collection, others) for condition in self.where]
        takes = [_group_value(collection, group) for group in self.by]
        measured = [_measured(collection, measure) for measure in self.measures]
        # Of a row, only what is measured is held: there may be millions.
        groups: dict[tuple[Any, ...], list[tuple[Scalar, ...]]] = defaultdict(list)
        if not self.by:
            groups[()] = []
        for row in rows:
            if all(test(row) for test in tests):
                members = groups[tuple(take(row) for take in takes)]
                members.append(tuple([take(row) for take in measured]))
        figures = [
            (*group, *(_figure(m, collection, [member[n] for member in members])
                       for n, m in enumerate(self.measures)))
            for group, members in groups.items()
        ]  # fmt: skip
        return self.ranked(figures)

    def ranked(self, figures: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """*figures* in this tally's order, cut at its limit."""
        width = len(self.by)
        figures = sorted(figures, key=lambda f: tuple(map(_ranking, f[:width])))
        if self.order_by is not None:
            place = width + self.order_by
            figures.sort(key=lambda f: _ranking(f[place]), reverse=self.descending)
        return figures[: self.limit]


def _ranking(value: Any) -> tuple[Any, ...]:
    if value is None:
        return (0,)
    if isinstance(value, float) and math.isnan(value):
        return (2,)
    return (1, value)


def _check_measure(measure: Measure, collection: Collection) -> None:
    if measure.column is None:
        if measure.function != "count":
            raise InvalidQuery(f"{measure.function} needs a column")
        return
    kind = column_of(collection, measure.column).kind
    ordered = kind not in (Kind.DOCUMENT, Kind.BINARY, Kind.BOOLEAN)
    numeric = kind in (Kind.INTEGER, Kind.REAL, Kind.DECIMAL)
    fits = {"count": True, "min": ordered, "max": ordered}.get(measure.function, numeric)
    if not fits:
        raise InvalidQuery(f"there is no {measure.function} of {collection.name}.{measure.column}")


def _group_value(collection: Collection, group: str | Per) -> Callable[[StoredRow], Any]:
    name = group.column if isinstance(group, Per) else group
    column, take = column_of(collection, name), value_of(collection, name)
    if isinstance(group, Per):
        width = {"year": 4, "month": 7, "day": 10, "hour": 13}[group.unit]
        return lambda row: _period(column.kind, take(row), width)
    if column.kind is Kind.REAL:
        return lambda row: _one_nan(take(row))
    return lambda row: column.python(take(row))


def _one_nan(real: Any) -> Any:
    """NaN is one group; two objects that are NaN would be two keys of a dictionary."""
    return math.nan if real is not None and math.isnan(real) else real


def _period(kind: Kind, scalar: Any, width: int) -> str | None:
    if scalar is None:
        return None
    text = instant(scalar).isoformat() if kind is Kind.TIMESTAMP else scalar
    return str(text)[:width]


def _measured(collection: Collection, measure: Measure) -> Callable[[StoredRow], Scalar]:
    if measure.column is None:
        return lambda row: True
    return value_of(collection, measure.column)


def _figure(measure: Measure, collection: Collection, members: Sequence[Scalar]) -> Any:
    if measure.column is None:
        return len(members)
    column = column_of(collection, measure.column)
    scalars = [s for s in members if s is not None]
    if measure.function == "count":
        return len(scalars)
    if not scalars:
        return None
    if measure.function in ("min", "max"):
        pick = min if measure.function == "min" else max
        return column.python(pick(scalars, key=lambda s: comparable(column.kind, s)))
    return total(measure.function, [column.python(s) for s in scalars])


def total(function: Function, values: Sequence[Any]) -> Any:
    """Sum or mean of numbers, none of them null; see :class:`Measure` for exactness."""
    if function == "mean_abs":
        values = [abs(v) for v in values]
    amount = exact_sum(values)
    return amount if function == "sum" else quotient(amount, len(values))


def exact_sum(values: Sequence[Any]) -> Any:
    """Sum of ints, Decimals or floats, rounded at most once."""
    if isinstance(values[0], Decimal):
        context, amount = Context(prec=200), Decimal(0)
        for value in values:
            amount = context.add(amount, value)
        return amount
    if isinstance(values[0], float):
        try:
            return math.fsum(values)
        except (OverflowError, ValueError):  # past the largest float, or inf - inf
            return sum(values)
    return sum(values)


def quotient(amount: Any, count: int) -> Any:
    """The mean: a Decimal at 38 digits, otherwise a float."""
    if isinstance(amount, Decimal):
        return Context(prec=38).divide(amount, Decimal(count))
    return amount / count
