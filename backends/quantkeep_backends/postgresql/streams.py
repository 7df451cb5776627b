"""Heads of streams: the locks under which revisions are given, and what this handle has seen."""

from typing import Any

from quantkeep.collection import Collection, Key
from quantkeep_backends._sql import seen
from quantkeep_backends._sql.streams import stream_of_text
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.engine import PostgresqlEngine
from quantkeep_backends.postgresql.exchange import Answer
from quantkeep_backends.postgresql.system import STREAMS, text_of


class Seen(seen.Seen[int]):
    """The heads this handle has seen."""

    def __init__(self) -> None:
        super().__init__(int)


class Heads:
    """The statements about heads."""

    def __init__(self, engine: PostgresqlEngine) -> None:
        table = engine.table(STREAMS)
        where = "WHERE collection = $1 AND stream = $2"
        self._lock = f"SELECT head FROM {table} {where} FOR UPDATE"
        self._add = (
            f"INSERT INTO {table} AS s (collection, stream) VALUES ($1, $2) "
            "ON CONFLICT (collection, stream) DO UPDATE SET head = s.head RETURNING head"
        )
        self._advance = f"UPDATE {table} SET head = $3 {where}"
        self._deleted = f"UPDATE {table} SET deleted = deleted + $3 {where}"
        self._all = f"SELECT stream, head FROM {table} WHERE collection = $1"

    def lock(self, link: Link, collection: Collection, stream: Key) -> Answer:
        """Queue: take the lock of *stream*, if it is there, and read its head."""
        return link.queue(self._lock, _named(collection, stream))

    def add(self, link: Link, collection: Collection, stream: Key) -> int:
        """Make *stream* known, take its lock, and read its head."""
        found: Any = link.run(self._add, _named(collection, stream)).fetchone()
        return int(found[0])

    def advance(self, collection: Collection, stream: Key, head: int) -> tuple[str, list[Any]]:
        """The statement that stores how far *stream* has come."""
        return self._advance, [*_named(collection, stream), str(head)]

    def deleted(self, collection: Collection, stream: Key, count: int) -> tuple[str, list[Any]]:
        """The statement that explains a gap: *count* entries of a log were deleted."""
        return self._deleted, [*_named(collection, stream), str(count)]

    def all_of(self, link: Link, collection: Collection) -> list[tuple[Key, int]]:
        """How far each stream of *collection* has come."""
        rows = link.run(self._all, (collection.name,))
        return [(stream_of_text(text), head) for text, head in rows]


def _named(collection: Collection, stream: Key) -> list[Any]:
    return [collection.name, text_of(collection, stream)]
