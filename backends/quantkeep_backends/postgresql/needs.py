"""What a batch will touch: found out before anything is asked of the server."""

from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from quantkeep.batch import Absent, Append, Batch, Delete, Put, Require
from quantkeep.collection import Collection, Key, SealedRow

FEW: Final = 64  # entries of one append that are looked up, and inserted, one by one

# Locks of rows from weak to strong; a delete excludes references to the row too
SHARED: Final = "FOR SHARE"
CHANGED: Final = "FOR NO KEY UPDATE"
GONE: Final = "FOR UPDATE"
_STRENGTH: Final = (SHARED, CHANGED, GONE)


@attrs.define
class Needs:
    """What a batch will touch; and whether it *copies*, which may take long."""

    copies: bool = False
    tables: set[str] = attrs.field(factory=set)  # in which nothing may be added
    streams: dict[tuple[str, Key], tuple[Collection, Key]] = attrs.field(factory=dict)
    rows: dict[tuple[str, Key], tuple[Collection, str]] = attrs.field(factory=dict)
    entries: dict[tuple[str, Key], tuple[Collection, list[Key]]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, batch: Batch) -> "Needs":
        needed = cls()
        for write in batch.writes:
            match write:
                case Put(collection, row):
                    needed._stream(collection, row)
                    needed._row(collection, collection.key_of(row.values), CHANGED)
                case Append(collection, rows):
                    needed._append(collection, rows)
                case Delete(collection, key):
                    needed._row(collection, key, GONE)
                case Require(collection, key, expect):
                    needed._row(collection, key, SHARED)
                    if isinstance(expect, Absent):
                        needed.tables.add(collection.name)
        return needed

    def in_order(self) -> Iterator[tuple[Collection, Key]]:
        """The streams, in the order in which all writers lock them."""
        for _, place in sorted(self.streams.items(), key=lambda item: repr(item[0])):
            yield place

    def alike(self) -> dict[tuple[Collection, str], list[Key]]:
        """The rows, by what can be asked for together: a null has a condition of its own."""
        alike: dict[tuple[Collection, str], list[Key]] = {}
        for (_, key), (collection, lock) in self.rows.items():
            alike.setdefault((collection, lock), []).append(key)
        return alike

    def _stream(self, collection: Collection, row: SealedRow) -> None:
        stream = collection.stream_of(row.values)
        self.streams.setdefault((collection.name, stream), (collection, stream))

    def _row(self, collection: Collection, key: Key, lock: str) -> None:
        _, before = self.rows.get((collection.name, key), (None, lock))
        strongest = max(before, lock, key=_STRENGTH.index)
        self.rows[collection.name, key] = (collection, strongest)

    def _append(self, collection: Collection, rows: Iterable[SealedRow]) -> None:
        if not isinstance(rows, list | tuple):
            self.copies = True  # its streams are found out on the way
            return
        if not rows:
            return
        self.copies |= len(rows) > FEW
        self._stream(collection, rows[0])
        if len(rows) <= FEW:
            for row in rows:
                self._stream(collection, row)
                self.entry(collection, row)

    def entry(self, collection: Collection, row: SealedRow) -> None:
        """Note the identity of an entry, if it has one."""
        identity = collection.identity_of(row.values)
        if identity and None not in identity:
            stream = collection.stream_of(row.values)
            _, noted = self.entries.setdefault((collection.name, stream), (collection, []))
            noted.append(identity)
