"""From an Arrow column of any type that widens without loss to the column's canonical scalars."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep import documents
from quantkeep._arrow_checks import first
from quantkeep._arrow_schema import arrow_type
from quantkeep.columns import Column, Kind, plain_decimal
from quantkeep.errors import Corrupt, InvalidValue

is_type = pa.types


class _Unfit(Exception):
    """Why a column, or one of its values, cannot be taken."""

    def __init__(self, message: str, expected: str | None = None, row: int | None = None) -> None:
        self.message, self.expected, self.row = message, expected, row


def scalars(column: Column, given: Any, record: str) -> Any:
    """*given*, a chunked array, in the type whose Python values are *column*'s canonical scalars.

    Raises:
        InvalidValue: its type or one of its values is not *column*'s; says which.
    """
    if is_type.is_null(given.type):
        given = given.cast(arrow_type(column))
    try:
        return _CONVERSIONS[column.kind](_storage(given), column)
    except _Unfit as unfit:
        row = "" if unfit.row is None else f"[{unfit.row}]"
        raise InvalidValue(
            unfit.message, record=record + row, field=column.name,
            value=given.type if unfit.row is None else _shown(given, unfit.row),
            expected=unfit.expected or column.expected,
        ) from None  # fmt: skip


def _storage(given: Any) -> Any:
    """Without dictionary encoding and extension types."""
    if isinstance(given.type, pa.BaseExtensionType):
        stored = [chunk.storage for chunk in given.chunks]
        given = pa.chunked_array(stored, given.type.storage_type)
    if is_type.is_dictionary(given.type):
        given = pa.chunked_array([_decoded(chunk) for chunk in given.chunks], _plain(given.type))
    return given


def _plain(dictionary: Any) -> Any:
    """The type of a dictionary's values. Not views: Arrow has no cast from their dictionaries."""
    values = dictionary.value_type
    return pa.large_string() if is_type.is_string_view(values) else values


def _decoded(chunk: Any) -> Any:
    return chunk.dictionary.cast(_plain(chunk.type)).take(chunk.indices)


def _shown(given: Any, row: int) -> object:
    try:
        return given[row].as_py()
    except (OverflowError, ValueError):  # Python has no such instant or date
        return given.slice(row, 1).cast(pa.string())[0].as_py()


def _wrong(given: Any, column: Column, hint: str = "") -> _Unfit:
    return _Unfit(f"cannot be read from {given.type}", f"{arrow_type(column)}{hint}")


def _cast(given: Any, wanted: Any, message: str, expected: str | None = None) -> Any:
    """*given* as *wanted*; where a value does not fit, the first such row is named."""
    try:
        return given.cast(wanted)
    except pa.ArrowInvalid:
        raise _Unfit(message, expected, _first_unfit(given, wanted)) from None


def _first_unfit(given: Any, wanted: Any) -> int | None:
    """The row of the first value that *wanted* does not take, found by halving."""
    start, count = 0, len(given)
    while count > 1:
        half = count // 2
        if _fits(given.slice(start, half), wanted):
            start, count = start + half, count - half
        else:
            count = half
    return start if count and not _fits(given.slice(start, 1), wanted) else None


def _fits(part: Any, wanted: Any) -> bool:
    try:
        part.cast(wanted)
    except pa.ArrowInvalid:
        return False
    return True


# -- one function for each kind ------------------------------------------------------------------


def _text(given: Any, column: Column) -> Any:
    if _is_text(given.type):
        return _valid_text(given)
    raise _wrong(given, column)


def _is_text(given: Any) -> bool:
    return bool(
        is_type.is_string(given) or is_type.is_large_string(given) or is_type.is_string_view(given)
    )


def _valid_text(given: Any) -> Any:
    try:
        given.validate(full=True)  # a stream of others may hold bytes that are not UTF-8
    except pa.ArrowInvalid:
        raise _Unfit("holds bytes that are not text", "text in UTF-8") from None
    return given.cast(pa.large_string()) if is_type.is_string_view(given.type) else given


def _integer(given: Any, column: Column) -> Any:
    if is_type.is_floating(given.type):
        raise _wrong(
            given, column, "; where no value is lost, cast it: floats are not rounded here"
        )
    whole = is_type.is_decimal(given.type) and given.type.scale == 0
    if not (is_type.is_integer(given.type) or whole):
        raise _wrong(given, column)
    return _cast(given, pa.int64(), "does not fit 64 bits", "an integer within 64 bits")


def _real(given: Any, column: Column) -> Any:
    if is_type.is_floating(given.type):
        wide = given.cast(pa.float32()) if is_type.is_float16(given.type) else given
        return wide.cast(pa.float64())
    if not is_type.is_integer(given.type):
        raise _wrong(given, column, "; decimals are not rounded to floats here: cast them")
    return _equal_floats(given)


def _equal_floats(given: Any) -> Any:
    """The floats equal to *given* integers. Not Arrow's safe cast: that ends at 2**53."""
    reals = given.cast(pa.float64(), safe=False)
    # Below the type's own end the way back is exact, so a difference means there is no equal;
    # beyond it (2**63 - 1 is rounded to 2**63), what the way back gives is the processor's affair.
    unequal = pc.not_equal(reals.cast(given.type, safe=False), given)
    if is_type.is_int64(given.type) or is_type.is_uint64(given.type):
        end = 2.0 ** (63 if is_type.is_int64(given.type) else 64)
        unequal = pc.or_(unequal, pc.greater_equal(reals, end))
    row = first(unequal)
    if row is not None:
        raise _Unfit("holds an integer that has no equal float", "float64", row)
    return reals


