"""What this handle knows of keyed records that it wrote: guesses, which save a question each.

A guess is never trusted: the statement that rests on it changes the row only if its revision and
digest are still as remembered, so whatever another writer did in between is noticed, and the batch
is applied again, carefully. So memory may be behind, and what is forgotten costs time alone.
"""

import threading
from typing import Any, Final, NamedTuple

from quantkeep.batch import Anything, AtRevision, Expectation, Present
from quantkeep.collection import Collection, Key

_MOST: Final = 16_384  # records


class Known(NamedTuple):
    """What is stored under a key."""

    rowid: int
    revision: int
    created_at: int
    digest: bytes
    token: Any = None  # the fencing token, of records that have one
    steady: tuple[Any, ...] = ()


class Misjudged(Exception):  # no error: the batch is applied again, with care
    """A quick way did not do: entries may be there already, or records are not as remembered."""


class Remembered:
    """The records this handle wrote last, by collection and key; threads may share it."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, Key], Known] = {}
        self._lock = threading.Lock()

    def find(self, collection: Collection, key: Key, expect: Expectation) -> Known | None:
        """The record known by *key*, if all that *expect* asks of it is in a guess."""
        known = self._records.get((collection.name, key))
        if known is None or collection.immutable:
            return None
        if isinstance(expect, AtRevision):
            return known if expect.revision == known.revision else None
        return known if isinstance(expect, Anything | Present) else None

    def note(self, written: dict[tuple[str, Key], Known | None]) -> None:
        """Remember what was committed; ``None`` for what was deleted."""
        records = self._records
        with self._lock:
            for place, known in written.items():
                records.pop(place, None)  # what was written last stands last
                if known is not None:
                    records[place] = known
            while len(records) > _MOST:
                del records[next(iter(records))]
