"""Between which values columns lie: what a search need not look at."""

from collections.abc import Sequence
from typing import Any, Final

import attrs
import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Collection
from quantkeep.columns import Kind, Scalar, microseconds
from quantkeep_backends.parquet._columns import INNER, canonical, inner_names

Ends = tuple[Any, Any] | None  # the least and the greatest value of a column; None: not known
_PRUNED: Final = {Kind.TEXT, Kind.INTEGER, Kind.TIMESTAMP, Kind.DATE, Kind.UUID}


@attrs.frozen
class Bounds:
    """The least and the greatest value of a column in some rows, and how many are null.

    Attributes:
        least: canonical; ``None`` where all are null.
    """

    least: Scalar
    greatest: Scalar
    nulls: int

    def lie_apart(self, least: Scalar, greatest: Scalar) -> bool:
        """Whether nothing from *least* to *greatest* is within them."""
        if self.least is None or self.greatest is None:
            return True
        return bool(greatest < self.least or self.greatest < least)  # type: ignore[operator]


def prunable(collection: Collection) -> list[str]:
    """Columns whose bounds are worth knowing."""
    wanted = collection.indexed
    return ["revision"] * ("revision" not in collection.places) + [
        column.name
        for column in collection.columns
        if column.name in wanted and column.kind in _PRUNED
    ]


# -- of what is written ----------------------------------------------------------------------------


def bounds_of(collection: Collection, table: pa.Table, metadata: Any) -> dict[str, Bounds]:
    """Those of *table*, of which *metadata* is the footer: most are in it already."""
    groups = [bounds_of_group(collection, metadata, n) for n in range(metadata.num_row_groups)]
    return {
        name: _joined([group[name] for group in groups])
        if groups and all(name in group for group in groups)
        else _computed(collection, table, name)
        for name in prunable(collection)
    }


def _joined(parts: Sequence[Bounds]) -> Bounds:
    known = [part for part in parts if part.least is not None]
    nulls = sum(part.nulls for part in parts)
    if not known:
        return Bounds(None, None, nulls)
    least: Any = min(part.least for part in known)  # type: ignore[type-var]  # of one kind
    greatest: Any = max(part.greatest for part in known)  # type: ignore[type-var]  # of one kind
    return Bounds(least, greatest, nulls)


def _computed(collection: Collection, table: pa.Table, name: str) -> Bounds:
    place = collection.places.get(name)
    kind = Kind.INTEGER if place is None else collection.columns[place].kind
    values = canonical(kind, table.column(len(collection.columns) if place is None else place))
    ends = pc.min_max(values)
    return Bounds(ends["min"].as_py(), ends["max"].as_py(), values.null_count)


# -- of a file -------------------------------------------------------------------------------------


def bounds_of_group(collection: Collection, metadata: Any, number: int) -> dict[str, Bounds]:
    """Those of a row group, of the columns of which they are known."""
    places = {name: place for place, name in enumerate(inner_names(metadata.schema.names))}
    group, found = metadata.row_group(number), {}
    for name in prunable(collection):
        place = places.get(name if name in collection.places else INNER[0])
        statistics = None if place is None else group.column(place).statistics
        if statistics is None or not statistics.has_null_count:
            continue
        nulls = statistics.null_count
        if statistics.has_min_max:
            kind = collection.column(name).kind if name in collection.places else Kind.INTEGER
            ends = (_scalar(kind, statistics.min), _scalar(kind, statistics.max))
            found[name] = Bounds(*ends, nulls)
        elif nulls == group.num_rows:
            found[name] = Bounds(None, None, nulls)
    return found


def _scalar(kind: Kind, value: Any) -> Any:
    if kind is Kind.TIMESTAMP:
        return microseconds(value)
    return value.isoformat() if kind is Kind.DATE else value
