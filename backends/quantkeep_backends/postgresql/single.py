"""One entry, or one record, in one statement that commits itself: the hot path.

The statement takes the lock of the stream by counting its head up, writes the row with that
revision and the server's clock, and remembers the operation, all or nothing. It answers with
nothing where the state is not the plain one: then a transaction finds out what it is.
"""

from collections.abc import Iterator
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
from quantkeep_backends.postgresql.engine import moment
from quantkeep_backends.postgresql.errors import (
    FOREIGN_KEY,
    GUARD,
    UNIQUE,
    LostMidway,
    is_lost,
    sqlstate,
)
from quantkeep_backends.postgresql.prepared import Prepared
from quantkeep_backends.postgresql.rows import token
from quantkeep_backends.postgresql.streams import Seen
from quantkeep_backends.postgresql.system import text_of
from quantkeep_backends.postgresql.tools import Tools
from quantkeep_backends.postgresql.writing import Form, statement

_NOT_PLAIN: Final = (UNIQUE, FOREIGN_KEY, GUARD)


class Single:
    """Commits batches of a single row."""

    def __init__(self, database: Database, tools: Tools, seen: Seen) -> None:
        self._database = database
        self._tools = tools
        self._seen = seen

    def commit(self, batch: Batch, digest: bytes) -> Receipt | None:
        """Apply *batch*; ``None``, and nothing was written, if it is not as simple as that."""
        write = batch.writes[0] if len(batch.writes) == 1 else None
        if isinstance(write, Append) and isinstance(write.rows, list | tuple):
            return self._append(write, batch, digest) if len(write.rows) == 1 else None
        return self._put(write, batch, digest) if isinstance(write, Put) else None

    def _append(self, write: Append, batch: Batch, digest: bytes) -> Receipt | None:
        prepared = self._tools.prepare(write.collection)
        row: SealedRow = write.rows[0]  # type: ignore[index]  # a list or tuple, of one
        identity = prepared.identity_of(row.values)
        form = Form("append", identified=identity is not None, remembers=batch.op_id is not None)
        return self._run(prepared, row, form, batch, digest, [])

    def _put(self, write: Put, batch: Batch, digest: bytes) -> Receipt | None:
        prepared = self._tools.prepare(write.collection)
        kind, more = _kind(write.expect, prepared)
        key = prepared.collection.key_of(write.row.values)
        if kind is None or None in key:
            return None
        form = Form(kind, identified=False, remembers=batch.op_id is not None)
        return self._run(prepared, write.row, form, batch, digest, more)

    def _run(
        self,
        prepared: Prepared,
        row: SealedRow,
        form: Form,
        batch: Batch,
        digest: bytes,
        more: list[Any],
    ) -> Receipt | None:
        collection = prepared.collection
        stream = collection.stream_of(row.values)
        if None in stream:
            return None
        seen = self._seen.head(collection, stream)
        values = [
            *prepared.codec.bind(row.values),
            row.digest,
            str(token(row.digest)),
            *map(_kept, _stamps(form, row)),
            text_of(collection, stream),
            str(seen),
            *((batch.op_id, digest) if form.remembers else ()),
            *more,
        ]
        sql = prepared.once(form, lambda: statement(prepared, self._tools.engine, form))
        name = "append" if collection.log else "put"
        found = self._database.write(lambda link: self._answer(link, name, sql, values))
        if found is None:
            return None
        revision, now, added, _ = found
        outcome = Outcome(range(revision, revision + 1), added)
        self._seen.note(collection, stream, revision)
        self._database.committed(name)
        return Receipt((outcome,), now, batch.op_id)

    def _answer(self, link: Link, name: str, sql: str, values: list[Any]) -> tuple[Any, ...] | None:
        passing(f"postgresql.{name}.begin")
        try:
            return link.alone(sql, values).fetchone()
        except psycopg.Error as error:
            if sqlstate(error) in _NOT_PLAIN:
                return None
            if is_lost(error):
                raise LostMidway from error
            raise


def _stamps(form: Form, row: SealedRow) -> Iterator[int | None]:
    """Those that import and copy bring; the store gives the others."""
    if not form.updates:
        yield row.created_at
    if form.kind != "append":
        yield row.updated_at


def _kept(stamp: int | None) -> str | None:
    return None if stamp is None else moment(stamp)


def _kind(expect: Expectation, prepared: Prepared) -> tuple[str | None, list[Any]]:
    """Which statement a put needs, and its further values."""
    immutable = prepared.collection.immutable
    match expect:
        case Absent():
            return "insert", []
        case Anything():
            return ("insert" if immutable else "upsert"), []
        case _ if immutable:
            return None, []
        case AtRevision(revision):
            return "at revision", [str(revision)]
        case Holding(held) if prepared.has_token:
            return "holding", [str(held)]
    return None, []
