"""A large append as packed chunks, with the identities of their rows beside them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs
import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.batch import Append
from quantkeep.collection import Key
from quantkeep.contract import taken
from quantkeep_backends.redis import chunks, ordering, statistics
from quantkeep_backends.redis.shapes import Shape
from quantkeep_backends.redis.sources import Slice, source_of

RESERVED: Final = 4_096  # identities that one script looks through; more are sent ahead

Known = Mapping[tuple[str, str], tuple[int, bytes]]  # stream, identity: revision, digest

_pack: Final = msgspec.msgpack.Encoder().encode


class Ahead(Protocol):
    """What takes parts of an append before it is committed."""

    def put(self, blob: bytes) -> Sequence[Any]:
        """The script's arguments for *blob*."""
        ...

    def reserve(self, stream: str, offset: int, part: Slice) -> bool:
        """Send identities; whether all of them are new."""
        ...

    def reserved(self, stream: str) -> bool:
        """Whether identities of *stream* were sent."""
        ...


class _Run(msgspec.Struct):
    """Rows of the append that follow each other: of a part from an offset, or (0) revisions."""

    part: int
    count: int
    start: int


@attrs.define
class _Part:
    """The rows of one stream."""

    number: int
    stream: Key
    places: Sequence[int] = attrs.field(factory=list)  # of its new rows in the append


