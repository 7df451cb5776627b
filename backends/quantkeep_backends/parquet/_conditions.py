"""Conditions on columns of Arrow: what a row group cannot have, and which of its rows are meant."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep import arrow
from quantkeep.collection import Collection
from quantkeep.columns import Column, Kind
from quantkeep.query import Condition, Operator, Where, column_of
from quantkeep_backends.parquet._bounds import Bounds
from quantkeep_backends.parquet._columns import INNER, STAMPS, canonical

# Kinds whose canonical scalars compare in Arrow as they do in queries.
EXACT: Final = {Kind.TEXT, Kind.INTEGER, Kind.BOOLEAN, Kind.TIMESTAMP, Kind.DATE, Kind.UUID}


def split(
    collection: Collection, conditions: Sequence[Condition]
) -> tuple[list[Where], list[Condition]]:
    """The conditions that Arrow can decide, and the others."""
    exact, others = list[Where](), list[Condition]()
    for condition in conditions:
        if isinstance(condition, Where) and _is_exact(collection, condition):
            exact.append(condition)
        else:
            others.append(condition)
    return exact, others


def _is_exact(collection: Collection, condition: Where) -> bool:
    return (
        condition.operator != "contains" and column_of(collection, condition.column).kind in EXACT
    )


def values_of(collection: Collection, table: pa.Table, name: str) -> Any:
    """The canonical values of column *name*, which may be one of the store's own."""
    kind = column_of(collection, name).kind
    if name in collection.places:
        return canonical(kind, table.column(name))
    return canonical(kind, table.column(INNER[STAMPS.index(name)]))


def mask(collection: Collection, table: pa.Table, conditions: Sequence[Where]) -> Any:
    """Which rows of *table* meet all of *conditions*; ``None``: all do."""
    found = None
    for condition in conditions:
        column = column_of(collection, condition.column)
        values = values_of(collection, table, condition.column)
        meets = _meets(column, values, condition)
        found = meets if found is None else pc.and_(found, meets)
    return found


def _meets(column: Column, values: Any, condition: Where) -> Any:
    operator, wanted = condition.operator, condition.value
    type_ = arrow.scalar_type(column.kind)
    if operator == "in":
        known = [v for v in wanted if v is not None]
        among = pc.fill_null(pc.is_in(values, value_set=pa.array(known, type_)), False)
        within = pc.and_(pc.is_valid(values), among)
        return pc.or_(within, pc.is_null(values)) if None in wanted else within
    if operator == "prefix":
        return pc.fill_null(pc.starts_with(values, wanted), False)
    if wanted is None:
        return pc.is_null(values) if operator == "==" else pc.is_valid(values)
    return pc.fill_null(_COMPARED[operator](values, pa.scalar(wanted, type_)), operator == "!=")


_COMPARED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


# -- bounds ----------------------------------------------------------------------------------------


def excluded(bounds: Mapping[str, Bounds], rows: int, conditions: Sequence[Where]) -> bool:
    """Whether none of *rows* rows within *bounds* can meet all of *conditions*."""
    return any(
        condition.column in bounds and _excludes(bounds[condition.column], rows, condition)
        for condition in conditions
    )


def included(bounds: Mapping[str, Bounds], conditions: Sequence[Where]) -> bool:
    """Whether every row within *bounds* is known to meet all of *conditions*."""
    return all(c.column in bounds and _includes(bounds[c.column], c) for c in conditions)


def _includes(bounds: Bounds, condition: Where) -> bool:
    if bounds.nulls or bounds.least is None or condition.value is None:
        return False
    inverse = _INVERSE.get(condition.operator)
    if inverse is None:
        return False
    return _excludes(bounds, 0, Where(condition.column, inverse, condition.value))


_INVERSE: Final[Mapping[str, Operator]] = {
    "==": "!=",
    "!=": "==",
    "<": ">=",
    "<=": ">",
    ">": "<=",
    ">=": "<",
}


def _excludes(bounds: Bounds, rows: int, condition: Where) -> bool:
    operator, wanted = condition.operator, condition.value
    if operator == "in":
        return all(_lacks(bounds, value) for value in wanted)
    if operator == "==":
        return _lacks(bounds, wanted)
    if operator == "!=":
        return _is_only(bounds, rows, wanted)
    least: Any = bounds.least
    greatest: Any = bounds.greatest
    if least is None:
        return True
    if operator == "prefix":
        return bool(greatest < wanted or (least > wanted and not least.startswith(wanted)))
    end = least if operator in ("<", "<=") else greatest
    holds = {
        "<": lambda: end < wanted,
        "<=": lambda: end <= wanted,
        ">": lambda: end > wanted,
        ">=": lambda: end >= wanted,
    }
    return not holds[operator]()


def _lacks(bounds: Bounds, wanted: Any) -> bool:
    if wanted is None:
        return bounds.nulls == 0
    least: Any = bounds.least
    return least is None or bool(wanted < least or bounds.greatest < wanted)


def _is_only(bounds: Bounds, rows: int, wanted: Any) -> bool:
    if wanted is None:
        return bounds.nulls == rows
    return bounds.nulls == 0 and bounds.least == bounds.greatest == wanted
