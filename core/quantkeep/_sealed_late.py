"""Rows of a long append, sealed while a backend reads them: its server works meanwhile."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from quantkeep.collection import SealedRow

MANY: Final = 65  # records from which it is worth it
_PORTION: Final = 50  # records that are sealed at once


class LateRows:
    """Sealed rows of *records*, in order; ``len()`` counts them all.

    Each is sealed once, when it is first read, and kept: a commit that is tried again reads the
    same rows. Reading raises what *seal_onto* raises, each time.

    Args:
        records: what is to be appended; nobody changes it until the commit has returned.
        seal_onto: puts the rows of some records behind those that are sealed.
    """

    def __init__(
        self,
        records: Sequence[Any],
        seal_onto: Callable[[list[SealedRow], Iterable[Any]], None],
    ) -> None:
        self._records = records
        self._seal_onto = seal_onto
        self._rows: list[SealedRow] = []

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[SealedRow]:
        read = 0
        while read < len(self._records):
            if read == len(self._rows):
                self._seal_onto(self._rows, self._records[read : read + _PORTION])
            portion = self._rows[read : read + _PORTION]
            yield from portion
            read += len(portion)
