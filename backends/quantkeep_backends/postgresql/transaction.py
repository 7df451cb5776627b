"""The writes of one batch, inside one transaction.

Two trips to the server are the usual: the first takes every lock that will be needed, in an order
that all writers share, and reads what the batch is judged by; the second writes and commits.
"""

from collections import Counter

import psycopg

from quantkeep.batch import (
    Anything,
    Append,
    Batch,
    Delete,
    Expectation,
    Outcome,
    Put,
    Receipt,
    Require,
    Write,
)
from quantkeep.collection import Collection, Key, Reference, SealedRow
from quantkeep.contract import check_expectation, taken
from quantkeep.errors import Conflict, NotFound, StaleOwner
from quantkeep.failpoints import passing
from quantkeep_backends.postgresql.appending import Appending
from quantkeep_backends.postgresql.complaints import PostgresqlReferences, explain_row
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.database import Database
from quantkeep_backends.postgresql.errors import FOREIGN_KEY, UNIQUE, sqlstate
from quantkeep_backends.postgresql.ground import Ground, Known
from quantkeep_backends.postgresql.many import insert_many, update_many
from quantkeep_backends.postgresql.prepared import Prepared
from quantkeep_backends.postgresql.statements import Waiting
from quantkeep_backends.postgresql.streams import Seen
from quantkeep_backends.postgresql.tools import Tools


class Duplicates(Exception):  # no error: the batch is applied again, with care
    """A constraint said no to several writes at once."""


