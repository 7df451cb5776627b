"""What a stored collection is made of in Redis: fields, indexes, unique groups, references."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple
from zlib import crc32

from quantkeep.collection import STAMPS, Collection, Key, Reference, StoredRow
from quantkeep.columns import Column, Kind, Row, Scalar
from quantkeep.query import column_of
from quantkeep_backends.redis import keys, ordering

STORED: Final = ("_revision", "_created_at", "_updated_at", "_schema_version", "_digest", "_seal")
_PLACEHOLDERS: Final = {"created_at": b"\0created", "updated_at": b"\0updated"}
_STREAMS: Final = 1_000  # whose texts are remembered
_TIMELY: Final = (Kind.TIMESTAMP, Kind.DATE, Kind.INTEGER)


class Index(NamedTuple):
    """A sorted set whose members begin with these columns, and end with the record's key."""

    name: str
    columns: tuple[str, ...]  # the key's are the last of them


class Shape:
    """One collection, as the keep knows it: with what other programs added to it."""

    def __init__(self, collection: Collection, stored: Mapping[str, Collection]) -> None:
        self.collection = collection
        self._stored = stored
        self.stream_columns = _columns(collection, collection.stream)
        self.key_columns = _columns(collection, collection.key)
        self.take_stream = collection.stream_of
        self.take_key = collection.key_of
        self.kinds = [column.kind for column in collection.columns]
        self._identity = _columns(collection, collection.identity)
        self._streams: dict[Key, str] = {}

    # -- keys --------------------------------------------------------------------------------------

    def stream(self, stream: Key) -> str:
        """The text of a stream."""
        known = self._streams.get(stream)
        if known is None:
            known = keys.joined(self.stream_columns, stream)
            if len(self._streams) < _STREAMS:
                self._streams[stream] = known
        return known

    def key(self, key: Key) -> str:
        """The text of a record's key, or of an entry's: its stream and revision."""
        if self.collection.log:
            return f"{self.stream(key[:-1])}:{key[-1]!r}"  # an integer
        return keys.joined(self.key_columns, key)

    def key_of_text(self, text: str) -> Key:
        """The other way round."""
        if not self.collection.log:
            return keys.taken_apart(self.key_columns, text)
        stream, _, revision = text.rpartition(":")
        return (*keys.taken_apart(self.stream_columns, stream), int(revision))

    @cached_property
    def layout(self) -> tuple[int, str]:
        """Which columns an entry's values are of, in order: a number for it, and the names."""
        names = json.dumps(self.collection.names)
        return crc32(names.encode()), names

    # -- indexes -----------------------------------------------------------------------------------

    @cached_property
    def indexes(self) -> tuple[Index, ...]:
        """The key's comes first."""
        collection = self.collection
        if collection.log:
            return ()
        groups = [index.columns for index in collection.indexes]
        groups += collection.unique
        found = {self._named("key"): Index(self._named("key"), collection.key)}
        for group in groups:
            if group == collection.key[: len(group)]:
                continue
            ties = [name for name in collection.key if name not in group]
            name = self._named(",".join(group))
            found.setdefault(name, Index(name, (*group, *ties)))
        return tuple(found.values())

    def _named(self, what: str) -> str:
        return f"ix:{self.collection.name}:{what}"

    @cached_property
    def _segments(self) -> list[tuple[bytes, list[tuple[str, int | None, Kind]]]]:
        return [
            (
                index.name.encode(),
                [
                    (name, self.collection.places.get(name), column_of(self.collection, name).kind)
                    for name in index.columns
                ],
            )
            for index in self.indexes
        ]

    def members(self, row: Row, key: str) -> list[Any]:
        """Of each index its name and the member's segments, as the script takes them."""
        said: list[Any] = [len(self._segments)]
        tail = key.encode()
        for name, columns in self._segments:
            segments, plain = [], b""
            for column, place, kind in columns:
                if place is None:
                    segments += [plain, _PLACEHOLDERS[column]]
                    plain = b""
                else:
                    plain += ordering.encoded(kind, row[place])
            segments.append(plain + tail + len(tail).to_bytes(2, "big"))
            said += [name, len(segments), *segments]
        return said

    def member(self, stored: StoredRow, index: Index) -> bytes:
        """What stands in *index* for a record, without its key."""
        return b"".join(
            encoded(self.collection, name, _value(self.collection, stored, name))
            for name in index.columns
        )

    # -- uniqueness and references -----------------------------------------------------------------

    @cached_property
    def _groups(self) -> list[tuple[bytes, Callable[[Row], Key], Sequence[Column]]]:
        collection = self.collection
        return [
            (
                f"unique:{collection.name}:{','.join(group)}".encode(),
                collection.pick(group),
                _columns(collection, group),
            )
            for group in collection.unique
        ]

    @property
    def beside(self) -> list[str]:
        """Names of what is kept beside the records: indexes and unique groups."""
        return [index.name for index in self.indexes] + [
            name.decode() for name, _, _ in self._groups
        ]

    def groups(self, row: Row) -> list[Any]:
        """Of each unique group its name and what *row* has there."""
        said: list[Any] = [len(self._groups)]
        for name, pick, columns in self._groups:
            said += [name, keys.joined(columns, pick(row))]
        return said

    def references(self, row: Row) -> list[Any]:
        """Of each reference that is not null what it refers to, and how."""
        said: list[Any] = [0]
        for reference in self.collection.references:
            target = self.collection.pick(reference.columns)(row)
            if None not in target:
                said[0] += 1
                said += self._reference(reference, target)
        return said

    def _reference(self, reference: Reference, target: Key) -> list[Any]:
        columns = [column_of(self.collection, name) for name in reference.columns]
        log = self._stored[reference.to].log
        how = reference.on_delete + (" log" if self.collection.log else "")
        field = f"{self.collection.name}|{','.join(reference.columns)}|"
        return [reference.to, keys.joined(columns, target), "1" if log else "", how, field]

    # -- logs --------------------------------------------------------------------------------------

    @cached_property
    def has_book(self) -> bool:
        """Whether the script keeps a note of what an entry holds and refers to."""
        return bool(self.collection.unique or self.collection.references)

    @cached_property
    def timely(self) -> list[tuple[str, int, Kind]]:
        """Columns of a log that entries usually ascend in, and are listed by."""
        collection = self.collection
        names = dict.fromkeys(name for index in collection.indexes for name in index.columns)
        return [
            (name, collection.places[name], collection.column(name).kind)
            for name in names
            if name in collection.places
            and name not in collection.stream
            and collection.column(name).kind in _TIMELY
        ]

    def identity(self, row: Row) -> str:
        """The identity of an entry within its stream; empty if it has none."""
        identity = self.collection.identity_of(row)
        if not identity or None in identity:
            return ""
        if type(identity[0]) is str and len(identity) == 1:  # as is a trade's uid
            return keys.escaped(identity[0]) or "%empty"
        return keys.joined(self._identity, identity) or "%empty"


def encoded(collection: Collection, name: str, scalar: Scalar) -> bytes:
    """What stands for *scalar* of the column *name* in an index."""
    if name in STAMPS and name not in collection.places:
        assert isinstance(scalar, int)
        return ordering.stamp(scalar)
    return ordering.encoded(column_of(collection, name).kind, scalar)


def _value(collection: Collection, stored: StoredRow, name: str) -> Scalar:
    place = collection.places.get(name)
    scalar: Scalar = getattr(stored, name) if place is None else stored.values[place]
    return scalar


def _columns(collection: Collection, names: Sequence[str]) -> tuple[Column, ...]:
    return tuple(column_of(collection, name) for name in names)


def arranged(have: Collection, want: Collection) -> Callable[[Row], Row] | None:
    """What gives a row of *have* the columns of *want*; ``None``: they are the same."""
    if have.names == want.names:
        return None
    places = [have.places.get(name) for name in want.names]
    return lambda values: tuple([None if p is None else values[p] for p in places])