def _decimal(given: Any, column: Column) -> Any:
    wanted = arrow_type(column)
    if is_type.is_string(wanted):
        return _text(given, column)
    if is_type.is_integer(given.type):
        given = given.cast(pa.decimal256(20, 0))
    if not is_type.is_decimal(given.type):
        raise _wrong(given, column, "; floats and text are cast to decimals by whoever knows how")
    wide = given.cast(pa.decimal256(given.type.precision, given.type.scale))
    return _plain_decimals(_cast(wide, wanted, "does not fit", column.expected))


def _plain_decimals(given: Any) -> Any:
    """Decimals as canonical text: plain notation, no trailing zeros."""
    chunks = [_plain_texts(chunk) for chunk in given.chunks]
    return pa.chunked_array(chunks, pa.string())


def _plain_texts(given: Any) -> Any:
    texts = given.cast(pa.string())
    scientific = pc.fill_null(pc.match_substring(texts, "E"), False)  # Arrow writes 0 as 0E-18
    plain = [plain_decimal(Decimal(text)) for text in texts.filter(scientific).to_pylist()]
    if given.type.scale > 0:
        texts = pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), ".")
    return pc.replace_with_mask(texts, scientific, pa.array(plain, pa.string()))


def _boolean(given: Any, column: Column) -> Any:
    if not is_type.is_boolean(given.type):
        raise _wrong(given, column)
    return given


def _timestamp(given: Any, column: Column) -> Any:
    if not is_type.is_timestamp(given.type):
        raise _wrong(given, column, "; from epoch numbers, cast to a timestamp of their unit first")
    if given.type.tz is None:
        raise _wrong(given, column, "; a naive timestamp has no zone: if it means UTC, cast it to "
                     f"timestamp[{given.type.unit}, tz=UTC], or tz_localize it")  # fmt: skip
    micro = _cast(
        given, pa.timestamp("us", given.type.tz),
        "holds an instant finer than a microsecond, or out of range",
        "microseconds; floor it, and keep the nanoseconds in an integer column",
    )  # fmt: skip
    numbers = micro.cast(pa.int64())
    outside = pc.or_(pc.less(numbers, _FIRST_INSTANT), pc.greater(numbers, _LAST_INSTANT))
    row = first(outside)
    if row is not None:
        raise _Unfit("is out of range", "an instant of the years 1 to 9999", row)
    return numbers


_FIRST_INSTANT: Final = -62_135_596_800_000_000  # 0001-01-01
_LAST_INSTANT: Final = 253_402_300_799_999_999  # 9999-12-31
_FIRST_DAY: Final = -719_162
_LAST_DAY: Final = 2_932_896


def _date(given: Any, column: Column) -> Any:
    if not is_type.is_date(given.type):
        raise _wrong(given, column)
    days = _cast(given, pa.date32(), "holds part of a day", "whole days").cast(pa.int32())
    row = first(pc.or_(pc.less(days, _FIRST_DAY), pc.greater(days, _LAST_DAY)))
    if row is not None:
        raise _Unfit("is out of range", "a date of the years 1 to 9999", row)
    return days.cast(pa.date32()).cast(pa.string())


def _uuid(given: Any, column: Column) -> Any:
    binary = is_type.is_fixed_size_binary(given.type) and given.type.byte_width == 16
    if not (binary or _is_text(given.type)):
        raise _wrong(given, column, ", arrow.uuid or fixed_size_binary(16)")
    return _each(given, lambda v: str(UUID(bytes=v) if binary else UUID(v)), "is no UUID")


def _binary(given: Any, column: Column) -> Any:
    kinds = (
        is_type.is_binary, is_type.is_large_binary,
        is_type.is_binary_view, is_type.is_fixed_size_binary,
    )  # fmt: skip
    if not any(is_kind(given.type) for is_kind in kinds):
        raise _wrong(given, column)
    return given.cast(pa.large_binary()) if is_type.is_binary_view(given.type) else given


def _document(given: Any, column: Column) -> Any:
    if not _is_text(given.type):
        raise _wrong(given, column, " of JSON: lists and structs cannot tell null from missing")
    # Equal texts are read once: raw exchange data repeats little, details and settings much.
    known: dict[str, str] = {}

    def canonical(text: str) -> str:
        found = known.get(text)
        if found is None:
            found = documents.normalise(text)
            if len(known) < 1_000:
                known[text] = found
        return found

    return _each(_valid_text(given), canonical, "is no JSON document")


def _each(given: Any, convert: Callable[[Any], str], message: str) -> Any:
    """Each non-null value converted in Python."""
    out, row = [], 0
    for chunk in given.chunks:
        if chunk.null_count == len(chunk):
            out.append(pa.nulls(len(chunk), pa.string()))
            row += len(chunk)
            continue
        made = []
        for value in chunk.to_pylist():
            try:
                made.append(None if value is None else convert(value))
            except (ValueError, Corrupt) as error:
                raise _Unfit(f"{message}: {error}", row=row) from None
            row += 1
        out.append(pa.array(made, pa.string()))
    return pa.chunked_array(out, pa.string())


_CONVERSIONS: Final[dict[Kind, Callable[[Any, Column], Any]]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.REAL: _real,
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMP: _timestamp,
    Kind.DATE: _date,
    Kind.UUID: _uuid,
    Kind.BINARY: _binary,
    Kind.DOCUMENT: _document,
}
