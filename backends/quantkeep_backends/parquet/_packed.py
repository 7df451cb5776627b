"""Columns as they are read where a whole segment is: texts that repeat are dictionaries still, and
nulls of one type share their bytes. Both are cheaper to read and to move than values are.
"""

from functools import lru_cache
from typing import Any, Final

import pyarrow as pa

_SHARED: Final = 1 << 17  # nulls: as many as a segment has rows


def nulls(count: int, type_: Any) -> Any:
    """*count* nulls; those of one type share their bytes."""
    return _nulls(type_).slice(0, count) if count <= _SHARED else pa.nulls(count, type_)


@lru_cache(maxsize=16)
def _nulls(type_: Any) -> Any:
    return pa.nulls(_SHARED, type_)


def is_text(type_: Any) -> bool:
    """Whether columns of this type can be read as dictionaries."""
    return bool(pa.types.is_string(type_) or pa.types.is_binary(type_))


def is_packed(values: Any) -> bool:
    """Whether *values* are a dictionary and places in it."""
    return bool(pa.types.is_dictionary(values.type))


def unpacked(values: Any) -> Any:
    """*values* without a dictionary."""
    if not is_packed(values):
        return values
    return repeated(values) if is_single(values) else values.cast(values.type.value_type)


def is_single(values: Any) -> bool:
    """Whether packed *values* are all the same, and none is null."""
    if values.null_count or not len(values):
        return False
    first = values.chunk(0).dictionary
    return len(first) == 1 and all(chunk.dictionary.equals(first) for chunk in values.chunks)


def repeated(values: Any) -> Any:
    """Packed *values* that are all the same, without a dictionary."""
    return pa.chunked_array([pa.repeat(values.chunk(0).dictionary[0], len(values))])


def plain(table: pa.Table) -> pa.Table:
    """*table* without dictionaries."""
    if not any(map(is_packed, table.columns)):
        return table
    columns = [unpacked(values) for values in table.columns]
    return pa.Table.from_arrays(columns, schema=plain_schema(table.schema))


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """*schema* of a table without its dictionaries."""
    fields = [f.with_type(f.type.value_type) if is_packed(f) else f for f in schema]
    return pa.schema(fields, schema.metadata)
