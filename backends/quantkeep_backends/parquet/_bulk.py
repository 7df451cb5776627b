"""Large appends: rows that become segments, before the commit that makes them visible."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import length_hint
from typing import Any, Final

import attrs
import pyarrow as pa
import pyarrow.compute as pc

from quantkeep import arrow
from quantkeep.batch import Append, Outcome
from quantkeep.collection import Collection, Key, SealedRow
from quantkeep.contract import taken
from quantkeep.model import Group, arranger
from quantkeep_backends.parquet._columns import (
    canonical_table,
    file_table,
    is_constant,
)
from quantkeep_backends.parquet._hashes import Hashes
from quantkeep_backends.parquet._segments import Ends, Segment, portions
from quantkeep_backends.parquet._shelf import LogShelf, columns_of, hashes_of

LARGE: Final = 1_000  # rows: from here on, a file of their own costs less than the log
_CHUNK: Final = 10_000

Write = Callable[[Collection, Iterable[pa.Table]], Sequence[Segment]]


def is_large(append: Append, shelf: LogShelf) -> bool:
    """Whether the rows are better kept in segments than in the log."""
    return not shelf.collection.references and length_hint(append.rows) >= LARGE


@attrs.frozen
class _Given:
    """What is to be appended, as canonical columns with its stamps.

    Attributes:
        rows: the same as sealed rows, made anew each time.
    """

    table: pa.Table
    created: Any
    updated: Any
    rows: Iterable[SealedRow]

    def taken(self, places: Sequence[int]) -> "_Given":
        """Of the rows those at *places*."""
        wanted = pa.array(places, pa.int64())
        return attrs.evolve(
            self,
            table=self.table.take(wanted),
            created=self.created.take(wanted),
            updated=self.updated.take(wanted),
        )


def append(shelf: LogShelf, write: Append, now: int, write_segments: Write) -> Outcome:
    """Append the rows of *write* that are new, in segments of their own.

    Raises:
        AlreadyExists: a row's identity is stored with other content.
    """
    given = _given(shelf.collection, write, now)
    hashes: dict[Group, Any] = {}
    if not any(_may_repeat(shelf, group, given, hashes) for group in _groups(shelf.collection)):
        return _added(shelf, given, write_segments, hashes)
    fresh, places = _resolved(shelf, given)
    if not fresh:
        return Outcome([-place for place in places], 0)
    outcome = _added(shelf, given.taken(fresh), write_segments, {})
    given_revisions = outcome.revisions
    return Outcome([-p if p < 0 else given_revisions[p] for p in places], len(fresh))


# -- what is given ---------------------------------------------------------------------------------


def _given(collection: Collection, write: Append, now: int) -> _Given:
    table = getattr(write.rows, "table", None)
    if table is not None:  # it came as Arrow: no row has to be made
        stamps = pa.repeat(pa.scalar(now, pa.int64()), table.num_rows)
        return _Given(_widened(collection, table), stamps, stamps, _rows(collection, write))
    rows = [*_rows(collection, write)]
    created = pa.array([now if r.created_at is None else r.created_at for r in rows], pa.int64())
    updated = pa.array([now if r.updated_at is None else r.updated_at for r in rows], pa.int64())
    return _Given(_columns(collection, rows), created, updated, rows)


def _rows(collection: Collection, write: Append) -> Iterable[SealedRow]:
    """The rows with the columns of *collection*: another program may have added some (Z-3)."""
    arranged = arranger(write.collection, collection)
    if arranged is None:
        return write.rows
    return (row._replace(values=arranged(row.values)) for row in write.rows)


def _widened(collection: Collection, table: pa.Table) -> pa.Table:
    have = set(table.column_names)
    arrays = [
        table.column(c.name)
        if c.name in have
        else pa.nulls(table.num_rows, arrow.scalar_type(c.kind))
        for c in collection.columns
    ]
    return pa.Table.from_arrays(arrays, names=[*collection.names])


def _columns(collection: Collection, rows: Sequence[SealedRow]) -> pa.Table:
    """In chunks: turning a million tuples at once is slower by half."""
    values, parts = iter(rows), list[pa.Table]()
    while chunk := [row.values for row in islice(values, _CHUNK)]:
        parts.append(canonical_table(collection, chunk))
    return pa.concat_tables(parts)


# -- what of it is new -----------------------------------------------------------------------------


def _groups(collection: Collection) -> Iterator[Group]:
    yield from collection.unique
    if collection.identity:
        yield ("", *collection.identity)


def _may_repeat(shelf: LogShelf, group: Group, given: _Given, hashes: dict[Group, Any]) -> bool:
    """Whether two rows may have the same in *group*, or one has what is stored already.

    The hashes of what each row has there are put into *hashes*, if they had to be computed.
    """
    if _is_apart(shelf, group, given.table):
        return False
    columns = [given.table.column(name) for name in columns_of(shelf.collection, group)]
    hashes[group] = hashes_of(group, columns)
    known = Hashes(hashes[group])
    return known.repeat() or shelf.may_be_held(group, known, [*map(_ends, columns)])


def _ends(values: Any) -> Ends:
    """The least and the greatest of a column; ``None`` where there are nulls."""
    if values.null_count or not len(values):
        return None
    ends = pc.min_max(values)
    return ends["min"].as_py(), ends["max"].as_py()


def _is_apart(shelf: LogShelf, group: Group, table: pa.Table) -> bool:
    """Whether the rows differ in one column of *group*, and lie in it beyond all that is stored.

    So it is with identifiers that ascend, and then no row has to be looked at.
    """
    values = table.column(shelf.collection.places[group[-1]])
    valid = len(values) - values.null_count
    if group[0] != "" and values.null_count:
        return False
    ends = pc.min_max(values)
    if not shelf.is_beyond(group, ends["min"].as_py(), ends["max"].as_py()):
        return False
    return _ascends(values) or bool(pc.count_distinct(values).as_py() == valid)


def _ascends(values: Any) -> bool:
    """Whether each of *values* is greater than the one before, as ids of an exchange often are."""
    less = pc.less(values.slice(0, len(values) - 1), values.slice(1))
    return bool(pc.all(less, skip_nulls=False).as_py())


def _resolved(shelf: LogShelf, given: _Given) -> tuple[list[int], list[int]]:
    """The places of rows that are new, and of each row its place among these, or (negative) the
    revision it has already.
    """
    rows = [*given.rows]
    wanted: dict[Group, set[Key]] = {}
    for row in rows:
        for group, value in shelf.groups(row.values):
            wanted.setdefault(group, set()).add(value)
    for group, values in wanted.items():
        shelf.fetch_holders(group, values)
    seen: dict[tuple[Group, Key], int] = {}
    fresh, places = list[int](), list[int]()
    for number, row in enumerate(rows):
        place = _place(shelf, row, seen, rows, fresh)
        if place is None:
            place = len(fresh)
            fresh.append(number)
            seen.update(dict.fromkeys(shelf.groups(row.values), place))
        places.append(place)
    return fresh, places


def _place(
    shelf: LogShelf,
    row: SealedRow,
    seen: dict[tuple[Group, Key], int],
    rows: Sequence[SealedRow],
    fresh: Sequence[int],
) -> int | None:
    for group, value in shelf.groups(row.values):
        place = seen.get((group, value))
        if place is not None:
            digest = rows[fresh[place]].digest
        else:
            holder = shelf.holder(group, value)
            known = None if holder is None else shelf.row(holder)
            if known is None:
                continue
            place, digest = -known.revision, known.digest
        if group[0] == "" and digest == row.digest:
            return place
        raise taken(shelf.collection, value, group)
    return None


# -- adding ----------------------------------------------------------------------------------------


def _added(
    shelf: LogShelf, given: _Given, write_segments: Write, hashes: Mapping[Group, Any]
) -> Outcome:
    collection = shelf.collection
    revisions = _revisions(shelf, given.table)
    stamps = [
        pa.array(revisions, pa.int64()),
        given.created,
        given.updated,
        pa.repeat(pa.scalar(collection.schema_version, pa.int64()), given.table.num_rows),
    ]
    table = file_table(collection, given.table, stamps)
    segments = write_segments(collection, portions(table))
    shelf.join(segments)
    for group, known in hashes.items():
        shelf.learn(group, segments, known)
    return Outcome(revisions, given.table.num_rows)


def _revisions(shelf: LogShelf, table: pa.Table) -> Sequence[int]:
    """The next revisions of each row's stream, in order."""
    stream = [table.column(name) for name in shelf.collection.stream]
    if all(map(is_constant, stream)):
        first = shelf.head(tuple(values[0].as_py() for values in stream)) + 1
        return range(first, first + table.num_rows)
    counts: Counter[Key] = Counter()
    revisions = []
    for key in zip(*[values.to_pylist() for values in stream], strict=True):
        counts[key] += 1
        revisions.append(shelf.head(key) + counts[key])
    return revisions
