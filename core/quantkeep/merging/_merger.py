"""Merging, stream by stream: what is added, what is equal, what is in conflict."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import attrs

from quantkeep.backend import Backend
from quantkeep.batch import ABSENT, Append, AtRevision, Batch, Put, Require, Write
from quantkeep.blobs import BlobRef
from quantkeep.collection import Collection, Key, SealedRow, StoredRow
from quantkeep.columns import Kind
from quantkeep.errors import AlreadyExists, Conflict, Corrupt
from quantkeep.failpoints import passing
from quantkeep.merging._positions import Positions
from quantkeep.merging._source import BATCH, Source
from quantkeep.merging._target import Place, Target, spans_of
from quantkeep.merging.records import MergeMark
from quantkeep.merging.report import MergeConflict, MergeReport
from quantkeep.model import arranger
from quantkeep.progress import counted

Prefer = Literal["fallback", "primary"] | None
_TRIES: Final = 8  # of a commit, each lost to another writer


@attrs.define
class Chunk:
    """Some rows of one stream, and what is to become of each.

    Attributes:
        rows: as they are in the source.
        writes: of the rows that the target lacks, or is to have instead.
        equal: rows that it has.
        dropped: rows that are given up.
        replaced: how many of the writes replace what is there.
        pending: rows in conflict, and why.
    """

    rows: Sequence[StoredRow]
    writes: list[tuple[StoredRow, SealedRow, Put | None]] = attrs.field(factory=list)
    equal: list[tuple[StoredRow, int]] = attrs.field(factory=list)
    dropped: int = 0
    replaced: int = 0
    pending: list[tuple[StoredRow, str]] = attrs.field(factory=list)


@attrs.frozen
class Merger:
    """Merges a source into a target, and says what it did."""

    source: Source
    target: Target
    prefer: Prefer
    report: MergeReport = attrs.field(factory=MergeReport)
    left: dict[str, set[Key]] = attrs.field(factory=dict)  # keys in conflict, by collection

    def run(self) -> MergeReport:
        """Merge everything, then empty the source of what was merged."""
        collections = [*self.source.collections.values()]
        self._merge_all(collections)
        while before := len(self.report.conflicts):  # references may go in a circle
            self._merge_all(collections)
            if len(self.report.conflicts) == before:
                break
        for collection in counted([*reversed(collections)], "clearing", len(collections)):
            for stream, rows in self.source.streams(collection):
                self._clear(collection, stream, rows)
        passing("merging.cleared")
        self.source.compact()
        return self.report

    def _merge_all(self, collections: Sequence[Collection]) -> None:
        self.left.clear()
        self.report.conflicts.clear()
        for collection in counted(collections, "merging", len(collections)):
            for stream, rows in self.source.streams(collection):
                self._merge(collection, stream, rows)

    # -- one stream ------------------------------------------------------------------------------

    def _merge(self, collection: Collection, stream: Key, rows: Sequence[StoredRow]) -> None:
        place = self.target.places[collection.name]
        mark = place.mark(self.source.identity, collection.name, stream)
        due = [row for row in rows if _is_due(row, mark)]
        due.sort(key=lambda row: row.revision)
        for start in range(0, len(due), BATCH):
            self._merge_some(collection, place, stream, due[start : start + BATCH])

    def _merge_some(
        self, collection: Collection, place: Place, stream: Key, rows: Sequence[StoredRow]
    ) -> None:
        for row in rows:
            collection.verify(row)
            self._bring_blobs(collection, place.backend, row)
        for known in (False, *[True] * _TRIES):
            mark = place.mark(self.source.identity, collection.name, stream)
            due = [row for row in rows if _is_due(row, mark)]  # others may merge it, too
            chunk = self._judged(collection, place, due, look=known)
            try:
                self._commit(collection, place, stream, mark, chunk)
            except AlreadyExists as error:  # of a unique group, if a record is by itself
                if len(rows) > 1 and not collection.log:
                    for row in rows:
                        self._merge_some(collection, place, stream, [row])
                    return
                if known and not collection.log:
                    given_up = Chunk(due)
                    self._in_conflict(given_up, due[0], str(error))
                    self._commit(collection, place, stream, mark, given_up)
                    return
            except Conflict:
                continue  # another writer was first: look again
            else:
                return
        raise Conflict(f"{collection.name}: {_TRIES} times another writer was first: merge again")

    # -- judging ---------------------------------------------------------------------------------

    def _judged(
        self, collection: Collection, place: Place, rows: Sequence[StoredRow], *, look: bool
    ) -> Chunk:
        """What is to become of *rows*; entries of a log are looked for in the target on demand."""
        chunk, positions = Chunk(rows), Positions(self.source, self.target)
        arranged = arranger(collection, place.collection) or (lambda values: values)
        for row in rows:
            why = self._held_up(collection, row)
            if why is not None:
                self._in_conflict(chunk, row, why)
                continue
            values = arranged(positions.moved(collection, row))
            digest = place.collection.digest(values)
            sealed = SealedRow(values, digest, row.created_at, row.updated_at)
            if not collection.log:
                self._judge_record(chunk, place, row, sealed)
            elif look:
                self._judge_entry(chunk, place, row, sealed)
            else:
                chunk.writes.append((row, sealed, None))
        return chunk

    def _judge_record(self, chunk: Chunk, place: Place, row: StoredRow, sealed: SealedRow) -> None:
        key = place.collection.key_of(sealed.values)
        there = place.row(key)
        if there is None:
            chunk.writes.append((row, sealed, Put(place.collection, sealed, ABSENT)))
        elif there.digest == sealed.digest:
            chunk.equal.append((row, there.revision))
        elif self.prefer == "fallback" and not place.collection.immutable:
            put = Put(place.collection, sealed, AtRevision(there.revision))
            chunk.writes.append((row, sealed, put))
            chunk.replaced += 1
        else:
            self._in_conflict(chunk, row, f"differs from what is stored ({_changed(there)})")

    def _judge_entry(self, chunk: Chunk, place: Place, row: StoredRow, sealed: SealedRow) -> None:
        there = place.identified(sealed.values)
        if there is None:
            chunk.writes.append((row, sealed, None))
        elif there.digest == sealed.digest:
            chunk.equal.append((row, there.revision))
        else:
            self._in_conflict(chunk, row, f"has the uid of another entry ({_changed(there)})")

    def _in_conflict(self, chunk: Chunk, row: StoredRow, why: str) -> None:
        if self.prefer == "primary":
            chunk.dropped += 1
        else:
            chunk.pending.append((row, why))

    def _held_up(self, collection: Collection, row: StoredRow) -> str | None:
        """Why *row* cannot be merged whatever is stored: what it belongs to was not."""
        for reference in collection.references:
            key = collection.pick(reference.columns)(row.values)
            if None in key:
                continue
            if reference.on_delete == "cascade" and key in self.left.get(reference.to, ()):
                return f"belongs to {reference.to} {key!r}, which is in conflict"
            if self.target.places[reference.to].row(key) is None:
                return f"refers to {reference.to} {key!r}, which is not stored"
        return None

    def _bring_blobs(self, collection: Collection, to: Backend, row: StoredRow) -> None:
        """Stage what the documents of *row* refer to; it is invisible until the commit."""
        for ref in _references(collection, row):
            for digest in ref.chunks:
                data = self.source.backend.open_blob(digest)
                if data is None:
                    raise Corrupt(
                        f"{collection.name}: a piece of blob {ref.digest} is gone from the "
                        "fallback: restore it from a backup",
                        locator=f"blob/{ref.digest}",
                    )
                to.put_blob(digest, data)

    # -- committing ------------------------------------------------------------------------------

    def _commit(
        self, collection: Collection, place: Place, stream: Key, before: MergeMark, chunk: Chunk
    ) -> None:
        """Write *chunk* and how far it goes, in one commit; nothing if another writer was first."""
        if not chunk.rows:
            return
        writes, spans = _writes(place, stream, chunk)
        after = _moved_on(before, chunk, spans)
        passing("merging.commit")
        place.backend.commit(Batch((*writes, place.marked(before, after))))
        passing("merging.committed")
        self._count(collection, chunk)

    def _count(self, collection: Collection, chunk: Chunk) -> None:
        name, report = collection.name, self.report
        report.added += Counter({name: len(chunk.writes) - chunk.replaced})
        report.replaced += Counter({name: chunk.replaced})
        report.equal += Counter({name: len(chunk.equal)})
        report.dropped += Counter({name: chunk.dropped})
        for row, why in chunk.pending:
            key = collection.stored_key(row)
            self.left.setdefault(name, set()).add(key)
            report.conflicts.append(MergeConflict(name, key, why))

    # -- emptying the source ---------------------------------------------------------------------

    def _clear(self, collection: Collection, stream: Key, rows: Sequence[StoredRow]) -> None:
        """Remove what is in the target for certain, and what nothing that is left refers to."""
        place = self.target.places[collection.name]
        mark = place.mark(self.source.identity, collection.name, stream)
        done = [row for row in rows if not _is_due(row, mark)]
        gone = [row for row in done if not self._is_needed(collection, row)]
        for row in {*rows} - {*gone}:
            for reference in collection.references:
                key = collection.pick(reference.columns)(row.values)
                self.left.setdefault(reference.to, set()).add(key)
        passing("merging.clear")
        self.source.remove(collection, gone)

    def _is_needed(self, collection: Collection, row: StoredRow) -> bool:
        return collection.stored_key(row) in self.left.get(collection.name, ())


def _is_due(row: StoredRow, mark: MergeMark) -> bool:
    return row.revision > mark.merged or row.revision in mark.pending


def _writes(place: Place, stream: Key, chunk: Chunk) -> tuple[list[Write], list[tuple[int, int]]]:
    """What puts *chunk* into the target, and which entry becomes which.

    The revisions of entries are known before the commit, which requires that they come true.
    """
    if not place.collection.log:
        return [put for _, _, put in chunk.writes if put is not None], []
    rows = [sealed for _, sealed, _ in chunk.writes]
    head = place.head(stream)
    spans = [(row.revision, there) for row, there in chunk.equal]
    spans += [(row.revision, head + n) for n, (row, _, _) in enumerate(chunk.writes, start=1)]
    if not rows:
        return [], sorted(spans)
    last = head + len(rows)
    return [
        Append(place.collection, rows),
        Require(place.collection, (*stream, last), AtRevision(last)),
        Require(place.collection, (*stream, last + 1), ABSENT),
    ], sorted(spans)


def _moved_on(mark: MergeMark, chunk: Chunk, moved: Sequence[tuple[int, int]]) -> MergeMark:
    """*mark* once *chunk* was dealt with."""
    revisions = {row.revision for row in chunk.rows}
    pending = {*mark.pending} - revisions | {row.revision for row, _ in chunk.pending}
    spans = spans_of(mark)
    for there, here in moved:
        if spans and (there, here) == (spans[-1][0] + spans[-1][2], spans[-1][1] + spans[-1][2]):
            spans[-1][2] += 1
        else:
            spans.append([there, here, 1])
    merged = max(mark.merged, *revisions)
    return mark.replace(merged=merged, pending=sorted(pending), spans=spans)


def _references(collection: Collection, row: StoredRow) -> Iterator[BlobRef]:
    for column, value in zip(collection.columns, row.values, strict=True):
        if column.kind is Kind.DOCUMENT and isinstance(value, str) and '"blob":' in value:
            yield from BlobRef.find_in(json.loads(value))


def _changed(there: StoredRow) -> str:
    return f"revision {there.revision} there"
