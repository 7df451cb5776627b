"""The order in which rows are asked for: tables sorted by it, and what lies before a place."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Collection
from quantkeep.columns import Kind, Scalar
from quantkeep.query import Query, column_of
from quantkeep_backends.parquet._columns import is_constant, one, permuted
from quantkeep_backends.parquet._conditions import EXACT, values_of
from quantkeep_backends.parquet._packed import is_packed, is_single, plain, unpacked
from quantkeep_backends.parquet._units import Asked, Ordering

_SORTED: Final = EXACT | {Kind.REAL}


def ordering_of(collection: Collection, query: Query) -> Ordering:
    """The order in which rows are found: backwards, where the last are wanted."""
    flip = query.take == "last"
    return [(name, down != flip) for name, down in query.ordering(collection)]


def can_sort(collection: Collection, ordering: Ordering) -> bool:
    """Whether Arrow sorts these columns as queries do."""
    return all(column_of(collection, name).kind in _SORTED for name, _ in ordering)


# -- places ----------------------------------------------------------------------------------------


def beyond(asked: Asked, table: pa.Table, place: Sequence[Scalar], *, turned: bool) -> Any:
    """Which rows come after *place* in the order (*turned*: before it)."""
    found: Any = None
    same: Any = None
    for (name, down), scalar in zip(asked.ordering, place, strict=False):
        values = values_of(asked.collection, table, name)
        further = _further(values, scalar, up=down == turned)
        equal = pc.is_null(values) if scalar is None else pc.fill_null(
            pc.equal(values, pa.scalar(scalar, values.type)), False
        )  # fmt: skip
        found = further if found is None else pc.or_(found, pc.and_(same, further))
        same = equal if same is None else pc.and_(same, equal)
    return found


def _further(values: Any, scalar: Scalar, *, up: bool) -> Any:
    """Which values are greater than *scalar* (*up*), or less; null is less than everything."""
    if scalar is None:
        return pc.is_valid(values) if up else pc.and_(pc.is_valid(values), pc.is_null(values))
    than = pa.scalar(scalar, values.type)
    return pc.fill_null((pc.greater if up else pc.less)(values, than), not up)


def split_at(
    asked: Asked, table: pa.Table, bound: Sequence[Scalar]
) -> tuple[pa.Table | None, pa.Table | None]:
    """The rows of *table*, which is in order, that come before *bound*, and the others."""
    ends = pa.concat_tables([table.slice(0, 1), table.slice(table.num_rows - 1)])
    first, last = beyond(asked, ends, bound, turned=True).to_pylist()
    if first == last:
        return (table, None) if last else (None, table)
    before = beyond(asked, table, bound, turned=True)
    return table.filter(before), table.filter(pc.invert(before))


# -- sorting ---------------------------------------------------------------------------------------


def in_order(asked: Asked, table: pa.Table) -> pa.Table:
    """The rows of *table* that are asked for at most, sorted; without dictionaries."""
    fixed = {c.column for c in asked.where if c.operator == "=="}
    arrays, keys = list[Any](), list[tuple[str, str]]()
    for name, down in asked.ordering:
        values = None if name in fixed else _varying(asked, table, name)
        for part in () if values is None else _sortable(values):
            keys.append((str(len(arrays)), "descending" if down else "ascending"))
            arrays.append(part)
    if not keys or (len(keys) == 1 and _is_sorted(arrays[0], down=keys[0][1] == "descending")):
        return plain(table.slice(0, asked.limit))
    columns = pa.Table.from_arrays(arrays, names=[name for name, _ in keys])
    places = pc.sort_indices(columns, sort_keys=keys)
    return permuted(table, places.slice(0, asked.limit))


def _varying(asked: Asked, table: pa.Table, name: str) -> Any:
    """The values of a column, unless all are the same."""
    values = values_of(asked.collection, table, name)
    if is_packed(values):
        if is_single(values):
            return None
        values = unpacked(values)
    return None if is_constant(values) else values


def _sortable(values: Any) -> Iterator[Any]:
    """Columns that together sort as queries do: null before all else, NaN behind."""
    if values.null_count:
        yield pc.is_valid(values).cast(pa.int8())
    if pa.types.is_floating(values.type):
        yield pc.fill_null(pc.is_nan(values), False).cast(pa.int8())
    yield values


def _is_sorted(values: Any, *, down: bool) -> bool:
    if values.null_count or not pa.types.is_integer(values.type):
        return False
    flat = one(values)
    first, second = flat.slice(0, max(len(flat) - 1, 0)), flat.slice(1)
    compared = (pc.greater_equal if down else pc.less_equal)(first, second)
    return pc.all(compared).as_py() is not False
