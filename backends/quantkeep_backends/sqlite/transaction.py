"""The writes of one batch, inside one transaction."""

import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from quantkeep.batch import (
    Anything,
    Append,
    Batch,
    Delete,
    Expectation,
    Holding,
    Outcome,
    Put,
    Receipt,
    Require,
    Write,
)
from quantkeep.collection import Collection, Key, Reference, SealedRow, StoredRow
from quantkeep.contract import check_expectation, taken
from quantkeep.failpoints import passing
from quantkeep_backends.sqlite import streams
from quantkeep_backends.sqlite.complaints import explain_row
from quantkeep_backends.sqlite.engine import REVISION_BITS, REVISION_MASK
from quantkeep_backends.sqlite.entries import Revisions, entries
from quantkeep_backends.sqlite.heads import Heads
from quantkeep_backends.sqlite.prepared import Prepared
from quantkeep_backends.sqlite.remembered import Known, Misjudged, Remembered
from quantkeep_backends.sqlite.rows import Raw
from quantkeep_backends.sqlite.streams import Seen

Prepare = Callable[[Collection], Prepared]
Peers = Callable[[], Mapping[str, Collection]]


class Transaction:
    """Applies writes in order; nothing of it is visible, or known to the handle, before its end.

    Attributes:
        removed: every record that was deleted, or that went with one.

    Args:
        connection: in a transaction.
        prepare: gives the statements of a collection.
        seen: what the handle has seen of streams.
        remembered: what it has written of keyed records.
        now: the stamp of everything written.
        peers: gives all collections of the keep, by name.
        careful: look for each entry's identity before it is appended, and guess nothing.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        prepare: Prepare,
        seen: Seen,
        remembered: Remembered,
        now: int,
        peers: Peers,
        *,
        careful: bool = False,
    ) -> None:
        self.connection = connection
        self.prepare = prepare
        self.now = now
        self._heads = Heads(connection, seen, guessing=not careful)
        self._remembered = remembered
        self._written: dict[tuple[str, Key], Known | None] = {}
        self._careful = careful
        self._peers = peers
        self._removing: set[tuple[str, int]] = set()
        self.removed: list[tuple[Collection, Key]] = []

    def apply(self, batch: Batch) -> Receipt:
        """Apply the writes of *batch*."""
        outcomes = tuple(self._passed(write) for write in batch.writes)
        self._heads.advance()
        passing("sqlite.commit.written")
        return Receipt(outcomes, self.now, batch.op_id)

    def committed(self) -> None:
        """Let the handle know how far the streams have come, and what was written."""
        self._remembered.note(self._written)
        self._heads.committed()

    def _passed(self, write: Write) -> Outcome:
        passing("sqlite.commit.write")
        return self._apply(write)

    def _apply(self, write: Write) -> Outcome:
        match write:
            case Append():
                return self._append(self.prepare(write.collection), write)
            case Put(collection, row, expect):
                return self._put(self.prepare(collection), row, expect)
            case Delete(collection, key, expect):
                return self._delete(self.prepare(collection), key, expect)
            case Require(collection, key, expect):
                self._expect(self.prepare(collection), key, expect)
                return Outcome()

    # -- appending -------------------------------------------------------------------------------

    def _append(self, prepared: Prepared, write: Append) -> Outcome:
        if self._careful:
            return self._append_carefully(prepared, write)
        revisions = Revisions()
        rows = entries(prepared, write.rows, self.now, partial(self._heads.of, prepared), revisions)
        try:
            self.connection.executemany(prepared.insert, rows)
        except sqlite3.IntegrityError:
            raise Misjudged from None
        given = revisions.given()
        return Outcome(given, len(given))

    def _append_carefully(self, prepared: Prepared, write: Append) -> Outcome:
        revisions: list[int] = []
        added = 0
        for row in write.rows:
            known = self._appended(prepared, row)
            added += known is None
            revisions.append(self._append_one(prepared, row) if known is None else known)
        return Outcome(revisions, added)

    def _append_one(self, prepared: Prepared, row: SealedRow) -> int:
        stream = self._heads.of(prepared, prepared.collection.stream_of(row.values))
        place = stream.first + stream.head + 1
        try:
            self.connection.execute(prepared.insert, prepared.codec.entry(row, place, self.now))
        except sqlite3.IntegrityError as error:
            raise explain_row(self.connection, prepared, row, None, error) from None
        stream.head += 1
        return stream.head

    def _appended(self, prepared: Prepared, row: SealedRow) -> int | None:
        """The revision of the entry that is there already, if it is."""
        wanted = prepared.identity_values(row.values)
        found = wanted and self.connection.execute(prepared.identified, wanted).fetchone()
        if not found:
            return None
        if found[1] != row.digest:
            collection = prepared.collection
            value = (*collection.stream_of(row.values), *collection.identity_of(row.values))
            raise taken(collection, value, collection.identity)
        place: int = found[0]
        return place & REVISION_MASK

    # -- keyed records ---------------------------------------------------------------------------

    def _put(self, prepared: Prepared, row: SealedRow, expect: Expectation) -> Outcome:
        collection = prepared.collection
        key = collection.key_of(row.values)
        known = self._recalled(collection, key, expect) or self._expect(prepared, key, expect)
        if known is not None and collection.immutable:
            if known.digest == row.digest:
                return Outcome((known.revision,), 0)
            raise taken(collection, key, collection.key)
        stream = self._heads.of(prepared, collection.stream_of(row.values))
        stream.head += 1
        self._store(prepared, row, stream.head, known)
        return Outcome(range(stream.head, stream.head + 1), 0 if known else 1)

    def _store(
        self, prepared: Prepared, row: SealedRow, revision: int, known: Known | None
    ) -> None:
        given = self.now if row.created_at is None else row.created_at
        created = known.created_at if known else given
        raw = prepared.codec.record(row, revision, created, self.now)
        try:
            rowid = (
                self._insert(prepared, raw) if known is None else self._change(prepared, raw, known)
            )
        except sqlite3.IntegrityError as error:
            own = known and known.rowid
            raise explain_row(self.connection, prepared, row, own, error) from None
        place = (prepared.collection.name, prepared.collection.key_of(row.values))
        steady = prepared.steady_of(raw)
        self._written[place] = Known(rowid, revision, created, row.digest, None, steady)

    def _insert(self, prepared: Prepared, raw: Raw) -> int:
        rowid = self.connection.execute(prepared.insert, raw).lastrowid
        assert rowid is not None
        return rowid

    def _change(self, prepared: Prepared, raw: Raw, known: Known) -> int:
        same = prepared.steady_of(raw) == known.steady
        sql, pick = prepared.quiet if same else prepared.update
        values = (*pick(raw), known.rowid, known.revision, known.digest)
        if self.connection.execute(sql, values).rowcount != 1:
            raise Misjudged
        return known.rowid

    def _delete(self, prepared: Prepared, key: Key, expect: Expectation) -> Outcome:
        known = self._expect(prepared, key, expect)
        if known is None:
            return Outcome()
        self._remove(prepared, known.rowid, key)
        return Outcome((), 1)

    def _remove(self, prepared: Prepared, rowid: int, key: Key) -> None:
        """Delete a row, what is declared to go with it, and account for entries of logs."""
        going = (prepared.collection.name, rowid)
        if going in self._removing:
            return  # they refer to each other
        self._removing.add(going)
        self._cascade(prepared.collection, key)
        self.connection.execute(prepared.delete, (rowid,))
        self._written[prepared.collection.name, key] = None
        self._removing.discard(going)
        self.removed.append((prepared.collection, key))
        if prepared.collection.log:
            number, revision = rowid >> REVISION_BITS, rowid & REVISION_MASK
            streams.entry_deleted(self.connection, number, revision)

    def _cascade(self, collection: Collection, key: Key) -> None:
        """SQLite would do it too, but it would not say which entries of logs went."""
        for child in self._peers().values():
            for reference in child.references:
                if reference.to == collection.name and reference.on_delete == "cascade":
                    self._remove_with(self.prepare(child), reference, key)

    def _remove_with(self, child: Prepared, reference: Reference, key: Key) -> None:
        for rowid, stored in child.rows_referring(self.connection, reference, key):
            self._remove(child, rowid, child.collection.stored_key(stored))

    # -- preconditions ---------------------------------------------------------------------------

    def _recalled(self, collection: Collection, key: Key, expect: Expectation) -> Known | None:
        """The record known by *key* as the handle wrote it last; that it still is shows later."""
        if self._careful or (collection.name, key) in self._written:
            return None
        return self._remembered.find(collection, key, expect)

    def _expect(self, prepared: Prepared, key: Key, expect: Expectation) -> Known | None:
        known = self._known(prepared, key)
        if not isinstance(expect, Anything):
            stored = known and self._as_stored(prepared, known, expect)
            check_expectation(prepared.collection, key, stored, expect)
        return known

    def _known(self, prepared: Prepared, key: Key) -> Known | None:
        wanted = prepared.key_values(key)
        statement = prepared.get if prepared.collection.log else prepared.known
        found = wanted and self.connection.execute(statement.sql, wanted).fetchone()
        if not found:
            return None
        if not prepared.collection.log:
            rowid, revision, created_at, digest, token, *steady = found
            return Known(rowid, revision, created_at, digest, token, tuple(steady))
        stored = prepared.codec.peek(found)
        return Known(found[0], stored.revision, stored.created_at, stored.digest)

    def _as_stored(self, prepared: Prepared, known: Known, expect: Expectation) -> StoredRow:
        """As much of the record as *expect* is held against."""
        values: list[Any] = [None] * len(prepared.collection.columns)
        if isinstance(expect, Holding):
            values[prepared.collection.places["token"]] = known.token
        return StoredRow(tuple(values), known.revision, known.created_at, 0, 0, known.digest)
