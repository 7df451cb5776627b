"""How far the streams of one transaction have come."""

import sqlite3

from quantkeep.collection import Collection, Key
from quantkeep_backends._sql.streams import stream_text
from quantkeep_backends.sqlite import streams
from quantkeep_backends.sqlite.prepared import Prepared
from quantkeep_backends.sqlite.remembered import Misjudged
from quantkeep_backends.sqlite.streams import Seen, Stream


class Heads:
    """The streams that a transaction has touched.

    Args:
        connection: in the transaction.
        seen: what the handle has seen of streams.
        guessing: a stream of records is taken to be where it was seen, and looked at in the end.
    """

    def __init__(self, connection: sqlite3.Connection, seen: Seen, *, guessing: bool) -> None:
        self._connection = connection
        self._seen = seen
        self._guessing = guessing
        self._touched: dict[tuple[str, Key], tuple[Collection, Key, Stream]] = {}
        self._guessed: dict[tuple[str, Key], int] = {}

    def of(self, prepared: Prepared, key: Key) -> Stream:
        """A stream as it is at this point of the transaction, to be moved on."""
        collection = prepared.collection
        known = self._touched.get((collection.name, key))
        if known is not None:
            return known[2]
        found = self._guess(collection, key) or self._find(prepared, key)
        self._touched[collection.name, key] = (collection, key, found)
        return found

    def _guess(self, collection: Collection, key: Key) -> Stream | None:
        seen = self._seen.find(collection, key)
        if seen is None or collection.log or not self._guessing:
            return None
        self._guessed[collection.name, key] = seen.head
        return Stream(seen.number, seen.text, seen.head, seen.deleted)

    def _find(self, prepared: Prepared, key: Key) -> Stream:
        collection = prepared.collection
        found = streams.find(self._connection, collection, key)
        there = found.head if found else 0
        if found is not None and collection.log:
            there = found.reach(streams.newest(self._connection, found, prepared.last_place))
        self._seen.check(collection, key, there)
        if found is None and collection.log:
            found = streams.add(self._connection, collection, key)
        return found or Stream(0, stream_text(key), 0)

    def advance(self) -> None:
        """Store how far each has come; raises :class:`Misjudged` where one was elsewhere."""
        for place, (collection, _, stream) in self._touched.items():
            guessed = self._guessed.get(place)
            if guessed is None:
                streams.advance(self._connection, collection, stream)
            elif not streams.advance_from(self._connection, collection, stream, guessed):
                raise Misjudged

    def committed(self) -> None:
        """Let the handle know how far they have come."""
        for collection, key, stream in self._touched.values():
            self._seen.note(collection, key, stream)
