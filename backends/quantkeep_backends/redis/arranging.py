"""Which rows of large appends are new, and which of them the keep has already."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import NamedTuple, Protocol

import attrs
import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Key
from quantkeep.contract import taken
from quantkeep.errors import AlreadyExists
from quantkeep_backends.redis import chunks, contents
from quantkeep_backends.redis.shapes import Shape
from quantkeep_backends.redis.sources import Source
from quantkeep_backends.redis.staging import Learnt


class Stored(Protocol):
    """Tells of entries that are stored; of those that are gone, nothing."""

    def digests(self, shape: Shape, key: Key, revisions: Sequence[int]) -> Mapping[int, bytes]:
        """The digests of ascending *revisions* of a stream."""
        ...

    def contents(
        self, shape: Shape, key: Key, revisions: Sequence[int]
    ) -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
        """The columns of those that are packed, a chunk at a time, and which revisions they are."""
        ...


class Run(msgspec.Struct):
    """Rows of an append that follow each other: of a part from an offset, or (0) revisions."""

    part: int
    count: int
    start: int


@attrs.define
class Part:
    """The new rows of one stream."""

    number: int
    stream: Key
    places: Sequence[int] = attrs.field(factory=list)


@attrs.define
class Said:
    """What is to be answered of one append."""

    added: int = 0
    runs: list[Run] = attrs.field(factory=list)

    def run(self, part: int, start: int) -> None:
        """One more row."""
        if self.runs:
            last = self.runs[-1]
            if last.part == part and last.start + last.count == start:
                last.count += 1
                return
        self.runs.append(Run(part, 1, start))


class _Told(NamedTuple):
    """A row whose identity the keep knows, or (no revision) another row has, at *earlier*."""

    place: int
    stream: Key
    revision: int = 0
    digest: bytes = b""
    earlier: int = 0


class Arrangement:
    """The rows of appends to one log, one behind the other, taken apart by streams.

    Args:
        shape: of the log.
        source: all rows.
        counts: of the rows of each append.
        learnt: what is stored already of their identities.
        stored: tells the content of entries whose digest is not known.
        unseen: many rows are assumed to be new; the server tells when they are sent ahead.

    Attributes:
        parts: by streams.
        said: of each append.
        verified: identities that are known, and the revisions of their entries.

    Raises:
        AlreadyExists: a row has the identity of another, and other content.
    """

    def __init__(
        self, shape: Shape, source: Source, counts: Sequence[int], learnt: Learnt,
        stored: Stored, *, unseen: bool,
    ) -> None:  # fmt: skip
        self._shape = shape
        self._source = source
        self._learnt = learnt
        self._stored = stored
        self.parts: dict[Key, Part] = {}
        self.said = [Said() for _ in counts]
        self.verified: dict[tuple[str, str], int] = {}
        single = source.single()
        if single is not None and self._all_new(unseen=unseen):
            self._as_it_is(single, counts)
        else:
            self._one_by_one(counts)

    def _all_new(self, *, unseen: bool) -> bool:
        """Whether no row has the identity of another, nor one that is known to be stored."""
        if not self._source.identified:
            return True
        if self._learnt.known or unseen:
            return not (self._learnt.known or self._learnt.careful)
        present = [identity for _, identity in self._source.each() if identity]
        return len({*present}) == len(present)

    def _as_it_is(self, stream: Key, counts: Sequence[int]) -> None:
        self.parts[stream] = Part(1, stream, range(len(self._source)))
        start = 0
        for said, count in zip(self.said, counts, strict=True):
            said.added, said.runs = count, [Run(1, count, start)]
            start += count

    def _one_by_one(self, counts: Sequence[int]) -> None:
        told = list[_Told]()
        first: dict[tuple[Key, str], tuple[int, int, int]] = {}
        each = enumerate(self._source.each())
        for said, count in zip(self.said, counts, strict=True):
            for place, (stream, identity) in islice(each, count):
                found = self._row(said, place, stream, identity, first)
                if found is not None:
                    told.append(found)
        self._compare(told)

    def _row(
        self, said: Said, place: int, stream: Key, identity: str,
        first: dict[tuple[Key, str], tuple[int, int, int]],
    ) -> _Told | None:  # fmt: skip
        """Where a row goes; what its content is to be compared with, if its identity is known."""
        if identity and (earlier := first.get((stream, identity))):
            part, offset, other = earlier
            said.run(part, offset)
            return _Told(place, stream, earlier=other)
        named = (self.named(stream), identity)
        known = self._learnt.known.get(named) if identity else None
        if known is not None:
            self.verified[named] = known[0]
            said.run(0, known[0])
            return _Told(place, stream, *known)
        of = self.parts.setdefault(stream, Part(len(self.parts) + 1, stream))
        assert isinstance(of.places, list)
        said.run(of.number, len(of.places))
        said.added += 1
        if identity:
            first[stream, identity] = (of.number, len(of.places), place)
        of.places.append(place)
        return None

    def named(self, stream: Key) -> str:
        """A stream's name, in keys and for the script."""
        return f"{self._shape.collection.name}:{self._shape.stream(stream)}"

    # -- contents ----------------------------------------------------------------------------------

    def _compare(self, told: Sequence[_Told]) -> None:
        """Hold rows against what has their identity already."""
        for start in range(0, len(told), chunks.ROWS):
            some = told[start : start + chunks.ROWS]
            digested = [each for each in some if each.digest or not each.revision]
            others: dict[Key, list[_Told]] = {}
            for each in some:
                if each.revision and not each.digest:
                    others.setdefault(each.stream, []).append(each)
            wrong = [*self._wrong_by_digest(digested)]
            wrong += chain.from_iterable(self._wrong_by_columns(*of) for of in others.items())
            if wrong:
                raise self._taken(min(wrong))

    def _wrong_by_digest(self, told: Sequence[_Told]) -> Iterator[int]:
        places = sorted({
            *(each.place for each in told), *(each.earlier for each in told if not each.revision)
        })  # fmt: skip
        ours = dict(zip(places, self._source.digests(places), strict=True)) if places else {}
        for each in told:
            if ours[each.place] != (each.digest or ours[each.earlier]):
                yield each.place

    def _wrong_by_columns(self, stream: Key, told: Sequence[_Told]) -> Iterator[int]:
        """Of rows whose entries have no digest; those that are gone meanwhile are no matter."""
        revisions = pa.array([each.revision for each in told], pa.int64())
        places = pa.array([each.place for each in told], pa.int64())
        asked = sorted({each.revision for each in told})
        for theirs, found in self._stored.contents(self._shape, stream, asked):
            at = pc.index_in(revisions, found)
            ours = places.filter(at.is_valid())
            if len(ours):
                batch = self._source.slice(ours.to_pylist()).batch
                same = contents.same(self._shape.collection, batch, theirs.take(at.drop_null()))
                yield from ours.filter(pc.invert(same)).to_pylist()

    def _taken(self, place: int) -> AlreadyExists:
        row, collection = self._source.row(place), self._shape.collection
        value = (*self._shape.take_stream(row.values), *collection.identity_of(row.values))
        return taken(collection, value, ("", *collection.identity))
