"""Large appends to one log as packed chunks, with the identities of their rows beside them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.ahead import ahead
from quantkeep.batch import Append
from quantkeep_backends.redis import chunks, ordering, statistics
from quantkeep_backends.redis.arranging import Arrangement, Part, Stored
from quantkeep_backends.redis.shapes import Shape
from quantkeep_backends.redis.sources import Slice, source_of
from quantkeep_backends.redis.staging import Learnt

RESERVED: Final = 4_096  # identities that one script looks through; more are sent ahead

_pack: Final = msgspec.msgpack.Encoder().encode


class Sender(Protocol):
    """What takes parts of appends before they are committed."""

    def put(self, blob: bytes) -> Sequence[Any]:
        """The script's arguments for *blob*."""
        ...

    def reserve(self, stream: str, offset: int, part: Slice) -> bool:
        """Send identities; whether none is known not to be new."""
        ...

    def reserved(self, stream: str) -> bool:
        """Whether identities of *stream* were sent."""
        ...

    def settle(self) -> None:
        """Wait until everything has come through."""
        ...

    def all_new(self, stream: str) -> bool:
        """Whether, then, all identities that were sent of *stream* are new."""
        ...


class _Packed(NamedTuple):
    """Some rows, ready to be sent."""

    rows: Slice
    blob: bytes
    info: bytes


class Packer:
    """Appends to one log, one behind the other.

    Args:
        shape: of the log.
        writes: the appends.
        learnt: what is stored already of their identities.
        stored: tells the content of entries whose digest is not known.

    Raises:
        AlreadyExists: a row has the identity of another, and other content.
    """

    def __init__(
        self, shape: Shape, writes: Sequence[Append], learnt: Learnt, stored: Stored
    ) -> None:
        self._shape = shape
        self._source, counts = source_of(shape, writes)
        self._reserves = self._source.identified and len(self._source) > RESERVED
        self._rows = Arrangement(shape, self._source, counts, learnt, stored, unseen=self._reserves)
        self._wasted = False

    @property
    def streams(self) -> list[str]:
        """The streams of the parts, in order."""
        return [*map(self._rows.named, self._rows.parts)]

    def arguments(self, sender: Sender, freed: Callable[[str], int]) -> list[Any] | None:
        """The arguments of the appends; ``None`` if some identities turn out not to be new.

        Args:
            sender: takes what is too much for one command.
            freed: how often identities of a stream had become free when they were looked up.
        """
        shape = self._shape
        said: list[Any] = ["B", shape.collection.name, len(shape.timely)]
        said += [name for name, _, _ in shape.timely]
        said.append(len(self._rows.parts))
        for part in self._rows.parts.values():
            said += self._part(part, sender)
        sender.settle()
        if not all(map(sender.all_new, self.streams)):
            return None
        said += [*self._still_known(freed), len(self._rows.said)]
        for answer in self._rows.said:
            said += (answer.added, len(answer.runs))
            for run in answer.runs:
                said += (run.part, run.count, run.start)
        return said

    def _still_known(self, freed: Callable[[str], int]) -> list[Any]:
        """What must still hold of identities that are stored: one by one, or of their streams."""
        verified = self._rows.verified
        if self._reserves:
            streams = sorted({stream for stream, _ in verified})
            guards = [each for stream in streams for each in (stream, freed(stream))]
            return [0, len(streams), *guards]
        said: list[Any] = [len(verified)]
        for (stream, identity), revision in verified.items():
            said += (stream, identity, revision)
        return [*said, 0]

    def _part(self, part: Part, sender: Sender) -> list[Any]:
        """The rows of a stream, sent. If some are not new, all are looked up and none is packed."""
        stream, offset = self._rows.named(part.stream), 0
        order, said = _Order(self._shape), list[Any]()
        with closing(ahead(self._packed, _slices(part.places))) as found:
            for rows, blob, info in found:
                if self._reserves and not sender.reserve(stream, offset, rows):
                    self._wasted = True
                offset += rows.batch.num_rows
                if not self._wasted:
                    order.note(rows.batch)
                    ids = b"" if self._reserves else _ids(rows)
                    said += [rows.batch.num_rows, *sender.put(blob), info, *sender.put(ids)]
        head = [self._shape.stream(part.stream), "1" if sender.reserved(stream) else ""]
        return [*head, -(-offset // chunks.ROWS), *said, *order.arguments()]

    def _packed(self, places: Sequence[int]) -> _Packed:
        rows = self._source.slice(places)
        if self._wasted:
            return _Packed(rows, b"", b"")
        info = statistics.summed_up(self._shape.collection, rows.batch)
        return _Packed(rows, chunks.packed(rows.batch), info)


def _slices(places: Sequence[int]) -> Iterator[Sequence[int]]:
    return (places[n : n + chunks.ROWS] for n in range(0, len(places), chunks.ROWS))


def _ids(rows: Slice) -> bytes:
    """The identities of a slice's rows, for the script to unpack."""
    if rows.identities.null_count == len(rows.identities):
        return b""
    identities = rows.identities.to_pylist()
    numbers = [n for n, identity in enumerate(identities) if identity is not None]
    digests = b"".join([rows.digests[n] for n in numbers]) if rows.digests else b""
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
