"""What identifies the rows of a log's columns, as texts, without a Python object for each row."""

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.columns import Column, Kind
from quantkeep_backends.redis import keys
from quantkeep_backends.redis.shapes import Shape

_PLAIN: Final = rf"^{keys.PLAIN}\z"


def of_batch(shape: Shape, batch: pa.RecordBatch) -> pa.Array:
    """The identity of each row, as :meth:`Shape.identity` has it; null where it has none."""
    columns = [(column, batch.column(column.name)) for column in shape.identity_columns]
    if not columns or any(given.null_count == len(given) for _, given in columns):
        return pa.nulls(batch.num_rows, pa.string())
    parts = [_parts(column, given) for column, given in columns]
    texts = pc.binary_join_element_wise(*parts, ":")  # null where one of them is
    return pc.if_else(pc.equal(texts, ""), "%empty", texts)


def _parts(column: Column, given: pa.Array) -> pa.Array:
    """Each value as :func:`keys.part` has it; null where it is null."""
    if column.kind is not Kind.INTEGER and not _is_text(given.type):
        return _one_by_one(column, given)
    texts = given.cast(pa.string())
    odd = pc.fill_null(pc.invert(pc.match_substring_regex(texts, _PLAIN)), False)
    if not pc.any(odd).as_py():
        return texts
    return pc.replace_with_mask(texts, odd, _one_by_one(column, texts.filter(odd)))


def _is_text(given: Any) -> bool:
    return bool(pa.types.is_string(given) or pa.types.is_large_string(given))


def _one_by_one(column: Column, given: pa.Array) -> pa.Array:
    made = [None if value is None else keys.part(column, value) for value in given.to_pylist()]
    return pa.array(made, pa.string())
