"""Instances of any record, made from its columns: fully populated, and minimal.

Values are ordinary ones; the hard ones have clauses of their own, so that a failure names them.
Constructors are passed over, as they are when a stored row is read: what a record's class demands
beyond its columns is the business of its store, not of an engine.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from quantkeep import Record
from quantkeep.columns import Column, Kind

FIRST_DAY = datetime(2025, 1, 17, 9, 30, tzinfo=UTC)
Records = Mapping[str, type[Record]]


def populated(record: type[Record], number: int = 1, **given: Any) -> Record:
    """A *record* in which nothing is null; different for each *number*."""
    values = {c.name: ordinary(c, number) for c in record.collection.columns}
    return made(record, {**values, **given})


def minimal(record: type[Record], number: int = 1, **given: Any) -> Record:
    """A *record* with ``None`` wherever it may be."""
    values = {
        c.name: None if c.nullable else ordinary(c, number) for c in record.collection.columns
    }
    return made(record, {**values, **given})


def with_targets(sample: Record, known: Records, number: int = 1) -> list[Record]:
    """*sample* after the records that it refers to, and those they refer to."""
    found: list[Record] = []
    for reference in sample.collection.references:
        values = [getattr(sample, name) for name in reference.columns]
        if None not in values and reference.to in known:
            target = known[reference.to]
            key = dict(zip(target.collection.key, values, strict=True))
            found += with_targets(minimal(target, number, **key), known, number)
    return [*_once(found), sample]


def _once(records: list[Record]) -> list[Record]:
    keyed = {(type(r), r.collection.key_of(tuple(r.as_dict().values()))): r for r in records}
    return [*keyed.values()]


def made(record: type[Record], values: Mapping[str, Any]) -> Record:
    """A *record* that holds *values*, its constructor passed over."""
    instance = object.__new__(record)
    for name, value in values.items():
        object.__setattr__(instance, name, value)
    object.__setattr__(instance, "envelope", None)
    return instance


def ordinary(column: Column, number: int) -> Any:
    """A plain value for *column*, different for each *number* where the column allows that."""
    if column.choices:
        return column.choices[number % len(column.choices)]
    if column.between is not None:
        return _within(column, number)
    return _ORDINARY[column.kind](column, number)


def _within(column: Column, number: int) -> Any:
    assert column.between is not None
    low, high = column.between
    if column.kind is Kind.INTEGER:
        return int(min(low + number, high))
    part = (high - low) / 2**8 * (number % 2**8) if high - low < float("inf") else float(number)
    value = max(low, -1e6) + part
    return Decimal(str(round(value, 4))) if column.kind is Kind.DECIMAL else value


def _decimal(column: Column, number: int) -> Decimal:
    whole = number % 10 ** min(column.precision - column.scale, 6)
    return Decimal(whole) + (Decimal(5).scaleb(-1) if column.scale else 0)


_ORDINARY: dict[Kind, Any] = {
    Kind.TEXT: lambda column, number: f"{column.name} {number}",
    Kind.INTEGER: lambda _, number: number,
    Kind.REAL: lambda _, number: number + 0.25,
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: lambda _, number: number % 2 == 1,
    Kind.TIMESTAMP: lambda _, number: FIRST_DAY + timedelta(minutes=number),
    Kind.DATE: lambda _, number: date(2025, 1, 17) + timedelta(days=number),
    Kind.UUID: lambda _, number: UUID(int=(0x5EED << 64) + number),
    Kind.BINARY: lambda _, number: b"bytes " + str(number).encode(),
    Kind.DOCUMENT: lambda column, number: {"of": column.name, "items": [number, "x", None]},
}
