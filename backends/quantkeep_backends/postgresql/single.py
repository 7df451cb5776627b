"""One entry, or one record, in one statement that commits itself: the hot path.

The statement takes the lock of the stream by counting its head up, writes the row with that
revision and the server's clock, and remembers the operation, all or nothing. It answers with
nothing where the state is not the plain one: then a transaction finds out what it is.

An entry is written as if it were new. Where its identity is there already, which the index says,
another statement looks it up first; and it goes first as long as entries come that are not new, as
they do when a program goes once more through what it has appended.
"""

from typing import Any, Final

import psycopg

from quantkeep.batch import (
    Absent,
    Anything,
    Append,
    AtRevision,
    Batch,
    Expectation,
    Holding,
    Outcome,
    Put,
    Receipt,
)
from quantkeep.collection import SealedRow
from quantkeep.failpoints import passing
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.database import Database
from quantkeep_backends.postgresql.engine import MICROSECONDS_TO_2000
from quantkeep_backends.postgresql.errors import (
    FOREIGN_KEY,
    GUARD,
    UNIQUE,
    LostMidway,
    is_lost,
    sqlstate,
)
from quantkeep_backends.postgresql.exchange import Packed
from quantkeep_backends.postgresql.prepared import Prepared
from quantkeep_backends.postgresql.streams import Seen
from quantkeep_backends.postgresql.system import text_of
from quantkeep_backends.postgresql.tools import Tools
from quantkeep_backends.postgresql.writing import Form, statement

_NOT_PLAIN: Final = (FOREIGN_KEY, GUARD)


class _Taken(Exception):  # no error: the entry may be the same
    """An identity, a key or a unique group is there already; nothing was written."""


class Single:
    """Commits batches of a single row."""

    def __init__(self, database: Database, tools: Tools, seen: Seen) -> None:
        self._database = database
        self._tools = tools
        self._seen = seen
        self._repeating: set[str] = set()  # logs whose last entry was there already

    def commit(self, batch: Batch, digest: bytes) -> Receipt | None:
        """Apply *batch*; ``None``, and nothing was written, if it is not as simple as that."""
        write = batch.writes[0] if len(batch.writes) == 1 else None
        try:
            if isinstance(write, Append) and isinstance(write.rows, list | tuple):
                return self._append(write, batch, digest) if len(write.rows) == 1 else None
            return self._put(write, batch, digest) if isinstance(write, Put) else None
        except _Taken:
            return None

    def _append(self, write: Append, batch: Batch, digest: bytes) -> Receipt | None:
        prepared, name = self._tools.prepare(write.collection), write.collection.name
        row: SealedRow = write.rows[0]  # type: ignore[index]  # a list or tuple, of one
        asks = name in self._repeating
        form = Form("append", asks, batch.op_id is not None)
        try:
            receipt = self._run(prepared, row, form, batch, digest)
        except _Taken:
            if asks or prepared.identity_of(row.values) is None:
                raise
            self._repeating.add(name)
            return self._append(write, batch, digest)
        if asks and receipt is not None and receipt.added:
            self._repeating.discard(name)
        return receipt

    def _put(self, write: Put, batch: Batch, digest: bytes) -> Receipt | None:
        prepared = self._tools.prepare(write.collection)
        kind, expected = _kind(write.expect, prepared)
        if kind is None or None in prepared.collection.key_of(write.row.values):
            return None
        form = Form(kind, asks=False, remembers=batch.op_id is not None)
        return self._run(prepared, write.row, form, batch, digest, expected)

    def _run(
        self,
        prepared: Prepared,
        row: SealedRow,
        form: Form,
        batch: Batch,
        digest: bytes,
        expected: int | None = None,
    ) -> Receipt | None:
        collection = prepared.collection
        stream = collection.stream_of(row.values)
        if None in stream or row.created_at is not None or row.updated_at is not None:
            return None
        seen = self._seen.head(collection, stream)
        values = prepared.codec.pack(row.values)
        values += (row.digest, row.digest[:8], text_of(collection, stream).encode(), b"%d" % seen)
        if batch.op_id is not None:
            values += (batch.op_id.encode(), digest)
        if expected is not None:
            values.append(b"%d" % expected)
        sql, forms = prepared.once(form, lambda: statement(prepared, self._tools.engine, form))
        name, packed = "append" if collection.log else "put", Packed(values, forms)
        found = self._database.write(lambda link: self._answer(link, name, sql, packed))
        if found is None:
            return None
        revision, at, added, *_ = found
        self._seen.note(collection, stream, revision)
        self._database.committed(name)
        outcome = Outcome(range(revision, revision + 1), added)
        return Receipt((outcome,), at + MICROSECONDS_TO_2000, batch.op_id)

    def _answer(self, link: Link, name: str, sql: str, values: Packed) -> tuple[Any, ...] | None:
        passing(f"postgresql.{name}.begin")
        try:
            return link.alone(sql, values).fetchone()
        except psycopg.Error as error:
            if sqlstate(error) in _NOT_PLAIN:
                return None
            if sqlstate(error) == UNIQUE:
                raise _Taken from None
            if is_lost(error):
                raise LostMidway from error
            raise


def _kind(expect: Expectation, prepared: Prepared) -> tuple[str | None, int | None]:
    """Which statement a put needs, and the number that it expects."""
    immutable = prepared.collection.immutable
    match expect:
        case Absent():
            return "insert", None
        case Anything():
            return ("insert" if immutable else "upsert"), None
        case _ if immutable:
            return None, None
        case AtRevision(revision):
            return "at revision", revision
        case Holding(held) if prepared.has_token:
            return "holding", held
    return None, None
