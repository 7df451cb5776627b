"""Streams: their numbers, how far each has come, and how far this handle has seen it come."""

import sqlite3
from operator import attrgetter
from typing import Final

from quantkeep.collection import Collection, Key
from quantkeep.errors import StoreFull
from quantkeep_backends._sql import seen
from quantkeep_backends._sql.streams import stream_of_text, stream_text
from quantkeep_backends.sqlite.engine import REVISION_MASK
from quantkeep_backends.sqlite.system import (
    MOST_STREAMS,
    first_place,
    last_place,
)

_FIND: Final = (
    "SELECT number, head, deleted FROM quantkeep_streams WHERE collection = ? AND stream = ?"
)
_ADD: Final = "INSERT INTO quantkeep_streams (collection, stream) VALUES (?, ?) RETURNING number"
_ADVANCE: Final = (
    "INSERT INTO quantkeep_streams (collection, stream, head) VALUES (?, ?, ?) "
    "ON CONFLICT (collection, stream) DO UPDATE SET head = excluded.head"
)
_ADVANCE_FROM: Final = (
    "UPDATE quantkeep_streams SET head = ? WHERE collection = ? AND stream = ? AND head = ?"
)
_DELETED: Final = (
    "UPDATE quantkeep_streams SET deleted = deleted + 1, head = max(head, ?) WHERE number = ?"
)
_ALL: Final = (
    "SELECT number, stream, head, deleted FROM quantkeep_streams WHERE collection = ? LIMIT ?"
)


class Stream:
    """Where a stream is, as this handle knows it.

    Attributes:
        number: the upper part of its entries' ids.
        text: what it is stored under.
        head: the last revision given.
        deleted: entries that were deleted, so that the newest may be among them.
        first: the id before that of its first entry.
        last: the greatest id an entry of it can have.
    """

    __slots__ = ("deleted", "first", "head", "last", "number", "text")

    def __init__(self, number: int, text: str, head: int, deleted: int = 0) -> None:
        self.number = number
        self.text = text
        self.head = head
        self.deleted = deleted
        self.first = first_place(number)
        self.last = last_place(number)

    def reach(self, newest: int) -> int:
        """How far a log's stream is there, whose *newest* entry is that revision.

        The head, which goes on from here, is what was given: more, if the newest entries were
        removed behind our back.
        """
        self.head = max(self.head, newest)
        return self.head if self.deleted else newest


class Seen(seen.Seen[Stream]):
    """The streams this handle has seen."""

    def __init__(self) -> None:
        super().__init__(attrgetter("head"))


def find(connection: sqlite3.Connection, collection: Collection, stream: Key) -> Stream | None:
    """*stream* as it is stored."""
    text = stream_text(stream)
    found = connection.execute(_FIND, (collection.name, text)).fetchone()
    return None if found is None else Stream(found[0], text, *found[1:])


def add(connection: sqlite3.Connection, collection: Collection, stream: Key) -> Stream:
    """Give the new *stream* of a log its number."""
    text = stream_text(stream)
    number: int = connection.execute(_ADD, (collection.name, text)).fetchone()[0]
    if number >= MOST_STREAMS:
        raise StoreFull(f"{collection.name}: there are {MOST_STREAMS} streams, as many as can be")
    return Stream(number, text, 0)


def advance(connection: sqlite3.Connection, collection: Collection, now: Stream) -> None:
    """Store how far a stream has come."""
    connection.execute(_ADVANCE, (collection.name, now.text, now.head))


def advance_from(
    connection: sqlite3.Connection, collection: Collection, now: Stream, head: int
) -> bool:
    """As :func:`advance`, if the stream is at *head*; says whether it was."""
    values = (now.head, collection.name, now.text, head)
    return connection.execute(_ADVANCE_FROM, values).rowcount == 1


def entry_deleted(connection: sqlite3.Connection, number: int, revision: int) -> None:
    """Keep the numbering dense, and the gap explained, after a log's entry was deleted."""
    connection.execute(_DELETED, (revision, number))


def all_of(
    connection: sqlite3.Connection, collection: Collection, most: int = -1
) -> list[tuple[Key, Stream]]:
    """The streams of *collection*, or *most* of them."""
    rows = connection.execute(_ALL, (collection.name, most))
    return [
        (stream_of_text(text), Stream(number, text, head, deleted))
        for number, text, head, deleted in rows
    ]


def heads(
    connection: sqlite3.Connection, collection: Collection, last_place_sql: str
) -> list[tuple[Key, int, int]]:
    """How far each stream of *collection* has come, and how far of that is there."""
    found = []
    for key, stream in all_of(connection, collection):
        there = stream.head
        if collection.log:
            there = stream.reach(newest(connection, stream, last_place_sql))
        found.append((key, stream.head, there))
    return found


def newest(connection: sqlite3.Connection, stream: Stream, last_place_sql: str) -> int:
    """The revision of the newest entry of a log's stream; 0 if there is none."""
    bounds = (stream.first, stream.last)
    place: int | None = connection.execute(last_place_sql, bounds).fetchone()[0]
    return 0 if place is None else place & REVISION_MASK
