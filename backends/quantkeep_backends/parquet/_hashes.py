"""Hashes of what rows are known by, eight bytes for each: they tell that a value is not there."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Key

_FACTOR: Final = 0x5851F42D4C957F2D  # mixes the columns of one value
_NULL: Final = 0x1E3779B97F4A7C15
_SAMPLE: Final = 8_192  # rows that tell whether values of a column repeat


class Hashes:
    """Those of the rows of a segment, or of rows to be appended.

    Attributes:
        values: an int64 array.
    """

    def __init__(self, values: Any) -> None:
        self.values = values.drop_null()
        self._sorted: array[int] | None = None

    def __len__(self) -> int:
        count: int = len(self.values)
        return count

    def has(self, value: Key) -> bool:
        """Whether *value* may be among them."""
        if self._sorted is None:
            self._sorted = array("q")
            self._sorted.frombytes(self.values.take(pc.sort_indices(self.values)).buffers()[1])
        wanted = of_value(value)
        place = bisect_left(self._sorted, wanted)
        return place < len(self._sorted) and self._sorted[place] == wanted

    def repeat(self) -> bool:
        """Whether two of them are the same."""
        return bool(len(pc.unique(self.values)) < len(self))

    def meet(self, others: Iterable["Hashes"]) -> bool:
        """Whether one of them is among *others* too."""
        theirs = pa.chunked_array([other.values for other in others], pa.int64())
        less, more = sorted((self.values, theirs), key=len)
        return bool(len(less)) and bool(pc.any(pc.is_in(more, value_set=less)).as_py())


def of_values(values: Iterable[Key]) -> Hashes:
    """The hashes of *values*, one by one."""
    return Hashes(_numbers(map(of_value, values)))


def of_value(value: Key) -> int:
    """The hash of what a row has in some columns."""
    mixed = 0
    for part in value:
        mixed = mixed * _FACTOR + (_NULL if part is None else _of_part(part))
    return _wrapped(mixed)


def of_columns(columns: Sequence[Any], optional: int = 0) -> Any:
    """As :func:`of_value`, of every row.

    Args:
        columns: canonical ones.
        optional: how many of them, from the end: a row in which one of these is null has no hash.
    """
    mixed = pa.scalar(0, pa.int64())
    for left, column in zip(range(len(columns), 0, -1), columns, strict=True):
        parts = _of_column(column)
        known = parts if left <= optional else pc.fill_null(parts, _NULL)
        mixed = pc.add(pc.multiply(mixed, _FACTOR), known)  # both wrap around
    return mixed


def _of_part(part: Any) -> int:
    return part if isinstance(part, int) else hash(part)


def _of_column(column: Any) -> Any:
    """The hash of each value; null where it is."""
    if pa.types.is_boolean(column.type) or pa.types.is_integer(column.type):
        return _one(column.cast(pa.int64()))
    if pc.count_distinct(column.slice(0, _SAMPLE)).as_py() * 8 <= min(len(column), _SAMPLE):
        encoded = _one(column).dictionary_encode()
        return _hashed(encoded.dictionary).take(encoded.indices)
    return _hashed(column)


def _hashed(column: Any) -> Any:
    hashes = _numbers(map(hash, column.to_pylist()))
    return pc.if_else(_one(column).is_valid(), hashes, None) if column.null_count else hashes


def _numbers(values: Iterable[int]) -> Any:
    found = array("q", values)
    return pa.Array.from_buffers(pa.int64(), len(found), [None, pa.py_buffer(found)])


def _one(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _wrapped(number: int) -> int:
    """*number* as Arrow has it, whose integers of 64 bits wrap around."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
