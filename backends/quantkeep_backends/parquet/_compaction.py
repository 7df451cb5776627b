"""Compaction: the log and small segments folded into large sorted ones, and a manifest of them.

A manifest is another form of the state at one commit, so whoever reads or writes meanwhile is not
in its way, nor it in theirs. It becomes known by a commit, which tells handles that are open to go
over to it, and then by ``current.json``, for those to come. What it replaces stays for a while.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import pyarrow as pa

from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import Corrupt
from quantkeep.failpoints import passing
from quantkeep.progress import counted
from quantkeep_backends._files import durable
from quantkeep_backends._files.medium import Files
from quantkeep_backends.parquet import _manifest
from quantkeep_backends.parquet._columns import keys_of, table_of
from quantkeep_backends.parquet._identities import worth_keeping
from quantkeep_backends.parquet._manifest import Manifest, Reference, Shelved
from quantkeep_backends.parquet._reader import Reader
from quantkeep_backends.parquet._scalars import write_row
from quantkeep_backends.parquet._segments import (
    NEWEST_ROWS,
    SEGMENT_ROWS,
    Segment,
    write,
)
from quantkeep_backends.parquet._shelf import LogShelf
from quantkeep_backends.parquet._sorting import sorted_by_time, sorted_for_reading
from quantkeep_backends.parquet._state import State
from quantkeep_backends.parquet._tables import OPERATIONS, Operations


def created() -> Mapping[str, Any]:
    """The first commit of a keep."""
    return {"identity": str(uuid.uuid4())}


@attrs.frozen
class Written:
    """A manifest that is written, and of which nobody knows yet."""

    manifest: Manifest
    reference: Reference

    def commit_body(self, at: int) -> Mapping[str, Any]:
        """The commit that makes it known."""
        return {"at": at, "manifest": attrs.asdict(self.reference)}

    def publish(self, files: Files) -> None:
        """Let whoever opens the keep begin with it."""
        _step(files, "publish")
        _manifest.publish(files, self.manifest, self.reference)
        _step(files, "done")


@attrs.frozen
class _Part:
    """What is to be folded of one collection.

    Attributes:
        kept: segments that stay as they are.
        folded: segments whose rows go into new ones.
        rows: that are in no segment.
        gone: rows of segments that are deleted.
    """

    collection: Collection
    heads: Mapping[Key, int]
    kept: Sequence[Segment]
    folded: Sequence[Segment]
    rows: Sequence[StoredRow]
    gone: Mapping[Key, int]


class Folding:
    """A compaction of the state as it is when this is made; the caller holds the handle's lock."""

    def __init__(self, files: Files, state: State) -> None:
        self._files = files
        self._reader: Reader = state.tables.reader
        self._parts = [*_parts(state)]
        self._damaged: list[dict[str, Any]] = []
        self._manifest = Manifest(
            state.log.number, state.log.proof, state.identity, state.description, {}
        )

    def written(self) -> Written:
        """Write new segments, and the manifest that names them; beside whoever uses the handle."""
        parts = counted(self._parts, "folding collections", len(self._parts))
        shelved = {part.collection.name: self._shelved(part) for part in parts}
        manifest = attrs.evolve(self._manifest, collections=shelved, damaged=self._damaged)
        _step(self._files, "manifest")
        reference = _manifest.write(self._files, manifest)
        _step(self._files, "commit")
        return Written(manifest, reference)

    def _shelved(self, part: _Part) -> Shelved:
        _step(self._files, "collection")
        tables = _chunks(part.collection, self._tables(part))
        made = write(self._files, part.collection, tables, kept=worth_keeping)
        return Shelved(part.heads, (*part.kept, *made))

    def _tables(self, part: _Part) -> Iterator[pa.Table]:
        """What is to be folded, older rows first."""
        collection = part.collection
        for segment in part.folded:
            for number in self._reader.footer(segment).groups:
                table = self._reader.rows(collection, segment, number)
                yield _without(collection, table, part.gone)
        sound = [row for row in part.rows if self._is_sound(collection, row)]
        if sound:
            yield table_of(collection, sound)

    def _is_sound(self, collection: Collection, row: StoredRow) -> bool:
        try:
            collection.verify(row)
        except Corrupt:
            self._damaged.append(write_row(collection, row))
            return False
        return True


