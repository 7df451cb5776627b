"""Hashes of what the rows of a segment are known by, sorted: eight bytes for each."""

from array import array
from bisect import bisect_left

import pyarrow as pa
import pyarrow.compute as pc

Hashes = list[int]


def sorted_hashes(hashes: Hashes) -> "array[int]":
    """*hashes*, in order."""
    given, found = pa.array(hashes, pa.int64()), array("q")
    found.frombytes(given.take(pc.sort_indices(given)).buffers()[1])
    return found


def is_among(wanted: int, hashes: "array[int]") -> bool:
    """Whether *wanted* is one of the sorted *hashes*."""
    place = bisect_left(hashes, wanted)
    return place < len(hashes) and hashes[place] == wanted