class Packer:
    """One append, taken apart by streams.

    Args:
        shape: of its log.
        write: the append.
        known: what is stored already of its identities.
        careful: some of its rows may have the identity of another.
    """

    def __init__(self, shape: Shape, write: Append, known: Known, *, careful: bool) -> None:
        self._shape = shape
        self._known = known
        self._source = source_of(shape, write)
        self.ahead = self._source.identified and len(self._source) > RESERVED
        self.verified: dict[tuple[str, str], int] = {}
        self._runs: list[_Run] = []
        self._parts: dict[Key, _Part] = {}
        self._arrange(careful)

    @property
    def streams(self) -> list[str]:
        """The streams of the parts, in order."""
        return [*map(self._named, self._parts)]

    def _named(self, stream: Key) -> str:
        return f"{self._shape.collection.name}:{self._shape.stream(stream)}"

    # -- which rows are new ------------------------------------------------------------------------

    def _arrange(self, careful: bool) -> None:
        single, many = self._source.single(), len(self._source)
        if single is not None and self._all_new(careful):
            self._parts[single] = _Part(1, single, range(many))
            self._runs = [_Run(1, many, 0)]
            return
        first: dict[tuple[Key, str], tuple[int, int, bytes]] = {}
        for place, (stream, identity, digest) in enumerate(self._source.each()):
            if not identity:
                self._add(self._part(stream), place)
            elif (stream, identity) in first:
                self._again(place, digest, *first[stream, identity])
            elif not self._is_known(place, stream, identity, digest):
                part = self._part(stream)
                first[stream, identity] = (part.number, len(part.places), digest)
                self._add(part, place)

    def _all_new(self, careful: bool) -> bool:
        """Whether no row has the identity of another, nor one that is known to be stored.

        Of many rows it is assumed: the server tells when they are sent ahead.
        """
        if not self._source.identified:
            return True
        if self._known or self.ahead:
            return not (self._known or careful)
        present = [identity for _, identity, _ in self._source.each() if identity]
        return len({*present}) == len(present)

    def _part(self, stream: Key) -> _Part:
        if stream not in self._parts:
            self._parts[stream] = _Part(len(self._parts) + 1, stream)
        return self._parts[stream]

    def _add(self, part: _Part, place: int) -> None:
        self._run(part.number, len(part.places))
        assert isinstance(part.places, list)
        part.places.append(place)

    def _run(self, part: int, start: int) -> None:
        if self._runs:
            last = self._runs[-1]
            if last.part == part and last.start + last.count == start:
                last.count += 1
                return
        self._runs.append(_Run(part, 1, start))

    def _again(self, place: int, digest: bytes, part: int, offset: int, earlier: bytes) -> None:
        """The row at *place* has the identity of an *earlier* one of this append."""
        if digest != earlier:
            raise self._taken_error(place)
        self._run(part, offset)

    def _is_known(self, place: int, stream: Key, identity: str, digest: bytes) -> bool:
        named = (self._named(stream), identity)
        found = self._known.get(named)
        if found is None:
            return False
        if found[1] != digest:
            raise self._taken_error(place)
        self.verified[named] = found[0]
        self._run(0, found[0])
        return True

    def _taken_error(self, place: int) -> Exception:
        row, collection = self._source.row(place), self._shape.collection
        value = (*self._shape.take_stream(row.values), *collection.identity_of(row.values))
        return taken(collection, value, ("", *collection.identity))

    # -- arguments of the script -------------------------------------------------------------------

    def arguments(self, ahead: Ahead, freed: Callable[[str], int]) -> list[Any] | None:
        """The arguments of the append; ``None`` if some identities turn out not to be new.

        Args:
            ahead: takes what is too much for one command.
            freed: how often identities of a stream had become free when they were looked up.
        """
        shape = self._shape
        said: list[Any] = ["B", shape.collection.name, len(shape.timely)]
        said += [name for name, _, _ in shape.timely]
        said.append(len(self._parts))
        parts = [self._part_arguments(part, ahead) for part in self._parts.values()]
        if None in parts:
            return None
        said += [each for part in parts for each in part or ()]
        said += self._still_known(freed)
        said.append(len(self._runs))
        for run in self._runs:
            said += (run.part, run.count, run.start)
        return said

    def _still_known(self, freed: Callable[[str], int]) -> list[Any]:
        """What must still hold of identities that are stored: one by one, or of their streams."""
        if self.ahead:
            streams = sorted({stream for stream, _ in self.verified})
            guards = [each for stream in streams for each in (stream, freed(stream))]
            return [0, len(streams), *guards]
        said: list[Any] = [len(self.verified)]
        for (stream, identity), revision in self.verified.items():
            said += (stream, identity, revision)
        return [*said, 0]

    def _part_arguments(self, part: _Part, ahead: Ahead) -> list[Any] | None:
        """A part whose identities are not all new is looked through to its end all the same."""
        stream, offset = self._named(part.stream), 0
        order, new, said = _Order(self._shape), True, list[Any]()
        for places in _slices(part.places):
            found = self._source.slice(places)
            if self.ahead:
                new = ahead.reserve(stream, offset, found) and new
            offset += len(places)
            if new:
                order.note(found.batch)
                said += [len(places), *ahead.put(chunks.packed(found.batch))]
                said += [statistics.summed_up(self._shape.collection, found.batch)]
                said += ahead.put(b"" if self.ahead else _ids(found))
        if not new:
            return None
        head = [self._shape.stream(part.stream), "1" if ahead.reserved(stream) else ""]
        return [*head, -(-offset // chunks.ROWS), *said, *order.arguments()]


def _slices(places: Sequence[int]) -> Iterator[Sequence[int]]:
    return (places[n : n + chunks.ROWS] for n in range(0, len(places), chunks.ROWS))


def _ids(part: Slice) -> bytes:
    """The identities of a slice's rows, for the script to unpack."""
    identities = part.identities
    numbers = [n for n, identity in enumerate(identities) if identity]
    if not numbers:
        return b""
    digests = b"".join([part.digests[n] for n in numbers])
    sparse = numbers if len(numbers) < len(identities) else []
    lists = _pack(([identities[n] for n in numbers], sparse))
    return len(lists).to_bytes(4, "big") + lists + digests


class _Order:
    """How the timely columns of one part go: the least and greatest, and whether they ascend."""

    def __init__(self, shape: Shape) -> None:
        self._timely = shape.timely
        self._known: dict[str, list[Any]] = {}

    def note(self, batch: pa.RecordBatch) -> None:
        """The next rows of the part."""
        for name, _, _ in self._timely:
            column = batch.column(name)
            ends = pc.min_max(column).as_py()
            ascends = chunks.ascends(column)
            known = self._known.get(name)
            if known is None:
                self._known[name] = [ends["min"], ends["max"], ascends]
            elif None in (known[1], ends["min"]):
                self._known[name] = [known[0] or ends["min"], known[1] or ends["max"], False]
            else:
                ascends = ascends and known[2] and known[1] <= ends["min"]
                least, most = min(known[0], ends["min"]), max(known[1], ends["max"])
                self._known[name] = [least, most, ascends]

    def arguments(self) -> list[Any]:
        """As the script takes them."""
        said: list[Any] = []
        for name, _, kind in self._timely:
            least, most, ascends = self._known.get(name, (None, None, False))
            said += (ordering.encoded(kind, least), ordering.encoded(kind, most))
            said.append("1" if ascends else "")
        return said