def _step(files: Files, name: str) -> None:
    with durable.told(files.root):
        passing(f"parquet.compact.{name}")


# -- what is to be done ----------------------------------------------------------------------------


def _parts(state: State) -> Iterator[_Part]:
    for shelf in state.tables.shelves.values():
        if isinstance(shelf, LogShelf):
            yield _of_log(shelf, [*shelf.rows.values()])
        elif (known := _unchanged(state, shelf.collection.name)) is not None:
            yield _Part(shelf.collection, dict(shelf.heads), known, (), (), {})
        else:
            rows = sorted(shelf.rows.items(), key=lambda item: [*map(_order, item[0])])
            kept = [row for _, row in rows]
            yield _Part(shelf.collection, dict(shelf.heads), (), (), kept, {})
    yield _of_operations(state.tables.operations)


def _unchanged(state: State, name: str) -> Sequence[Segment] | None:
    """The segments of a keyed collection that has not changed since they were written."""
    base = state.base
    if base is None or name not in base.collections or name in state.tables.spoiled:
        return None
    changed = state.touched.get(name, 0) > base.commit
    damaged = any(row["collection"] == name for row in base.damaged)
    return None if changed or damaged else base.collections[name].segments


def _of_log(shelf: LogShelf, rows: Sequence[StoredRow]) -> _Part:
    """Large segments without a deleted row stay; all else is folded."""
    deleted: dict[str, bool] = {
        segment.path: any(segment.may_have(key) for key in shelf.gone) for segment in shelf.base
    }
    full = [s for s in shelf.base if s.rows > SEGMENT_ROWS // 2 and not deleted[s.path]]
    small = [s for s in shelf.base if s not in full]
    young = [each.segment for each in shelf.young]
    if not rows and not young and len(small) <= 2 and not any(deleted.values()):
        full, small = [*shelf.base], []  # there is nothing to fold them with
    heads = dict(shelf.heads)
    return _Part(shelf.collection, heads, full, [*small, *young], rows, dict(shelf.gone))


def _of_operations(operations: Operations) -> _Part:
    shelf, head = operations.folded, operations.folded.head(())
    rows = []
    for op_id, (digest, receipt) in operations.items():
        head += 1
        values = (op_id, digest, receipt.to_json())
        rows.append(StoredRow(values, head, receipt.at, receipt.at, 1, OPERATIONS.digest(values)))
    part = _of_log(shelf, rows)
    return attrs.evolve(part, heads={(): head} if head else {})


def _order(part: Any) -> tuple[str, Any]:
    return (type(part).__name__, part)


# -- rows ------------------------------------------------------------------------------------------


def _without(collection: Collection, table: pa.Table, gone: Mapping[Key, int]) -> pa.Table:
    if not gone:
        return table
    there = [key not in gone for key in keys_of(collection, table)]
    return table.filter(pa.array(there, pa.bool_()))


def _chunks(collection: Collection, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The rows of *tables* in parts of the size of a segment, each in the order of reading.

    The newest rows of a log are a part by themselves, in the order of time.
    """
    waiting: list[pa.Table] = []
    count = 0
    spared = NEWEST_ROWS if collection.log else 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        while count >= SEGMENT_ROWS + spared:
            whole = pa.concat_tables(waiting)
            yield _sorted(collection, whole.slice(0, SEGMENT_ROWS))
            waiting, count = [whole.slice(SEGMENT_ROWS)], count - SEGMENT_ROWS
    if count:
        yield from _last(collection, pa.concat_tables(waiting))


def _last(collection: Collection, table: pa.Table) -> Iterator[pa.Table]:
    if not collection.log:
        yield table
        return
    by_time = sorted_by_time(collection, table)
    older = max(table.num_rows - NEWEST_ROWS, 0)
    if older:
        yield sorted_for_reading(collection, by_time.slice(0, older))
    yield by_time.slice(older)


def _sorted(collection: Collection, table: pa.Table) -> pa.Table:
    return sorted_for_reading(collection, table) if collection.log else table
