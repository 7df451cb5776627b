"""A large append as packed chunks, with the identities of their rows beside them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.arrow import ArrowRows
from quantkeep.batch import Append
from quantkeep.collection import Key, SealedRow
from quantkeep.contract import taken
from quantkeep_backends.redis import chunks, ordering, statistics
from quantkeep_backends.redis.batches import rows_of
from quantkeep_backends.redis.shapes import Shape, arranged

Stage = Callable[[bytes], Sequence[Any]]  # a blob as the script's arguments for it
Known = Mapping[tuple[str, str], tuple[int, bytes]]  # stream, identity: revision, digest

_pack: Final = msgspec.msgpack.Encoder().encode


@attrs.frozen
class _Run:
    """Rows of the append that follow each other: of a part from an offset, or (0) revisions."""

    part: int
    count: int
    start: int


@attrs.define
class _Part:
    """The rows of one stream."""

    number: int
    stream: Key
    places: list[int] = attrs.field(factory=list)  # of its new rows in the append


class Packer:
    """One append, taken apart by streams.

    Args:
        shape: of its log.
        write: the append.
        known: what is stored already of its identities.
    """

    def __init__(self, shape: Shape, write: Append, known: Known) -> None:
        self._shape = shape
        self._known = known
        self._columns, self._rows = self._taken(write)
        self.verified: dict[tuple[str, str], int] = {}
        self._runs: list[_Run] = []
        self._parts: dict[Key, _Part] = {}
        self._identities = self._identified()
        self._arrange()

    def _taken(self, write: Append) -> tuple[Any, Sequence[SealedRow] | None]:
        given = write.rows
        if (
            isinstance(given, ArrowRows)
            and arranged(write.collection, self._shape.collection) is None
        ):
            has_identity = any(
                given.table.column(name).null_count == 0
                or given.table.column(name).null_count < len(given)
                for name in self._shape.collection.identity
            )
            return given.table, [*given] if has_identity else None
        return None, rows_of(write, self._shape)

    def __len__(self) -> int:
        return len(self._rows) if self._rows is not None else self._columns.num_rows

    @property
    def streams(self) -> list[str]:
        """The streams of the parts, in order."""
        return [self._shape.stream(stream) for stream in self._parts]

    # -- which rows are new ------------------------------------------------------------------------

    def _identified(self) -> list[str] | None:
        if self._rows is None or not self._shape.collection.identity:
            return None
        identity = self._shape.identity
        return [identity(row.values) for row in self._rows]

    def _streams(self) -> Iterator[Key]:
        stream = self._shape.collection.stream
        if self._rows is not None:
            take = self._shape.take_stream
            return (take(row.values) for row in self._rows)
        columns = [self._columns.column(name).to_pylist() for name in stream]
        return zip(*columns, strict=True) if columns else iter([()] * len(self))

    def _single(self) -> Key | None:
        """The one stream of all rows, if they are of one."""
        if self._rows is not None:
            found = {*map(self._shape.take_stream, [row.values for row in self._rows])}
            return found.pop() if len(found) == 1 else None
        names = self._shape.collection.stream
        columns = [self._columns.column(name).unique() for name in names]
        one = all(len(values) == 1 for values in columns)
        return tuple(values[0].as_py() for values in columns) if one else None

    def _all_new(self, stream: Key) -> bool:
        """Whether no row has the identity of another, nor one that is known to be stored."""
        if self._identities is None:
            return True
        if self._known:
            return False
        present = [identity for identity in self._identities if identity]
        return len({*present}) == len(present)

    def _arrange(self) -> None:
        single = self._single()
        if single is not None and self._all_new(single):
            self._parts[single] = _Part(1, single, [*range(len(self))])
            self._runs = [_Run(1, len(self), 0)]
            return
        first: dict[tuple[Key, str], tuple[int, int, int]] = {}
        for place, stream in enumerate(self._streams()):
            identity = self._identities[place] if self._identities else ""
            if not identity:
                self._add(self._part(stream), place)
            elif (stream, identity) in first:
                self._again(place, *first[stream, identity])
            elif not self._is_known(place, stream, identity):
                part = self._part(stream)
                first[stream, identity] = (part.number, len(part.places), place)
                self._add(part, place)

    def _part(self, stream: Key) -> _Part:
        if stream not in self._parts:
            self._parts[stream] = _Part(len(self._parts) + 1, stream)
        return self._parts[stream]

    def _add(self, part: _Part, place: int) -> None:
        self._run(part.number, len(part.places))
        part.places.append(place)

    def _run(self, part: int, start: int) -> None:
        if self._runs:
            last = self._runs[-1]
            if last.part == part and last.start + last.count == start:
                self._runs[-1] = attrs.evolve(last, count=last.count + 1)
                return
        self._runs.append(_Run(part, 1, start))

    def _again(self, place: int, part: int, offset: int, earlier: int) -> None:
        """The row at *place* has the identity of an *earlier* one of this append."""
        rows = self._rows or ()
        if rows[place].digest != rows[earlier].digest:
            raise self._taken_error(rows[place])
        self._run(part, offset)

    def _is_known(self, place: int, stream: Key, identity: str) -> bool:
        named = (self._shape.stream(stream), identity)
        found = self._known.get(named)
        if found is None:
            return False
        assert self._rows is not None
        if found[1] != self._rows[place].digest:
            raise self._taken_error(self._rows[place])
        self.verified[named] = found[0]
        self._run(0, found[0])
        return True

    def _taken_error(self, row: SealedRow) -> Exception:
        collection = self._shape.collection
        value = (*self._shape.take_stream(row.values), *collection.identity_of(row.values))
        return taken(collection, value, ("", *collection.identity))

    # -- arguments of the script -------------------------------------------------------------------

    def arguments(self, stage: Stage) -> list[Any]:
        """The arguments of the append; *stage* says how each blob goes there."""
        shape = self._shape
        said: list[Any] = ["B", shape.collection.name, len(shape.timely)]
        said += [name for name, _, _ in shape.timely]
        said.append(len(self._parts))
        for part in self._parts.values():
            said += self._part_arguments(part, stage)
        said.append(len(self.verified))
        for (stream, identity), revision in self.verified.items():
            said += (stream, identity, revision)
        said.append(len(self._runs))
        for run in self._runs:
            said += (run.part, run.count, run.start)
        return said

    def _part_arguments(self, part: _Part, stage: Stage) -> list[Any]:
        slices = [part.places[n : n + chunks.ROWS] for n in range(0, len(part.places), chunks.ROWS)]
        said: list[Any] = [self._shape.stream(part.stream), len(slices)]
        order = _Order(self._shape)
        for places in slices:
            batch = self._batch(places)
            order.note(batch)
            said += [len(places), *stage(chunks.packed(batch))]
            said += [statistics.summed_up(self._shape.collection, batch)]
            said += stage(self._ids(places))
        return said + order.arguments()

    def _batch(self, places: list[int]) -> pa.RecordBatch:
        if self._rows is not None and self._columns is None:
            rows = [self._rows[place] for place in places]
            return chunks.of_rows(self._shape.collection, rows)
        dense = places[-1] - places[0] + 1 == len(places)
        table = self._columns.slice(places[0], len(places)) if dense else self._columns.take(places)
        (batch,) = table.combine_chunks().to_batches(max_chunksize=len(places)) or [None]
        if self._rows is not None:
            digests = [self._rows[place].digest for place in places]
            batch = batch.append_column("_digest", pa.array(digests, pa.binary(16)))
        return batch

    def _ids(self, places: list[int]) -> bytes:
        if self._identities is None or self._rows is None:
            return b""
        rows, identities = self._rows, self._identities
        found = [(n, place) for n, place in enumerate(places) if identities[place]]
        if not found:
            return b""
        numbers = [] if len(found) == len(places) else [n for n, _ in found]
        lists = _pack(([identities[place] for _, place in found], numbers))
        digests = b"".join([rows[place].digest for _, place in found])
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
