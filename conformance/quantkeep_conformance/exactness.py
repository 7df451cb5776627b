"""Exactly the same: type for type, and floats bit for bit."""

import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from quantkeep import Record

_NOTHING = object()


def same(one: Any, other: Any) -> bool:
    """Whether *one* and *other* are the same value, of the same type, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(_told_apart(one) == _told_apart(other))


def _told_apart(value: Any) -> Any:
    """Something that differs where == does not: for 0.0 and -0.0, for 1.5 and 1.50, for zones."""
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, Decimal):
        return str(value)
    return (value, value.utcoffset()) if isinstance(value, datetime) else value


def differences(found: Record, wanted: Record) -> list[str]:
    """What is not the same in two records, a line for each field; columns by their meaning."""
    if type(found) is not type(wanted):
        return [f"{type(found).__name__} instead of {type(wanted).__name__}"]
    return [
        f"{column.name}: {shown(got)} instead of {shown(want)}"
        for column in wanted.collection.columns
        for got, want in [(getattr(found, column.name), getattr(wanted, column.name))]
        if not same(_as_stored(got), _as_stored(want))
    ]


def _as_stored(value: Any) -> Any:
    """A column's Decimals are equal by value (Z-5), its instants whatever their zone."""
    if isinstance(value, Decimal):
        return Decimal(0) if not value else value.normalize()
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return value


def shown(value: Any) -> str:
    """*value* for a message, shortened."""
    text = f"{value!r} ({type(value).__name__})"
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def assert_same(found: Record | None, wanted: Record) -> None:
    """Fail unless the two records hold exactly the same."""
    assert found is not None, f"not stored: {wanted!r}"
    unlike = differences(found, wanted)
    assert not unlike, f"{type(wanted).__name__} came back changed: " + "; ".join(unlike)


def assert_all_same(found: Iterable[Record], wanted: Iterable[Record]) -> None:
    """Fail unless both give the same records in the same order."""
    problems = [*_unlike(found, wanted)]
    assert not problems, "; ".join(problems[:5])


def _unlike(found: Iterable[Record], wanted: Iterable[Record]) -> Iterator[str]:
    for place, (got, want) in enumerate(zip_longest(found, wanted, fillvalue=_NOTHING)):
        if got is _NOTHING or want is _NOTHING:
            yield f"record {place}: {'too few' if got is _NOTHING else 'too many'}"
            return
        if isinstance(got, Record) and isinstance(want, Record):
            yield from (f"record {place}, {line}" for line in differences(got, want))
