"""Hypothesis strategies for whatever a column takes, and for whole records."""

from collections.abc import Mapping
from datetime import UTC
from decimal import Context, Decimal
from functools import cache
from typing import Any

from hypothesis import strategies as st

from quantkeep import Record
from quantkeep.columns import INT64_MAX, INT64_MIN, Column, Kind
from quantkeep_conformance.samples import made

HARD_TEXTS = (
    "", " ", "  both  ", "a", "A", "é", "e\u0301", "\u2028\ufeff", "\U0001f4b9", "1e5", "null",
    "NaN", "'; DROP TABLE kit_specimens; --", "a%", "a_", "a*", "\\", '"', "\n\r\t", "\x01\x7f",
    "\uffff", "\U0010ffff", "{}", "$decimal",
)  # fmt: skip
HARD_REALS = (
    0.0, -0.0, 0.1, -0.1, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2.0**53,
    2.0**53 + 2, 1e22, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
HARD_INTEGERS = (0, 1, -1, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, INT64_MAX, INT64_MIN)

texts = st.sampled_from(HARD_TEXTS) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=20
)
integers = st.sampled_from(HARD_INTEGERS) | st.integers(INT64_MIN, INT64_MAX)
reals = st.sampled_from(HARD_REALS) | st.floats()
instants = st.datetimes(timezones=st.just(UTC))
days = st.dates()
uuids = st.uuids()
binaries = st.binary(max_size=40)


def decimals(precision: int = 38, scale: int = 18) -> st.SearchStrategy[Decimal]:
    """Every Decimal that fits, some of them with trailing zeros."""
    unscaled = st.integers(-(10**precision) + 1, 10**precision - 1)
    small = st.integers(-1000, 1000)
    return st.builds(lambda n: Decimal(n).scaleb(-scale, _WIDE), unscaled | small)


_WIDE = Context(prec=200)


@cache
def documents() -> st.SearchStrategy[Any]:
    """What a document may be: nested, and with values JSON has no word for.

    Made once, for to make it and see that it can be drawn from takes longer than to draw from it.
    """
    plain = st.none() | st.booleans() | integers | reals | texts
    tagged = decimals() | instants | days | uuids | binaries
    return st.recursive(
        plain | tagged,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(texts, inner, max_size=3)
            | st.tuples(inner, inner)
        ),
        max_leaves=6,
    )


def of_column(column: Column) -> st.SearchStrategy[Any]:
    """Whatever *column* takes."""
    values = _of_values(column)
    return st.none() | values if column.nullable else values


def _of_values(column: Column) -> st.SearchStrategy[Any]:
    if column.choices:
        return st.sampled_from(column.choices)
    if column.kind is Kind.DECIMAL:
        return _bounded(column, decimals(column.precision, column.scale))
    if column.kind is Kind.DOCUMENT:
        return documents().filter(lambda value: value is not None)
    if column.kind is Kind.REAL and column.finite:
        return _bounded(column, st.floats(allow_nan=False, allow_infinity=False))
    return _bounded(column, _BY_KIND[column.kind])


def _bounded(column: Column, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    if column.between is None:
        return values
    low, high = column.between
    if column.kind is Kind.INTEGER:
        return st.integers(int(max(low, INT64_MIN)), int(min(high, INT64_MAX)))
    floats = st.floats(max(low, -1e9), min(high, 1e9), allow_nan=False)
    if column.kind is Kind.REAL:
        return floats
    return floats.map(lambda value: Decimal(value).quantize(Decimal("0.0001")))


_BY_KIND: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: texts,
    Kind.INTEGER: integers,
    Kind.REAL: reals,
    Kind.BOOLEAN: st.booleans(),
    Kind.TIMESTAMP: instants,
    Kind.DATE: days,
    Kind.UUID: uuids,
    Kind.BINARY: binaries,
}


def of_record(record: type[Record], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Record]:
    """Instances of *record*, with some fields *given*."""
    columns: Mapping[str, st.SearchStrategy[Any]] = {
        column.name: of_column(column)
        for column in record.collection.columns
        if column.name not in given
    }
    values = st.fixed_dictionaries({**columns, **given})
    return values.map(lambda drawn: made(record, drawn))
