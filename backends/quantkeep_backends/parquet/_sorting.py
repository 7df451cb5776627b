"""The order of rows inside segments: what is asked for together lies together."""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Collection
from quantkeep.columns import Kind
from quantkeep_backends.parquet._columns import permuted

_DAY: Final = "__day"


def sorted_for_reading(collection: Collection, table: pa.Table) -> pa.Table:
    """*table* by stream, then by day, then by what is asked for together with the time.

    So a day of one symbol, a span of time and the newest rows each lie in few row groups.
    """
    order, marked = [*collection.stream], table
    keys = reading_order(collection)
    if keys is not None:
        by, at = keys
        marked = table.append_column(_DAY, pc.floor_temporal(table.column(at), unit="day"))
        order += [_DAY, *by, at]
    order.append(table.column_names[len(collection.columns)])
    wanted = [(name, "ascending") for name in dict.fromkeys(order)]
    return permuted(table, pc.sort_indices(marked, sort_keys=wanted))


def sorted_by_time(collection: Collection, table: pa.Table) -> pa.Table:
    """*table* by the time of its rows, or as it was appended, where they have none."""
    keys = reading_order(collection)
    stamps = table.column_names[len(collection.columns) :]
    wanted = [(name, "ascending") for name in (keys[1] if keys else stamps[1], stamps[0])]
    return permuted(table, pc.sort_indices(table, sort_keys=wanted))


def reading_order(collection: Collection) -> tuple[Sequence[str], str] | None:
    """The columns of a log's widest index that ends in an instant: ``(symbol,), timestamp``."""
    found: list[tuple[Sequence[str], str]] = []
    for index in collection.indexes:
        *by, at = index.columns
        if at in collection.places and collection.column(at).kind is Kind.TIMESTAMP:
            found.append((tuple(name for name in by if name in collection.places), at))
    apart = [each for each in found if not set(each[0]) <= set(collection.stream)]
    return next(iter(apart or found), None)
