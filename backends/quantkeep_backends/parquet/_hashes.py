"""Hashes of what rows are known by, eight bytes for each: they tell that a value is not there.

They are kept in files, so the functions here give the same in every process and for good: other
ones would need another name in :class:`~quantkeep_backends.parquet._segments.Segment`.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Key
from quantkeep_backends.parquet._columns import one

_FACTOR: Final = 0x5851F42D4C957F2D  # mixes the columns of one value, and the words of a text
_NULL: Final = 0x1E3779B97F4A7C15
_WORD: Final = 8  # bytes
_SHORT: Final = 64  # bytes of a text that is hashed by column; longer ones are taken one by one
_SAMPLE: Final = 8_192  # rows that tell whether values of a column repeat
_SLOTS: Final = 8  # for each hash: most others fall into another slot


class Hashes:
    """Those of the rows of a segment, or of rows to be appended.

    Args:
        values: an int64 array, or a chunked one; nulls are left out.
        is_sorted: whether they ascend already.
    """

    def __init__(self, values: Any, *, is_sorted: bool = False) -> None:
        values = values.drop_null() if values.null_count else values
        self.values = one(values)
        self._is_sorted = is_sorted
        self._view: memoryview | None = None

    def __len__(self) -> int:
        count: int = len(self.values)
        return count

    @classmethod
    def from_bytes(cls, data: bytes) -> "Hashes":
        """What :meth:`to_bytes` gave."""
        return cls(_integers(pa.py_buffer(data)), is_sorted=True)

    def to_bytes(self) -> bytes:
        """In ascending order, eight bytes each, the least of which comes first."""
        return bytes(self._sorted())

    def has(self, wanted: int) -> bool:
        """Whether *wanted*, the hash of a value, is among them."""
        if self._view is None:
            self._view = self._sorted().cast("q")
        place = bisect_left(self._view, wanted)
        return place < len(self._view) and self._view[place] == wanted

    def repeat(self) -> bool:
        """Whether two of them are the same."""
        return bool(len(pc.unique(self.values)) < len(self))

    def meet(self, others: Iterable["Hashes"]) -> bool:
        """Whether one of them is among *others* too."""
        theirs = [other.values for other in others]
        if not len(self):
            return False
        if sum(map(len, theirs)) > len(self):
            slots = _Slots(self.values)
            theirs = [slots.may_have(values) for values in theirs]
        both = (self.values, pa.chunked_array(theirs, pa.int64()))
        less, more = sorted(both, key=len)
        return bool(pc.any(pc.is_in(more, value_set=less)).as_py())

    def _sorted(self) -> memoryview:
        """The bytes of them, in ascending order."""
        if not self._is_sorted:
            self.values = self.values.take(pc.sort_indices(self.values))
            self._is_sorted = True
        start = self.values.offset * _WORD
        return memoryview(self.values.buffers()[1])[start : start + len(self) * _WORD]


class _Slots:
    """A table in which each of *hashes* has a slot: it tells that most others are not there.

    The processor has it at hand, which it has not what a search would have to look at.
    """

    def __init__(self, hashes: Any) -> None:
        self._bits = (len(hashes) * _SLOTS).bit_length()
        there = pa.repeat(pa.scalar(value=True), len(hashes))
        self._there = pc.scatter(there, self._of(hashes), max_index=(1 << self._bits) - 1)

    def may_have(self, hashes: Any) -> Any:
        """Those of *hashes* that are not known to be none of ours."""
        return hashes.filter(self._there.take(self._of(hashes)))

    def _of(self, hashes: Any) -> Any:
        mixed = pc.shift_right(pc.multiply(hashes, _FACTOR), 64 - self._bits)
        return pc.bit_wise_and(mixed, (1 << self._bits) - 1).cast(pa.int32())


# -- one by one ------------------------------------------------------------------------------------


def of_values(values: Iterable[Key]) -> Hashes:
    """The hashes of *values*, one by one."""
    found = array("q", map(of_value, values))
    return Hashes(_integers(pa.py_buffer(found)))


def of_value(value: Key) -> int:
    """The hash of what a row has in some columns."""
    mixed = 0
    for part in value:
        mixed = mixed * _FACTOR + (_NULL if part is None else _of_part(part))
    return _wrapped(mixed)


def _of_part(part: Any) -> int:
    if isinstance(part, int):
        return part
    if isinstance(part, float):
        number: int = struct.unpack("<q", struct.pack("<d", part + 0.0))[0]  # of -0.0 as of 0.0
        return number
    return _of_bytes(part.encode() if isinstance(part, str) else part)


def _of_bytes(data: bytes) -> int:
    """The sum of its words, each times another power of the factor: a polynomial."""
    words = -(-len(data) // _WORD)
    mixed = 0
    for word in reversed(struct.unpack(f"<{words}q", data.ljust(words * _WORD, b"\0"))):
        mixed = (mixed + word) * _FACTOR
    return _wrapped(mixed)


def _wrapped(number: int) -> int:
    """*number* as Arrow has it, whose integers of 64 bits wrap around."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


# -- by column -------------------------------------------------------------------------------------


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


def _of_column(column: Any) -> Any:
    """The hash of each value; null where it is."""
    if pa.types.is_boolean(column.type) or pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    if pa.types.is_floating(column.type):
        return _by_chunk(column, lambda chunk: pc.add(chunk, 0.0).view(pa.int64()))
    if pc.count_distinct(column.slice(0, _SAMPLE)).as_py() * 8 <= min(len(column), _SAMPLE):
        encoded = one(column).dictionary_encode()
        return _by_chunk(encoded.dictionary, _of_texts).take(encoded.indices)
    return _by_chunk(column, _of_texts)


def _by_chunk(column: Any, of_chunk: Any) -> Any:
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([of_chunk(chunk) for chunk in column.chunks], pa.int64())
    return of_chunk(column)


def _of_texts(texts: Any) -> Any:
    """As :func:`_of_bytes`, of an array of texts or bytes."""
    data = pc.fill_null(texts.cast(pa.binary()), b"")
    lengths = pc.binary_length(data)
    longest = pc.max(lengths).as_py() or 0
    if longest <= _SHORT:
        hashes = _of_short(data, -(-longest // _WORD))
    else:
        long = pc.greater(lengths, _SHORT)
        each = pa.array([*map(_of_bytes, data.filter(long).to_pylist())], pa.int64())
        short = _of_short(pc.binary_slice(data, 0, _SHORT), _SHORT // _WORD)
        hashes = pc.replace_with_mask(short, long, each)
    return pc.if_else(texts.is_valid(), hashes, None) if texts.null_count else hashes


def _of_short(data: Any, words: int) -> Any:
    """Of bytes that are no more than *words* words: with zeros behind them a word is a slice."""
    mixed = pa.repeat(pa.scalar(0, pa.int64()), len(data))
    padded = pc.binary_join_element_wise(data, b"\0" * (words * _WORD), b"")
    for number in reversed(range(words)):
        word = pc.binary_slice(padded, number * _WORD, (number + 1) * _WORD)
        mixed = pc.multiply(pc.add(mixed, _integers(word.buffers()[2], len(data))), _FACTOR)
    return mixed


def _integers(buffer: Any, count: int | None = None) -> Any:
    return pa.Array.from_buffers(
        pa.int64(), len(buffer) // _WORD if count is None else count, [None, buffer]
    )
