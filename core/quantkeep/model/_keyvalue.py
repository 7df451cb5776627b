"""A shelf in an ordered key-value store: LMDB, RocksDB and their like.

Engines limit the length of keys, so each of ours is a hash, except that the rows of a log end in
their revision: those of one stream stand together, in its order.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Protocol

from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.contract import flipped
from quantkeep.errors import Corrupt
from quantkeep.model._packing import hashed, pack, plain, scalar_of, unpack
from quantkeep.model._shelf import Group, Shelf


class KeyValue(Protocol):
    """One transaction of an engine: sees what it wrote itself, and is rolled back if refused.

    Keys are ``bytes``, of 65 at most, or of 42 and the name of a collection. Values are ``bytes``:
    a blob of up to 4 MiB, or a whole row, which may have several columns of up to 16 MiB each.
    Hand back ``bytes`` too, not a view of the engine's own memory.
    """

    def get(self, key: bytes) -> bytes | None:
        """What stands under *key*."""

    def put(self, key: bytes, value: bytes) -> object:
        """Write *value* under *key*, replacing what is there; what it returns is not looked at."""

    def delete(self, key: bytes) -> object:
        """Remove *key*, if it is there; what it returns is not looked at."""

    def range(self, prefix: bytes, *, backwards: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Every key that begins with *prefix*, with its value, in the order of their bytes.

        *backwards*, the last comes first. It may be read in one go, or row by row.

        Within a transaction, none of its methods is called between two rows of a range, and no two
        ranges are read in turns: one cursor is enough. A range may be left before its end, and let
        go of after the end of the transaction. The transaction of a :meth:`KeyValueKeep.scan` stays
        open, though, for as long as its caller takes, who begins others meanwhile. An engine that
        has one transaction at a time reads the whole scan at once (``iter([*keep.scan(...)])``).
        """


class KeyValueShelf(Shelf):
    """Rows as JSON, under keys of at most 42 bytes and the name of the collection.

    The first byte of a key is one of ``r`` (rows), ``h`` (heads), ``t`` (what is taken in a unique
    group) and ``f`` (who refers to it).
    """

    def __init__(self, collection: Collection, engine: KeyValue) -> None:
        super().__init__(collection)
        self._engine = engine
        self._name = collection.name.encode() + b"\0"

    # -- rows ------------------------------------------------------------------------------------

    def row(self, key: Key) -> StoredRow | None:
        data = self._engine.get(self._place(key))
        return None if data is None else self._unpacked(data)

    def rows(self) -> Iterator[StoredRow]:
        """All rows, in no order."""
        return (self._unpacked(data) for _, data in self._engine.range(b"r" + self._name))

    def stream(self, stream: Key, *, newest_first: bool = False) -> Iterator[StoredRow]:
        """The rows of one stream of a log, by revision."""
        place = b"r" + self._name + hashed(*stream)
        return (self._unpacked(d) for _, d in self._engine.range(place, backwards=newest_first))

    def count(self) -> int:
        """How many rows there are."""
        return sum(1 for _ in self._engine.range(b"r" + self._name))

    def write(self, row: StoredRow) -> None:
        """Put *row* in its place, and touch nothing else."""
        values = zip(self.collection.names, row.values, strict=True)
        said = {name: plain(value) for name, value in values if value is not None}
        envelope = [*row[1:5], row.digest.hex()]
        place = self._place(self.collection.stored_key(row))
        self._engine.put(place, json.dumps([*envelope, said], ensure_ascii=False).encode())

    def erase(self, key: Key) -> None:
        """Take the row out of its place, and touch nothing else."""
        self._engine.delete(self._place(key))

    def flip(self, key: Key, column: str) -> None:
        """As :meth:`Backdoor.flip`."""
        row, place = self.row(key), self.collection.places[column]
        if row is not None:
            before, after = row.values[:place], row.values[place + 1 :]
            self.write(row._replace(values=(*before, flipped(row.values[place]), *after)))

    def _place(self, key: Key) -> bytes:
        if self.collection.log:
            *stream, revision = key
            return b"r" + self._name + hashed(*stream) + struct.pack(">q", revision)
        return b"r" + self._name + hashed(*key)

    def _unpacked(self, data: bytes) -> StoredRow:
        """A column that was added since is null; raises :class:`Corrupt`."""
        try:
            revision, created, updated, version, digest, said = json.loads(data)
            values = tuple([scalar_of(said.get(name)) for name in self.collection.names])
            return StoredRow(values, revision, created, updated, version, bytes.fromhex(digest))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise Corrupt(f"{self.collection.name}: a row cannot be read: {error}") from None

    # -- what constraints ask ----------------------------------------------------------------------

    def head(self, stream: Key) -> int:
        data = self._engine.get(b"h" + self._name + hashed(*stream))
        return 0 if data is None else int(unpack(data)[-1])  # type: ignore[arg-type]  # a revision

    def heads(self) -> Iterator[tuple[Key, int]]:
        """Each stream, and its head."""
        for _, data in self._engine.range(b"h" + self._name):
            *stream, head = unpack(data)
            yield tuple(stream), int(head)  # type: ignore[arg-type]  # a revision

    def holder(self, group: Group, value: Key) -> Key | None:
        data = self._engine.get(self._taken(group, value))
        return None if data is None else unpack(data)

    def referring(self, columns: Sequence[str], key: Key) -> list[Key]:
        return [unpack(data) for _, data in self._engine.range(self._referred(columns, key))]

    def add(self, row: StoredRow) -> None:
        self.write(row)
        stream = self.collection.stream_of(row.values)
        if row.revision > self.head(stream):
            self._engine.put(b"h" + self._name + hashed(*stream), pack(*stream, row.revision))
        for place in self._links(row):
            self._engine.put(place, pack(*self.collection.stored_key(row)))

    def drop(self, key: Key) -> StoredRow:
        row = self.row(key)
        assert row is not None, f"{self.collection.name} {key!r} is not there"
        self.erase(key)
        for place in self._links(row):
            self._engine.delete(place)
        return row

    def relinked(self, collection: Collection) -> None:
        """Hold the rows that are there to the unique groups and references of *collection*."""
        after = KeyValueShelf(collection, self._engine)
        if (collection.unique, collection.references) != (
            self.collection.unique,
            self.collection.references,
        ):
            for row in [*after.rows()]:
                self.drop(after.collection.stored_key(row))
                after.add(row)

    def _links(self, row: StoredRow) -> Iterator[bytes]:
        """Where else the key of *row* stands."""
        for group, value in self.groups(row.values):
            yield self._taken(group, value)
        mine = hashed(*self.collection.stored_key(row))
        for reference in self.collection.references:
            there = self.collection.pick(reference.columns)(row.values)
            yield self._referred(reference.columns, there) + mine

    def _taken(self, group: Group, value: Key) -> bytes:
        return b"t" + self._name + hashed(*group, *value)

    def _referred(self, columns: Sequence[str], key: Key) -> bytes:
        return b"f" + self._name + hashed(*columns, *key)
