"""How the values of a JSON list are spelled, so that they come back as they were.

A column of a table holds the values; its *form* says in a word how they were written, and what the
form does not give back is an *exception*, kept beside the tables. One form serves a whole list:
``""`` is what the column gives by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from types import NoneType
from typing import Any, Final, NamedTuple

import pyarrow as pa

from quantkeep.backtests import _moments
from quantkeep.backtests.schemas import arrow_type
from quantkeep.columns import Column, Kind
from quantkeep.errors import InvalidValue

NUMBERS: Final = "number"  # as JavaScript prints: 42000 for 42000.0
FLOATS: Final = "float"  # counts written as 12.0


class Spelled(NamedTuple):
    """The values of one column, and how they were spelled."""

    array: Any
    form: str = ""
    exceptions: Mapping[int, Any] = {}


class Unspeakable(Exception):
    """The value in a place of the list does not fit the column."""

    def __init__(self, place: int, expected: str | None = None) -> None:
        super().__init__(place, expected)
        self.place = place
        self.expected = expected


def spelled(column: Column, values: Sequence[Any]) -> Spelled:
    """*values* (``None`` for null) as an array of the column's type, and their spelling.

    Raises:
        Unspeakable: a value does not fit.
    """
    kinds = set(map(type, values)) - {NoneType}
    try:
        return _SPELLERS[column.kind](column, values, kinds)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        raise Unspeakable(_first_unfit(column, values)) from None


def written(column: Column, array: Any, form: str) -> list[Any]:
    """The values of *array*, spelled in *form*; exceptions are the caller's to put in."""
    if column.kind is Kind.TIMESTAMP:
        return _moments.written(array, form)
    values: list[Any] = array.to_pylist()
    if form == FLOATS:
        return [value if value is None else float(value) for value in values]
    if form == NUMBERS:
        return [int(v) if v is not None and v.is_integer() else v for v in values]
    return values


def refused(column: Column, value: object, record: str, field: str, expected: str | None) -> Any:
    """The error that says so."""
    said = f"cannot hold {value!r} ({type(value).__name__})"
    wanted = expected or column.expected
    return InvalidValue(said[:200], record=record, field=field, value=value, expected=wanted)


# -- one function for each kind --------------------------------------------------------------------


def _real(column: Column, values: Sequence[Any], kinds: set[type]) -> Spelled:
    _only(values, kinds, {float, int})
    array = pa.array(values, pa.float64())
    if int not in kinds:
        return Spelled(array)
    ints = {place: v for place, v in enumerate(values) if type(v) is int}
    floats = {place: v for place, v in enumerate(values) if type(v) is float and v.is_integer()}
    if len(floats) <= len(ints):
        return Spelled(array, NUMBERS, floats)
    return Spelled(array, "", ints)


def _integer(column: Column, values: Sequence[Any], kinds: set[type]) -> Spelled:
    _only(values, kinds, {float, int})
    if float not in kinds:
        return Spelled(pa.array(values, arrow_type(column)))
    for place, value in enumerate(values):
        if type(value) is float and not value.is_integer():
            raise Unspeakable(place)
    whole = [value if value is None else int(value) for value in values]
    odd = float if int in kinds else NoneType
    exceptions = {place: v for place, v in enumerate(values) if type(v) is odd and v is not None}
    form = "" if exceptions else FLOATS
    return Spelled(pa.array(whole, arrow_type(column)), form, exceptions)


def _text(column: Column, values: Sequence[Any], kinds: set[type]) -> Spelled:
    _only(values, kinds, {str})
    known = {*column.choices, None}
    strange = set(values) - known if column.choices else ()
    for value in strange:
        raise Unspeakable(values.index(value))
    array = pa.array(values, pa.string())
    if any("\0" in value for value in set(values) if value):
        raise Unspeakable(_first(values, lambda v: "\0" in v), "text without \\x00")
    return Spelled(array)


def _boolean(column: Column, values: Sequence[Any], kinds: set[type]) -> Spelled:
    _only(values, kinds, {bool})
    return Spelled(pa.array(values, pa.bool_()))


def _timestamp(column: Column, values: Sequence[Any], kinds: set[type]) -> Spelled:
    _only(values, kinds, _moments.TYPES)
    try:
        return Spelled(*_moments.spelled(values, kinds))
    except _moments.NoMoment as error:
        raise Unspeakable(error.place, error.expected) from None


_SPELLERS: Final[dict[Kind, Callable[[Column, Sequence[Any], set[type]], Spelled]]] = {
    Kind.REAL: _real,
    Kind.INTEGER: _integer,
    Kind.TEXT: _text,
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMP: _timestamp,
}


def _only(values: Sequence[Any], kinds: set[type], allowed: set[type] | frozenset[type]) -> None:
    strange = kinds - allowed
    if strange:
        raise Unspeakable(_first(values, lambda value: type(value) in strange))


def _first(values: Sequence[Any], is_bad: Callable[[Any], bool]) -> int:
    return next(place for place, v in enumerate(values) if v is not None and is_bad(v))


def _first_unfit(column: Column, values: Sequence[Any]) -> int:
    """The first value that Arrow does not take alone."""
    for place, value in enumerate(values):
        try:
            pa.array([value], arrow_type(column))
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            return place
    return 0


def column_values(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """What each of *rows* has under *name*; raises ``KeyError`` where one has nothing."""
    return [*map(itemgetter(name), rows)]
