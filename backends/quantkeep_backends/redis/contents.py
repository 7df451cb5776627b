"""Whether rows are the same, seen from their columns: what digests say of them one by one."""

from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Collection


def same(collection: Collection, ours: pa.RecordBatch, theirs: pa.RecordBatch) -> pa.Array:
    """Of each pair of rows, whether every value is the same to the bit, or null in both."""
    found = [_same(_column(ours, name), _column(theirs, name)) for name in collection.names]
    return reduce(pc.and_, found)


def _column(batch: pa.RecordBatch, name: str) -> Any:
    """The column, if one was stored: one of nothing but nulls is not."""
    if name not in batch.schema.names:
        return pa.nulls(batch.num_rows)
    column = batch.column(name)
    if pa.types.is_fixed_size_binary(column.type):
        return column.cast(pa.binary())
    # As numbers, for NaN is the same as itself here, and -0.0 is not 0.0.
    return column.view(pa.int64()) if pa.types.is_float64(column.type) else column


def _same(ours: Any, theirs: Any) -> Any:
    both_null = pc.and_(pc.is_null(ours), pc.is_null(theirs))
    if pa.types.is_null(ours.type) or pa.types.is_null(theirs.type):
        return both_null
    equal = pc.equal(ours, theirs.cast(ours.type))  # texts may be long in the one
    return pc.or_(pc.fill_null(equal, False), both_null)
