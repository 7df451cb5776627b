"""Rows as PostgreSQL's COPY takes them in binary form: the hot loop of every bulk load."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import psycopg

from quantkeep.batch import Outcome
from quantkeep.collection import Collection, SealedRow
from quantkeep.columns import Kind, Row
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.ground import Ground, Stream
from quantkeep_backends.postgresql.prepared import Prepared

# The type by which the driver writes a value: of times, dates and UUIDs what they are on the wire
_WRITTEN_AS: Final[dict[Kind, str]] = {
    Kind.TEXT: "text",
    Kind.INTEGER: "int8",
    Kind.REAL: "float8",
    Kind.DECIMAL: "numeric",
    Kind.BOOLEAN: "bool",
    Kind.TIMESTAMP: "int8",
    Kind.DATE: "int4",
    Kind.UUID: "bytea",
    Kind.BINARY: "bytea",
    Kind.DOCUMENT: "text",
}
_STAMPS: Final = ("int8", "int8", "int8", "bytea", "int8")  # revision ... seal, of a log


class Copier:
    """Copies entries of one log."""

    def __init__(self, link: Link, ground: Ground, prepared: Prepared) -> None:
        self._link = link
        self._ground = ground
        self._prepared = prepared
        self._collection = prepared.collection
        self._part = part_of(prepared)
        self._types = types(prepared)

    def copy(self, rows: Iterable[tuple[SealedRow, int]]) -> None:
        """Copy *rows*, each with its revision."""
        with self._link.copying(self._prepared.copy) as copy:
            copy.set_types(self._types)
            write, wire, now = copy.write_row, self._prepared.codec.wire, self._ground.now
            for (values, digest, created, _), revision in rows:
                write(wire(values, digest, now if created is None else created, revision))

    def copy_all(self, rows: Iterable[SealedRow]) -> Outcome:
        """Copy *rows* as if all were new, each behind the head of its stream."""
        revisions: list[int] = []
        left = iter(rows)
        while True:
            first = next(left, None)
            if first is None:
                return Outcome(revisions, len(revisions))
            collection = self._collection
            self._ground.stream(collection, collection.stream_of(first.values))
            left = chain([first], left)
            left = self._copy_known(left, revisions)

    def _copy_known(self, rows: Iterator[SealedRow], revisions: list[int]) -> Iterator[SealedRow]:
        """Copy up to a row of a stream that is not locked yet: meanwhile nothing can be asked."""
        part_of, find, collection = self._part, self._ground.find, self._collection
        wire, now, add = self._prepared.codec.wire, self._ground.now, revisions.append
        part: Any = self  # which is no row's
        stream: Stream | None = None
        with self._link.copying(self._prepared.copy) as copy:
            copy.set_types(self._types)
            write = copy.write_row
            for row in rows:
                values, digest, created, _ = row
                here = part_of(values)
                if here != part:
                    part, stream = here, find(collection, collection.stream_of(values))
                if stream is None:
                    return chain([row], rows)
                stream.head = revision = stream.head + 1
                add(revision)
                write(wire(values, digest, now if created is None else created, revision))
        return iter(())


def types(prepared: Prepared) -> list[int]:
    """Those by which the driver writes entries of a log, as they are made for a COPY."""
    return prepared.once("types", lambda: [*_types(prepared.collection)])


def _types(collection: Collection) -> Iterator[int]:
    for name in (*(_WRITTEN_AS[column.kind] for column in collection.columns), *_STAMPS):
        yield psycopg.adapters.types.get_oid(name)


def part_of(prepared: Prepared) -> Callable[[Row], Any]:
    """A quick way to see whether two rows are of one stream."""
    collection = prepared.collection
    places = [collection.places[name] for name in collection.stream]
    return itemgetter(*places) if places else lambda row: None
