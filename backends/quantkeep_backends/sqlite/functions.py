"""Functions that every connection is given, for what SQLite cannot compute exactly itself.

None of them is used by the schema, so that any program can read, and even write, the file.
"""

import math
import sqlite3
import struct
from array import array
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any, Final

from quantkeep.query import Function, quotient

_NINES: Final = str.maketrans("0123456789", "9876543210")
_WIDTH: Final = 5  # digits that count the digits before the point
_PRECISION: Final = 200  # of sums, as in quantkeep.query
_CHUNK: Final = 4096
_REAL: Final = struct.Struct(">d")


# -- decimals -------------------------------------------------------------------------------------


def decimal_key(text: str | None) -> str | None:
    """A text that sorts by code point as the canonical decimal *text* does by value."""
    if text is None or text == "0":
        return text and "1"
    whole, _, fraction = text.lstrip("-").partition(".")
    whole = whole.lstrip("0")
    digits = f"{len(whole):0{_WIDTH}}{whole}{fraction}"
    return f"0{digits.translate(_NINES)}~" if text[0] == "-" else f"2{digits}"


def decimal_of_key(key: str) -> str:
    """The canonical decimal that has this :func:`decimal_key`."""
    if key == "1":
        return "0"
    digits = key[1:-1].translate(_NINES) if key[0] == "0" else key[1:]
    width, digits = int(digits[:_WIDTH]), digits[_WIDTH:]
    whole, fraction = digits[:width] or "0", digits[width:]
    return ("-" if key[0] == "0" else "") + whole + (f".{fraction}" if fraction else "")


class _DecimalTotal:
    function: Function = "sum"

    def __init__(self) -> None:
        self._context = Context(prec=_PRECISION)
        self._amount = Decimal(0)
        self._count = 0

    def step(self, text: str | None) -> None:
        if text is not None:
            value = Decimal(text)
            self._amount = self._context.add(self._amount, self._value(value))
            self._count += 1

    def _value(self, value: Decimal) -> Decimal:
        return abs(value) if self.function == "mean_abs" else value

    def finalize(self) -> str | None:
        if not self._count:
            return None
        return str(self._amount if self.function == "sum" else quotient(self._amount, self._count))


class _DecimalMean(_DecimalTotal):
    function = "mean"


class _DecimalMeanAbs(_DecimalTotal):
    function = "mean_abs"


# -- integers beyond 64 bits, and reals ------------------------------------------------------------


class _IntegerTotal:
    """Exact, however large it grows; told in digits, because SQLite's integers end at 64 bits."""

    def __init__(self) -> None:
        self._amount = 0
        self._count = 0

    def step(self, value: int | None) -> None:
        if value is not None:
            self._amount += value
            self._count += 1

    def finalize(self) -> str | None:
        return str(self._amount) if self._count else None


class _IntegerTotalAbs(_IntegerTotal):
    def step(self, value: int | None) -> None:
        super().step(None if value is None else abs(value))


class _RealTotal:
    """Rounded once: each chunk leaves its sum, and what the sum lost."""

    def __init__(self) -> None:
        self._chunk = array("d")
        self._parts: list[float] = []
        self._count = 0

    def step(self, value: Any) -> None:
        if value is None:
            return
        self._chunk.append(_REAL.unpack(value)[0] if type(value) is bytes else value)
        self._count += 1
        if len(self._chunk) == _CHUNK:
            self._fold()

    def _fold(self) -> None:
        total = _total(self._chunk)
        lost = _total([*self._chunk, -total]) if math.isfinite(total) else 0.0
        self._parts += (total, lost)
        del self._chunk[:]

    def finalize(self) -> float | bytes | None:
        if not self._count:
            return None
        return real_for_sqlite(_total([*self._parts, *self._chunk]))


class _RealTotalAbs(_RealTotal):
    def step(self, value: Any) -> None:
        super().step(abs(value) if type(value) is float else value)


def _total(values: "Sequence[float] | array[float]") -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # past the largest float, or inf - inf
        return sum(values)


def real_for_sqlite(value: float) -> float | bytes:
    """What is bound for a real: SQLite would make NULL of NaN, so its eight bytes are stored."""
    return value if value == value else _REAL.pack(value)


def real_from_sqlite(stored: Any) -> Any:
    """The real that :func:`real_for_sqlite` was given."""
    return _REAL.unpack(stored)[0] if type(stored) is bytes and len(stored) == 8 else stored


# -- registration ----------------------------------------------------------------------------------

_AGGREGATES: Final[dict[str, type[Any]]] = {
    "quantkeep_decimal_sum": _DecimalTotal,
    "quantkeep_decimal_mean": _DecimalMean,
    "quantkeep_decimal_mean_abs": _DecimalMeanAbs,
    "quantkeep_integer_sum": _IntegerTotal,
    "quantkeep_integer_sum_abs": _IntegerTotalAbs,
    "quantkeep_real_sum": _RealTotal,
    "quantkeep_real_sum_abs": _RealTotalAbs,
}


def register(connection: sqlite3.Connection) -> None:
    """Give *connection* the functions that queries use."""
    connection.create_function("quantkeep_decimal_key", 1, decimal_key, deterministic=True)
    for name, aggregate in _AGGREGATES.items():
        connection.create_aggregate(name, 1, aggregate)
