"""Rows copied amid statements that go to the server as one text: two trips for all of a commit."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import generators, pq
from psycopg.abc import PQGen
from psycopg.copy import Copy, LibpqWriter
from psycopg.waiting import Wait

from quantkeep_backends.postgresql.connections import Link


class CopyingScript:
    """A transaction whose text holds a COPY: the server reaches what follows it when all rows came.

    Args:
        link: in no transaction.
        types: the columns of the rows, as :meth:`psycopg.Copy.set_types` takes them.
    """

    def __init__(self, link: Link, types: Sequence[int]) -> None:
        self._connection = link.connection
        cursor = link.copier()
        self._writer = _Writer(cursor)
        self._copy = Copy(cursor, binary=True, writer=self._writer)
        self._copy.set_types(types)
        self._begins = False  # it was sent, and not answered yet
        self._copies = False
        self.write_row = self._copy.write_row

    def send(self, sql: str) -> None:
        """Let the server begin with *sql*."""
        self._connection.pgconn.send_query(sql.encode(self._connection.info.encoding))
        self._begins = True

    def begun(self) -> list[tuple[str, ...]]:
        """Wait until rows are taken; what the last query before them answered, as text."""
        self._begins = False
        pgconn = self._connection.pgconn
        *before, last = self._connection.wait(generators.execute(pgconn))
        _refused((last,), self._connection)
        self._copies = True
        answer = before[-1]
        return [
            tuple((answer.get_value(row, n) or b"").decode() for n in range(answer.nfields))
            for row in range(answer.ntuples)
        ]

    def end(self) -> None:
        """No rows follow: wait until the rest of the text is done, or refused."""
        self._copy.finish(None)

    def check_rows(self) -> None:
        """Raise what the server said against the rows; then it did nothing of what follows them."""
        _refused(self._writer.found[:1], self._connection)

    def check_rest(self) -> None:
        """Raise what it said against what follows them."""
        _refused(self._writer.found[1:], self._connection)

    def give_up(self, why: BaseException) -> None:
        """Let the server forget the rows; the transaction is still to be rolled back."""
        with suppress(psycopg.Error):  # *why* is what is to be told
            if self._begins:
                self.begun()
            if self._copies:
                self._copy.finish(why)


class _Writer(LibpqWriter):
    """Takes what the server says of all statements behind the rows, and not of the COPY alone."""

    found: Sequence[pq.abc.PGresult] = ()

    def finish(self, exc: BaseException | None = None) -> None:
        error = None if exc is None else type(exc).__name__.encode()
        self.found = self.connection.wait(_ended(self.connection.pgconn, error))


def _ended(pgconn: pq.abc.PGconn, error: bytes | None) -> PQGen[list[pq.abc.PGresult]]:
    while pgconn.put_copy_end(error) == 0:
        yield Wait.W
    while pgconn.flush():
        yield Wait.W
    found: list[pq.abc.PGresult] = yield from generators.fetch_many(pgconn)
    return found


def _refused(found: Sequence[pq.abc.PGresult], connection: psycopg.Connection[Any]) -> None:
    """Raise what the server said against one of the statements."""
    for result in found:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result, connection.info.encoding)
