"""Many new entries of one stream, in two trips: the hot path of bulk loads.

The first takes the lock of the stream by counting its head up, remembers the operation, and begins
a COPY; the second ends with the commit, and until then nobody sees anything. Where the state is not
the plain one, nothing is written: then a transaction finds out what it is.
"""

from collections.abc import Iterable, Iterator, Sized
from itertools import chain, islice
from typing import Final, NoReturn

import attrs
import psycopg

from quantkeep.batch import Append, Batch, Outcome, Receipt
from quantkeep.collection import Key, SealedRow
from quantkeep.failpoints import passing
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.copying import part_of, types
from quantkeep_backends.postgresql.database import Database
from quantkeep_backends.postgresql.errors import FOREIGN_KEY, UNIQUE, sqlstate
from quantkeep_backends.postgresql.needs import FEW
from quantkeep_backends.postgresql.operations import receipt_sql
from quantkeep_backends.postgresql.prepared import Prepared
from quantkeep_backends.postgresql.rows import microseconds_sql
from quantkeep_backends.postgresql.script import CopyingScript
from quantkeep_backends.postgresql.streams import Seen
from quantkeep_backends.postgresql.system import OPERATIONS, STREAMS, text_of
from quantkeep_backends.postgresql.tools import Tools
from quantkeep_backends.postgresql.transaction import Duplicates

_AHEAD: Final = 100  # rows that are read, and perhaps sealed, until the server takes some


class _NotPlain(Exception):  # no error: a transaction applies the batch
    """Rows are of several streams, or what is stored is not as it usually is."""


@attrs.frozen
class _Load:
    """An append of many, as it is tried over one connection."""

    prepared: Prepared
    stream: Key
    rows: Iterator[SealedRow]
    count: int
    op_id: str | None
    digest: bytes

    def receipt(self, head: int, now: int) -> Receipt:
        """What the commit answers."""
        outcome = Outcome(range(head - self.count + 1, head + 1), self.count)
        return Receipt((outcome,), now, self.op_id)


class Bulk:
    """Commits batches of one long append."""

    def __init__(self, database: Database, tools: Tools, seen: Seen) -> None:
        self._database = database
        self._tools = tools
        self._seen = seen
        self._mixed: set[str] = set()  # logs of which several streams came at once

    def commit(self, batch: Batch, digest: bytes) -> Receipt | None:
        """Apply *batch*; ``None``, and nothing was written, if it is not as simple as that.

        Raises:
            Duplicates: some of its entries are there already, perhaps.
        """
        write = batch.writes[0] if len(batch.writes) == 1 else None
        if not isinstance(write, Append) or write.collection.name in self._mixed:
            return None
        if not isinstance(write.rows, Sized) or len(write.rows) <= FEW:
            return None
        try:
            return self._database.write(lambda link: self._tried(link, write, batch.op_id, digest))
        except _NotPlain:
            return None

    def _tried(self, link: Link, write: Append, op_id: str | None, digest: bytes) -> Receipt:
        passing("postgresql.commit.begin")
        load = self._load(write, op_id, digest)
        try:
            head, now = self._copied(link, load)
        except psycopg.Error as error:
            _unplain(error)
        self._seen.note(write.collection, load.stream, head)
        self._database.committed("commit")
        return load.receipt(head, now)

    def _load(self, write: Append, op_id: str | None, digest: bytes) -> _Load:
        rows, count = iter(write.rows), len(write.rows)  # type: ignore[arg-type]  # it was asked
        first = next(rows)
        stream = write.collection.stream_of(first.values)
        if None in stream:
            raise _NotPlain
        prepared = self._tools.prepare(write.collection)
        return _Load(prepared, stream, chain((first,), rows), count, op_id, digest)

    def _copied(self, link: Link, load: _Load) -> tuple[int, int]:
        """The head that the stream has now, and the time."""
        script = CopyingScript(link, types(load.prepared))
        script.send(self._text(link, load))
        try:
            ahead = [*islice(load.rows, _AHEAD)]
            found = script.begun()
            if not found:
                raise _NotPlain
            head, now = map(int, found[0])
            self._send(script, load, chain(ahead, load.rows), head - load.count, now)
        except BaseException as error:  # an interrupt too: the server waits for rows
            script.give_up(error)
            raise
        with self._database.committing():
            script.end()
        script.check_rows()
        with self._database.committing():
            script.check_rest()
        return head, now

    def _send(
        self,
        script: CopyingScript,
        load: _Load,
        rows: Iterable[SealedRow],
        before: int,
        now: int,
    ) -> None:
        """Write *rows*, those of *load*, as those behind revision *before*."""
        passing("postgresql.commit.write")
        wire, part_in, write = load.prepared.codec.wire, part_of(load.prepared), script.write_row
        revision, part = before, None
        for revision, (values, digest, created, _) in enumerate(rows, before + 1):
            here = part_in(values)
            if here != part:
                if revision > before + 1:
                    self._mixed.add(load.prepared.collection.name)
                    raise _NotPlain
                part = here
            write(wire(values, digest, now if created is None else created, revision))
        if revision != before + load.count:
            raise _NotPlain
        passing("postgresql.commit.written")
        passing("postgresql.commit.before_commit")

    # -- the text --------------------------------------------------------------------------------

    def _text(self, link: Link, load: _Load) -> str:
        """All of the transaction; where the state is not the plain one, it counts nothing up."""
        remembered = (
            "" if load.op_id is None else f", remembered AS ({self._remembered(link, load)})"
        )
        counted = (
            f"WITH stamp AS ({self._counted(link, load)}){remembered} "
            f"SELECT head, {microseconds_sql('now')} FROM stamp"
        )
        return f"{link.beginning}; {counted}; {load.prepared.copy}; COMMIT"

    def _counted(self, link: Link, load: _Load) -> str:
        table, collection = self._tools.engine.table, load.prepared.collection
        plain = (
            f"collection = {link.literal(collection.name)} "
            f"AND stream = {link.literal(text_of(collection, load.stream))} "
            f"AND head >= {self._seen.head(collection, load.stream)}"
        )
        if load.op_id is not None:
            known = f"SELECT FROM {table(OPERATIONS)} WHERE op_id = {link.literal(load.op_id)}"
            plain += f" AND NOT EXISTS ({known})"
        return (
            f"UPDATE {table(STREAMS)} SET head = head + {load.count} WHERE {plain} "
            "RETURNING head, clock_timestamp() AS now"
        )

    def _remembered(self, link: Link, load: _Load) -> str:
        assert load.op_id is not None
        count, at = load.count, microseconds_sql("now")
        op_id, digest = link.literal(load.op_id), f"decode('{load.digest.hex()}', 'hex')"
        form = f'\'{{"at":%s,"outcomes":[[{count},[[%s,{count}]]]]}}\''
        return (
            f"INSERT INTO {self._tools.engine.table(OPERATIONS)} "
            "(op_id, digest, receipt, created_at) "
            f"SELECT {op_id}, {digest}, {receipt_sql('said', op_id, digest)}, now "
            f"FROM (SELECT now, format({form}, {at}, head - {count - 1}) AS said FROM stamp) AS s"
        )


def _unplain(error: psycopg.Error) -> NoReturn:
    """What a constraint refused is another's to explain."""
    if sqlstate(error) == UNIQUE:
        raise Duplicates from None
    if sqlstate(error) == FOREIGN_KEY:
        raise _NotPlain from None
    raise error
