"""The columns a query may name, and how their scalars compare."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Column, Kind, Scalar
from quantkeep.errors import InvalidQuery

ENVELOPE_COLUMNS: Final = {
    "revision": Column(name="revision", kind=Kind.INTEGER),
    "created_at": Column(name="created_at", kind=Kind.TIMESTAMP),
    "updated_at": Column(name="updated_at", kind=Kind.TIMESTAMP),
}
ODD: Final = (Kind.DECIMAL, Kind.REAL)  # whose scalars do not compare the way queries do


def column_of(collection: Collection, name: str) -> Column:
    """The column a query means by *name*, the envelope's included; raises InvalidQuery."""
    if name in collection.places:
        return collection.column(name)
    if name in ENVELOPE_COLUMNS:
        return ENVELOPE_COLUMNS[name]
    raise InvalidQuery(
        f"{collection.name} has no column {name!r}; it has {', '.join(collection.names)} and "
        "revision, created_at, updated_at"
    )


def value_of(collection: Collection, name: str) -> Callable[[StoredRow], Scalar]:
    """A function that takes the canonical scalar of column *name* out of a stored row."""
    place = collection.places.get(name)
    if place is not None:
        return lambda stored: stored.values[place]
    return lambda stored: getattr(stored, name)


def comparable(kind: Kind, scalar: Any) -> Any:
    """A stand-in for a non-null *scalar* that Python compares the way queries do.

    It is another object only of the kinds that are :data:`ODD`.
    """
    if kind is Kind.DECIMAL:
        return Decimal(scalar)
    if kind is Kind.REAL:
        return (1, 0.0) if math.isnan(scalar) else (0, scalar)
    return scalar


def nullable(kind: Kind, scalar: Any) -> Any:
    return None if scalar is None else comparable(kind, scalar)
