"""What a record's field checks of one value, checked of a whole Arrow column."""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Collection
from quantkeep.columns import KEY_BYTES, VALUE_BYTES, Column, Kind
from quantkeep.errors import InvalidValue, TooLarge

_Complaint = tuple[Any, Callable[[int, Any], InvalidValue]]  # a mask of what is bad, and the error


def first(mask: Any) -> int | None:
    """The place of the first true in a boolean array, if there is one."""
    if not pc.any(mask).as_py():
        return None
    place: int = pc.index(mask, pa.scalar(True)).as_py()
    return place


def check(column: Column, given: Any, collection: Collection) -> None:
    """Hold every value of *given*, canonical scalars, to what *column* demands.

    Raises:
        InvalidValue, TooLarge: names the column, the first bad row and its value.
    """
    for mask, error in _complaints(column, given, collection):
        row = first(mask)
        if row is not None:
            raise error(row, given[row].as_py())


def _complaints(column: Column, given: Any, collection: Collection) -> Iterator[_Complaint]:
    def refused(row: int, value: Any) -> InvalidValue:
        return column.refused(value, f"{collection.name}[{row}]")

    def large(row: int, value: Any) -> InvalidValue:
        size = len(value.encode() if isinstance(value, str) else value)
        return TooLarge(
            f"a value of {size:,} bytes",
            record=f"{collection.name}[{row}]", field=column.name, value=size,
            expected=f"at most {VALUE_BYTES:,} bytes",
        )  # fmt: skip

    if not column.nullable and given.null_count:
        yield pc.is_null(given), refused
    if column.choices:
        known = pa.array(column.choices, given.type)
        yield pc.and_(pc.is_valid(given), pc.invert(pc.is_in(given, known))), refused
    if column.finite and column.kind is Kind.REAL:
        yield pc.invert(pc.is_finite(given)), refused
    if column.between and column.kind in (Kind.REAL, Kind.INTEGER):
        low, high = column.between
        within = pc.and_(pc.greater_equal(given, low), pc.less_equal(given, high))
        yield pc.invert(within), refused
    if column.kind in (Kind.TEXT, Kind.BINARY, Kind.DOCUMENT) and _may_exceed(given, VALUE_BYTES):
        yield pc.greater(pc.binary_length(given), VALUE_BYTES), large
    if column.kind in (Kind.TEXT, Kind.DOCUMENT):
        yield from _text_complaints(column, given, collection)


def _text_complaints(column: Column, given: Any, collection: Collection) -> Iterator[_Complaint]:
    def nul(row: int, value: Any) -> InvalidValue:
        return InvalidValue(
            "holds a NUL character, which not every engine can store",
            record=f"{collection.name}[{row}]", field=column.name, value=value,
            expected="text without \\x00",
        )  # fmt: skip

    def long(row: int, value: Any) -> InvalidValue:
        return TooLarge(
            f"is a key of {len(value.encode())} bytes",
            record=f"{collection.name}[{row}]", field=column.name, value=value,
            expected=f"at most {KEY_BYTES} bytes of UTF-8",
        )  # fmt: skip

    if _may_hold_nul(given):
        yield pc.match_substring(given, "\0"), nul
    if column.name in collection.indexed and _may_exceed(given, KEY_BYTES):
        yield pc.greater(pc.binary_length(given), KEY_BYTES), long


# -- looking at the bytes of all values at once, which rules most complaints out -------------------

_STEP: Final = 1 << 18  # bytes that stay in the processor's cache


def _may_exceed(given: Any, limit: int) -> bool:
    """Whether a value of *given* may have more bytes than *limit*."""
    return any(end - start > limit for _, start, end in map(_extent, given.chunks))


def _may_hold_nul(given: Any) -> bool:
    """Whether the text in *given*, or what is behind its nulls, has a NUL character."""
    return any(
        b"\0" in values.slice(place, min(_STEP, end - place)).to_pybytes()
        for values, start, end in map(_extent, given.chunks)
        for place in range(start, end, _STEP)
    )


def _extent(chunk: Any) -> tuple[Any, int, int]:
    """The buffer in which the values of *chunk* lie one behind the other, from where to where."""
    if pa.types.is_fixed_size_binary(chunk.type):
        width = chunk.type.byte_width
        return chunk.buffers()[1], chunk.offset * width, (chunk.offset + len(chunk)) * width
    code, width = ("=q", 8) if chunk.type in (pa.large_string(), pa.large_binary()) else ("=i", 4)
    _, offsets, values = chunk.buffers()
    if not len(chunk) or values is None:
        return values, 0, 0
    (start,) = struct.unpack_from(code, offsets, chunk.offset * width)
    (end,) = struct.unpack_from(code, offsets, (chunk.offset + len(chunk)) * width)
    return values, start, end
