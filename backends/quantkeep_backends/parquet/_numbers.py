"""The revisions of rows that are appended: dense and ascending in each stream."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Key
from quantkeep_backends.parquet._columns import is_constant
from quantkeep_backends.parquet._shelf import LogShelf


class Numbers:
    """Gives rows the next revisions of their streams in *shelf*, which is not changed."""

    def __init__(self, shelf: LogShelf) -> None:
        self._shelf = shelf
        self._heads: dict[Key, int] = {}
        self._given: Sequence[int] = range(0)

    @property
    def given(self) -> Sequence[int]:
        """Those of all rows so far, in their order."""
        return self._given

    def next(self, table: pa.Table) -> Any:
        """Those of the rows of *table*, canonical columns, as a column."""
        stream = [table.column(name) for name in self._shelf.collection.stream]
        if all(map(is_constant, stream)):
            key = tuple(values[0].as_py() for values in stream)
            first = self._head(key) + 1
            self._heads[key] = first + table.num_rows - 1
            self._add(range(first, first + table.num_rows))
            ones = pa.repeat(pa.scalar(1, pa.int64()), table.num_rows)
            return pc.cumulative_sum(ones, start=first - 1)
        revisions = [*map(self._next, zip(*[v.to_pylist() for v in stream], strict=True))]
        self._add(revisions)
        return pa.array(revisions, pa.int64())

    def _next(self, stream: Key) -> int:
        revision = self._heads[stream] = self._head(stream) + 1
        return revision

    def _head(self, stream: Key) -> int:
        return self._heads.get(stream) or self._shelf.head(stream)

    def _add(self, revisions: Sequence[int]) -> None:
        """A range, as long as it is one: a million integers of Python are 32 MB."""
        before = self._given
        if not before:
            self._given = revisions
        elif _follow(before, revisions):
            self._given = range(before[0], revisions[-1] + 1)
        else:
            self._given = [*before, *revisions]


def _follow(before: Sequence[int], revisions: Sequence[int]) -> bool:
    both = isinstance(before, range) and isinstance(revisions, range)
    return both and before[-1] + 1 == revisions[0]