class Transaction:
    """Applies a batch; nothing of it is visible, or known to the handle, before its end.

    Args:
        link: in no transaction.
        tools: statements.
        seen: what the handle has seen of streams.
        careful: write one by one, so that what a constraint refuses can be explained.
    """

    def __init__(self, link: Link, tools: Tools, seen: Seen, *, careful: bool) -> None:
        self._link = link
        self._tools = tools
        self._seen = seen
        self._careful = careful
        self._ground = Ground(link, tools, seen)
        self._waiting = Waiting(link, careful=careful)
        self._appending = Appending(link, self._ground, self._waiting, careful=careful)
        self._written: set[tuple[str, Key]] = set()
        self._judged = False  # whether there is anything for foreign keys to judge
        self._going: set[tuple[str, Key]] = set()
        self._deleted: Counter[tuple[Collection, Key]] = Counter()  # entries of logs, by stream
        self._removed: list[tuple[Collection, Key]] = []

    def run(self, database: Database, batch: Batch, digest: bytes) -> Receipt:
        """Begin, apply *batch* and commit.

        Raises:
            Duplicates: do it again, with care.
        """
        passing("postgresql.commit.begin")
        receipt = self._ground.take(batch, digest)
        if receipt is not None:
            return receipt
        try:
            receipt = self._applied(batch, digest)
            self._commit(database, batch)
        except (Conflict, NotFound, StaleOwner):
            if self._waiting.is_empty or self._careful:
                raise
            raise Duplicates from None  # an earlier write, not yet sent, may be the one to blame
        except psycopg.Error as error:
            if sqlstate(error) != UNIQUE or self._careful:
                raise
            raise Duplicates from None
        for stream in self._ground.streams.values():
            self._seen.note(stream.collection, stream.key, stream.head)
        database.committed("commit")
        return receipt

    def _applied(self, batch: Batch, digest: bytes) -> Receipt:
        outcomes = tuple(self._passed(write) for write in batch.writes)
        receipt = Receipt(outcomes, self._ground.now, batch.op_id)
        heads, add = self._tools.heads, self._waiting.add
        for stream in self._ground.streams.values():
            if stream.head != stream.stored:
                add(*heads.advance(stream.collection, stream.key, stream.head))
        for (collection, key), count in self._deleted.items():
            add(*heads.deleted(collection, key, count))
        if batch.op_id is not None:
            add(*self._tools.operations.remember(batch, digest, receipt))
        passing("postgresql.commit.written")
        return receipt

    def _commit(self, database: Database, batch: Batch) -> None:
        try:
            with database.committing(), self._link.together():
                self._waiting.send()
                if self._judged:
                    self._link.send("SAVEPOINT quantkeep_batch")
                    self._link.send("SET CONSTRAINTS ALL IMMEDIATE")
                self._link.push()
                passing("postgresql.commit.before_commit")
                self._link.send("COMMIT")
        except psycopg.Error as error:
            if sqlstate(error) != FOREIGN_KEY:
                raise
            self._link.run("ROLLBACK TO SAVEPOINT quantkeep_batch")
            references = PostgresqlReferences(self._link, self._tools)
            raise references.explain(batch, self._removed) from None

    # -- writes ----------------------------------------------------------------------------------

    def _passed(self, write: Write) -> Outcome:
        passing("postgresql.commit.write")
        return self._apply(write)

    def _apply(self, write: Write) -> Outcome:
        match write:
            case Append(collection, rows):
                self._judged |= bool(collection.references)
                return self._appending.append(self._tools.prepare(collection), rows)
            case Put(collection, row, expect):
                return self._put(self._tools.prepare(collection), row, expect)
            case Delete(collection, key, expect):
                return self._delete(self._tools.prepare(collection), key, expect)
            case Require(collection, key, expect):
                self._expect(self._tools.prepare(collection), key, expect)
                return Outcome()

    def _put(self, prepared: Prepared, row: SealedRow, expect: Expectation) -> Outcome:
        collection = prepared.collection
        key = collection.key_of(row.values)
        known = self._expect(prepared, key, expect)
        if known is not None and collection.immutable:
            if known.digest == row.digest:
                return Outcome((known.revision,), 0)
            raise taken(collection, key, collection.key)
        stream = self._ground.stream(collection, collection.stream_of(row.values))
        stream.head += 1
        self._store(prepared, key, row, stream.head, known)
        return Outcome((stream.head,), 0 if known else 1)

    def _store(
        self, prepared: Prepared, key: Key, row: SealedRow, revision: int, known: Known | None
    ) -> None:
        given = self._ground.now if row.created_at is None else row.created_at
        created = known.created_at if known else given
        values = prepared.codec.record(row, revision, created, self._ground.now)
        place, many = (prepared.collection.name, key), None
        if known is None:
            sql, many = prepared.insert, prepared.once("insert many", lambda: insert_many(prepared))
        else:
            here, more = prepared.equal(prepared.collection.key, key, prepared.width)
            sql, values = prepared.update + here, [*values, *more]
            if place not in self._written and not prepared.has_nullable_key:
                many = prepared.once("update many", lambda: update_many(prepared))
        self._written.add(place)
        self._waiting.add(
            sql, values, lambda error: explain_row(self._link, prepared, row, key, error), many
        )
        self._judged |= prepared.may_refer(again=known is not None)
        token = row.values[prepared.collection.places["token"]] if prepared.has_token else None
        now = Known(revision, created, row.digest, token)  # type: ignore[arg-type]  # an integer
        self._ground.rows[place] = now

    def _expect(self, prepared: Prepared, key: Key, expect: Expectation) -> Known | None:
        known = self._ground.known(prepared, key)
        if not isinstance(expect, Anything):
            stored = known and known.as_stored(prepared.collection)
            check_expectation(prepared.collection, key, stored, expect)
        return known

    # -- deleting --------------------------------------------------------------------------------

    def _delete(self, prepared: Prepared, key: Key, expect: Expectation) -> Outcome:
        if self._expect(prepared, key, expect) is None:
            return Outcome()
        self._remove(prepared, key)
        return Outcome((), 1)

    def _remove(self, prepared: Prepared, key: Key) -> None:
        """Delete a row, what is declared to go with it, and account for entries of logs."""
        collection = prepared.collection
        going = (collection.name, key)
        if going in self._going:
            return  # they refer to each other
        self._going.add(going)
        self._cascade(collection, key)
        here, values = prepared.equal(collection.key_columns, key)
        self._waiting.add(f"DELETE FROM {prepared.table} WHERE {here}", values)
        self._going.discard(going)
        self._ground.rows[going] = None
        self._removed.append((collection, key))
        self._judged = True
        if collection.log:
            self._deleted[collection, key[:-1]] += 1

    def _cascade(self, collection: Collection, key: Key) -> None:
        """PostgreSQL would do it too, but it would not say which entries of logs went."""
        for child in self._tools.peers().values():
            for reference in child.references:
                if reference.to == collection.name and reference.on_delete == "cascade":
                    self._remove_with(self._tools.prepare(child), reference, key)

    def _remove_with(self, child: Prepared, reference: Reference, key: Key) -> None:
        self._waiting.flush()
        rows = child.rows_referring(self._link, reference, key, lock="FOR UPDATE")
        for stored in rows:
            self._remove(child, child.collection.stored_key(stored))
