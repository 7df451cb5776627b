"""What a stored collection is made of in Redis: fields, indexes, unique groups, references."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Final, NamedTuple
from zlib import crc32

from quantkeep.collection import STAMPS, Collection, Key, Reference, StoredRow
from quantkeep.columns import Column, Kind, Row, Scalar
from quantkeep.query import column_of
from quantkeep_backends.redis import keys, ordering, texts
from quantkeep_backends.redis.packets import nested

STORED: Final = ("_revision", "_created_at", "_updated_at", "_schema_version", "_digest", "_seal")
_PLACEHOLDERS: Final = {"created_at": b"\0created", "updated_at": b"\0updated"}
_STREAMS: Final = 1_000  # whose texts are remembered
_NOTES: Final = 4_096  # that are: what is saved over and over is most of a live state
_TIMELY: Final = (Kind.TIMESTAMP, Kind.DATE, Kind.INTEGER)


_Segment = tuple[str, int | None, Callable[[Scalar], bytes]]  # a column, its place, its encoding


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
        self.writers = [texts.writer(column.kind) for column in collection.columns]
        self.identity_columns = _columns(collection, collection.identity)
        self._streams: dict[Key, str] = {}
        self._notes: dict[Key, bytes] = {}

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
    def _segments(self) -> list[tuple[bytes, list[_Segment]]]:
        collection = self.collection

        def segment(name: str) -> _Segment:
            encode = ordering.encoder(column_of(collection, name).kind)
            return name, collection.places.get(name), encode

        return [(index.name.encode(), [*map(segment, index.columns)]) for index in self.indexes]

    def note(self, row: Row, key: str) -> bytes:
        """What a record holds and refers to, as it is kept beside it; empty: the script makes it.

        It does where the store's own stamps are in an index.
        """
        if self._is_stamped:
            return b""
        held = self._held(row)
        known = self._notes.get(held)
        if known is None:
            known = self._made_note(row, key)
            if len(self._notes) < _NOTES:
                self._notes[held] = known
        return known

    def _made_note(self, row: Row, key: str) -> bytes:
        members = chain.from_iterable(self._members(row, key))
        return nested((members, self.groups(row)[1:], self.references(row)[1:]))

    @cached_property
    def _held(self) -> Callable[[Row], Key]:
        """Gives what a note is made of: the key, and what is indexed, unique or refers."""
        collection = self.collection
        groups = [index.columns for index in self.indexes]
        groups += [*collection.unique, *(each.columns for each in collection.references)]
        return collection.pick(tuple(dict.fromkeys(chain.from_iterable(groups))))

    @cached_property
    def _is_stamped(self) -> bool:
        return any(place is None for _, columns in self._segments for _, place, _ in columns)

    def members(self, row: Row, key: str) -> list[Any]:
        """Of each index its name and the member's segments, as the script takes them."""
        said: list[Any] = [len(self._segments)]
        for name, *segments in self._members(row, key):
            said += [name, len(segments), *segments]
        return said

    def _members(self, row: Row, key: str) -> Iterator[list[bytes]]:
        """Of each index its name, and what makes up the member."""
        tail = key.encode()
        for name, columns in self._segments:
            segments, plain = list[bytes](), b""
            for column, place, encode in columns:
                if place is None:
                    segments += [plain, _PLACEHOLDERS[column]]
                    plain = b""
                else:
                    plain += encode(row[place])
            yield [name, *segments, plain + tail + len(tail).to_bytes(2, "big")]

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
        for pick, columns, to, how in self._references:
            target = pick(row)
            if None not in target:
                said[0] += 1
                said += (to, keys.joined(columns, target), *how)
        return said

    @cached_property
    def _references(self) -> list[tuple[Callable[[Row], Key], Sequence[Column], str, list[str]]]:
        return [
            (
                self.collection.pick(reference.columns),
                _columns(self.collection, reference.columns),
                reference.to,
                self._how(reference),
            )
            for reference in self.collection.references
        ]

    def _how(self, reference: Reference) -> list[str]:
        """Whether it is to a log, what a deletion does, and the beginning of its field."""
        log = "1" if self._stored[reference.to].log else ""
        on_delete = reference.on_delete + (" log" if self.collection.log else "")
        return [log, on_delete, f"{self.collection.name}|{','.join(reference.columns)}|"]

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
        return keys.joined(self.identity_columns, identity) or "%empty"


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
