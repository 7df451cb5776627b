"""One log: its segments, and the rows of recent small commits, which are held in memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.ahead import ahead
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Scalar
from quantkeep.model import Group, HeldShelf, arranger
from quantkeep_backends.parquet._bounds import Ends
from quantkeep_backends.parquet._columns import INNER, keys_of, one, stored_rows
from quantkeep_backends.parquet._hashes import Hashes, of_value, of_values
from quantkeep_backends.parquet._identities import column_of, columns_of, hashes_of
from quantkeep_backends.parquet._reader import Reader
from quantkeep_backends.parquet._segments import Segment, revision_of

MANY: Final = 16  # rows that are worth fetching together


@attrs.define
class Position:
    """The commit that is being applied or replayed."""

    number: int = 0


@attrs.frozen
class Young:
    """A segment that came by a commit, and is not in the manifest yet."""

    commit: int
    segment: Segment


class LogShelf(HeldShelf):
    """A log. What is inherited holds the rows that are in no segment yet.

    Attributes:
        base: segments of the manifest.
        young: segments of commits behind it.
        gone: keys of rows in segments that were deleted, with the commit that did it.
    """

    def __init__(self, collection: Collection, reader: Reader, position: Position) -> None:
        super().__init__(collection)
        self.base: tuple[Segment, ...] = ()
        self.young: tuple[Young, ...] = ()
        self.gone: dict[Key, int] = {}
        self._reader = reader
        self._position = position
        self._hashes: dict[tuple[str, Group], Hashes] = {}
        self._near: dict[Key, StoredRow] = {}  # fetched together for the commit under way
        self._holders: dict[tuple[Group, Key], Key] = {}

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All that are there."""
        return (*self.base, *(young.segment for young in self.young))

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(s.rows for s in self.segments) - len(self.gone) + len(self.rows)

    # -- what a commit asks ------------------------------------------------------------------------

    def row(self, key: Key) -> StoredRow | None:
        held = self.rows.get(key) or self._near.get(key)
        if held is not None or key in self.gone:
            return None if key in self.gone else held
        for table in self._tables_with([key]):
            return stored_rows(self.collection, table)[0]
        return None

    def holder(self, group: Group, value: Key) -> Key | None:
        held = self.taken[group].get(value) if group in self.taken else None
        if held is not None:
            return held
        near = self._holders.get((group, value))
        if near is not None:
            return None if near in self.gone else near
        return next(self._holding(group, {value}), (None, None))[1]

    def referring(self, columns: Sequence[str], key: Key) -> list[Key]:
        found = super().referring(columns, key)
        for segment in self.segments:
            if self._may_hold(segment, columns, [key]):
                found += (mine for value, mine in self._values(segment, columns) if value == key)
        return [mine for mine in found if mine not in self.gone]

    def drop(self, key: Key) -> StoredRow:
        if key in self.rows:
            return super().drop(key)
        row = self.row(key)
        if row is None:
            raise KeyError(key)
        self.bury(key)
        return row

    def bury(self, key: Key) -> None:
        """Take out a row that is in a segment."""
        self.gone[key] = self._position.number

    def unbury(self, key: Key) -> None:
        """Undo :meth:`bury`."""
        self.gone.pop(key, None)

    def moved(self, collection: Collection) -> "LogShelf":
        shelf = LogShelf(collection, self._reader, self._position)
        shelf.base, shelf.young, shelf.gone = self.base, self.young, self.gone
        shelf._hashes = self._hashes  # the same log's
        arranged = arranger(self.collection, collection)
        for row in self.rows.values():
            shelf.add(row._replace(values=arranged(row.values)) if arranged else row)
        shelf.heads.update(self.heads)
        return shelf

    # -- segments that come and go -----------------------------------------------------------------

    def join(self, segments: Sequence[Segment]) -> None:
        """Take in segments that the commit under way has written, or another has."""
        self.young += tuple(Young(self._position.number, segment) for segment in segments)
        for segment in segments:
            for stream, run in segment.runs.items():
                self.heads[stream] = max(self.heads.get(stream, 0), run.last)

    def part(self, segments: Sequence[Segment]) -> None:
        """Undo :meth:`join`, but for the heads."""
        self.young = tuple(young for young in self.young if young.segment not in segments)

    def adopt(
        self, commit: int, segments: Sequence[Segment], heads: dict[Key, int], kept: set[Key]
    ) -> None:
        """Take *segments* for all that was committed up to *commit*, but for the rows *kept*."""
        self.base = tuple(segments)
        self.young = tuple(young for young in self.young if young.commit > commit)
        self.gone = {key: at for key, at in self.gone.items() if at > commit}
        folded = [k for k in self.rows if k[-1] <= heads.get(k[:-1], 0) and k not in kept]  # type: ignore[operator]  # revisions
        for key in folded:
            super().drop(key)
        paths = {segment.path for segment in self.segments}
        self._hashes = {known: h for known, h in self._hashes.items() if known[0] in paths}

    # -- many at once ------------------------------------------------------------------------------

    def fetch(self, keys: Sequence[Key]) -> None:
        """Have the rows under *keys* at hand until :meth:`forget`."""
        missing = [key for key in keys if key not in self.rows]
        if len(missing) >= MANY:
            for table in self._tables_with(missing):
                for row in stored_rows(self.collection, table):
                    self._near[self.collection.stored_key(row)] = row

    def fetch_holders(self, group: Group, values: set[Key]) -> None:
        """Have those who hold *values* at hand until :meth:`forget`."""
        for value, key in self._holding(group, values):
            self._holders[group, value] = key
        self.fetch([*self._holders.values()])

    def forget(self) -> None:
        """Let go of what was fetched."""
        self._near.clear()
        self._holders.clear()

    def may_be_held(self, group: Group, hashes: Hashes, ends: Sequence[Ends]) -> bool:
        """Whether any of some values may be in *group* already; never wrongly ``False``.

        Args:
            group: in which they are not to repeat.
            hashes: of the values.
            ends: between which they lie, by column.
        """
        columns = columns_of(self.collection, group)
        overlapping = (s for s in self.segments if s.leaves_room(columns, ends))
        known = ahead(lambda segment: self._hashes_of(segment, group), overlapping)
        return hashes.meet([of_values(self.taken.get(group, ())), *known])

    def learn(self, group: Group, segments: Sequence[Segment], hashes: Any) -> None:
        """Take *hashes* for what the rows of new *segments* have in *group*, in their order."""
        start = 0
        for segment in segments:
            self._hashes[segment.path, group] = Hashes(hashes.slice(start, segment.rows))
            start += segment.rows

    def is_beyond(self, group: Group, least: Scalar, greatest: Scalar) -> bool:
        """Whether nothing is stored from *least* to *greatest* in the last column of *group*."""
        if least is None:
            return True
        held = (value[-1] for value in self.taken.get(group, ()))
        if any(mine is None or least <= mine <= greatest for mine in held):  # type: ignore[operator]
            return False
        known = [segment.bounds.get(group[-1]) for segment in self.segments]
        return all(b is not None and b.lie_apart(least, greatest) for b in known)

    # -- looking into segments ---------------------------------------------------------------------

    def _tables_with(self, keys: Sequence[Key]) -> Iterator[pa.Table]:
        """Rows of segments that have one of *keys*, in tables of a segment's columns."""
        wanted = {key for key in keys if key not in self.gone}
        for segment in self.segments:
            here = {key for key in wanted if segment.may_have(key)}
            if here:
                yield from self._rows_with(segment, here)

    def _rows_with(self, segment: Segment, keys: set[Key]) -> Iterator[pa.Table]:
        revisions = pa.array(sorted({revision_of(key) for key in keys}), pa.int64())
        footer = self._reader.footer(segment)
        for number in footer.groups:
            bounds = footer.bounds(self.collection, number).get("revision")
            if bounds and bounds.lie_apart(revisions[0].as_py(), revisions[-1].as_py()):
                continue
            table = self._reader.rows(self.collection, segment, number)
            found = table.filter(pc.is_in(table.column(INNER[0]), value_set=revisions))
            mask = [key in keys for key in keys_of(self.collection, found)]
            if any(mask):
                yield found.filter(pa.array(mask, pa.bool_()))

    def _holding(self, group: Group, values: set[Key]) -> Iterator[tuple[Key, Key]]:
        """The *values* that are in segments, each with the key of its row."""
        columns = columns_of(self.collection, group)
        hashed = [(value, of_value(value)) for value in values]
        for segment in self.segments:
            if self._may_hold(segment, columns, values):
                hashes = self._hashes_of(segment, group)
                here = {value for value, wanted in hashed if hashes.has(wanted)}
                if here:
                    for value, key in self._values(segment, columns):
                        if value in here and key not in self.gone:
                            yield value, key

    def _hashes_of(self, segment: Segment, group: Group) -> Hashes:
        """The hashes of what *segment* holds in *group*; read once."""
        known = self._hashes.get((segment.path, group))
        if known is None:
            known = self._read_hashes(segment, group)
            self._hashes[segment.path, group] = known
        return known

    def _read_hashes(self, segment: Segment, group: Group) -> Hashes:
        if group in segment.hashes:
            return Hashes.from_bytes(self._reader.piece(segment, segment.hashes[group]))
        columns, parts = columns_of(self.collection, group), list[Any]()
        for table in self._groups(segment, columns):
            values = [column_of(self.collection, table, name) for name in columns]
            parts.append(one(hashes_of(group, values)))
        return Hashes(pa.chunked_array(parts, pa.int64()))

    def _values(self, segment: Segment, columns: Sequence[str]) -> Iterator[tuple[Key, Key]]:
        """What each row of *segment* has in *columns*, and its key; reads these columns alone."""
        for table in self._groups(segment, [*columns, *self.collection.stream, INNER[0]]):
            lists = [column_of(self.collection, table, name).to_pylist() for name in columns]
            yield from zip(zip(*lists, strict=True), keys_of(self.collection, table), strict=True)

    def _groups(self, segment: Segment, columns: Sequence[str]) -> Iterator[pa.Table]:
        names = [*dict.fromkeys(columns)]
        for number in self._reader.footer(segment).groups:
            yield self._reader.group(segment, number, names)

    def _may_hold(self, segment: Segment, columns: Sequence[str], values: Iterable[Key]) -> bool:
        """Whether the bounds of *segment* leave room for one of *values* in *columns*."""
        lists = [*zip(*values, strict=True)] or [()] * len(columns)
        ends = [None if not v or None in v else (min(v), max(v)) for v in lists]
        return segment.leaves_room(columns, ends)


def segment_rows(
    collection: Collection, reader: Reader, segments: Iterable[Segment], gone: Mapping[Key, int]
) -> Iterator[StoredRow]:
    """Every row of *segments* that is not *gone*, in no order."""
    for segment in segments:
        for number in reader.footer(segment).groups:
            for row in stored_rows(collection, reader.rows(collection, segment, number)):
                if not gone or collection.stored_key(row) not in gone:
                    yield row
