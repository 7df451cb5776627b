"""Floats that are short decimals, kept as Parquet DECIMAL: exact, and half the bytes.

``101.25`` is the float nearest to 10125 / 100, and dividing the two gives it back, bit for bit, as
long as the integer is below 2**53. Arrow's own cast from decimals does not, so it is not used.

A decimal has no -0.0, which rounding makes of every small loss. Where a column has some, a column
of booleans beside it says which.
"""

from math import isfinite
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

MOST_DIGITS: Final = 8  # after the point; real prices have no more
_LARGEST: Final = 2**53
_PRECISION: Final = 18  # what an INT64 of Parquet holds
_SAMPLE: Final = 16


def bits(floats: Any) -> Any:
    """The bits of a float array, as integers: NaN and -0.0 are told apart by them."""
    if isinstance(floats, pa.ChunkedArray):
        floats = floats.combine_chunks()
    return floats.view(pa.int64())


def same_bits(floats: Any, others: Any) -> bool:
    """Whether two arrays are the same, bit for bit, nulls included."""
    if floats.null_count or others.null_count:
        if not floats.is_null().equals(others.is_null()):
            return False
        floats, others = floats.drop_null(), others.drop_null()
    return bool(bits(floats).equals(bits(others)))


def negative_zeros(floats: Any) -> Any:
    """Which of *floats* are -0.0."""
    return pc.equal(bits(floats), -(2**63))


def has_negative_zeros(floats: Any) -> bool:
    """Whether one of *floats* is -0.0."""
    return bool(pc.any(negative_zeros(floats)).as_py())


def digits_of(floats: Any) -> int | None:
    """Digits after the point of all of *floats*; ``None`` if they are no short decimals.

    -0.0 counts as 0.0.
    """
    digits = max(map(_digits, floats.drop_null().slice(0, _SAMPLE).to_pylist()), default=0)
    if digits > MOST_DIGITS:
        return None
    wider = range(digits, MOST_DIGITS + 1)  # the sample may be too short to tell
    return next((n for n in wider if _scaled(floats, n) is not None), None)


def _digits(value: float) -> int:
    """Digits after the point of the shortest decimal that means *value*."""
    text = repr(value)
    if "e" in text or not isfinite(value):
        return 0 if value.is_integer() else MOST_DIGITS + 1
    return len(text.partition(".")[2].rstrip("0"))


def to_decimals(floats: Any, digits: int) -> Any | None:
    """*floats* as decimals of that many digits after the point; ``None`` if one is none.

    -0.0 becomes 0.
    """
    scaled = _scaled(floats, digits)
    if scaled is None:
        return None
    return pa.Array.from_buffers(
        pa.decimal64(_PRECISION, digits), len(scaled), scaled.buffers(), scaled.null_count,
        scaled.offset,
    )  # fmt: skip


def from_decimals(decimals: Any, digits: int, negative: Any | None = None) -> Any:
    """The floats that :func:`to_decimals` was given; *negative* says which zeros were.

    Parquet's decimals come as 128 bits. Taken as whole numbers, which are below 2**53, they become
    floats exactly.
    """
    whole = pa.Array.from_buffers(
        pa.decimal128(_PRECISION, 0), len(decimals), decimals.buffers(), decimals.null_count,
        decimals.offset,
    )  # fmt: skip
    floats = _floats(whole, digits)
    return floats if negative is None else pc.if_else(negative, -0.0, floats)


def _scaled(floats: Any, digits: int) -> Any | None:
    """The integers that *floats* are 10**-digits of, if each of them is such a one."""
    if not len(floats) or floats.null_count == len(floats):
        return floats.cast(pa.int64())
    whole = pc.round(pc.multiply(floats, 10.0**digits), ndigits=0, round_mode="half_to_even")
    try:
        integers = whole.cast(pa.int64())
    except pa.ArrowInvalid:  # not finite, or beyond 64 bits
        return None
    low, high = pc.min_max(integers).as_py().values()
    if low <= -_LARGEST or high >= _LARGEST:
        return None
    positive = pc.add(floats, 0.0)  # -0.0 + 0.0 is 0.0, and all others stay what they are
    return integers if same_bits(_floats(integers, digits), positive) else None


def _floats(integers: Any, digits: int) -> Any:
    return pc.divide(integers.cast(pa.float64()), 10.0**digits)
