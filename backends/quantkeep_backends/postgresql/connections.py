"""Connections, and what each is made to understand."""

import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg.adapt import PyFormat
from psycopg.pq import Format, TransactionStatus
from sqlalchemy.pool import PoolProxiedConnection

from quantkeep_backends.postgresql.bounded import BoundedConnection

Cursor = psycopg.RawCursor[tuple[Any, ...]]

_AN_HOUR: Final = 3600.0  # seconds

_BIGINT, _INTEGER, _BYTEA, _TEXT = 20, 23, 17, 25  # type numbers, fixed for ever
_DATE, _TIMESTAMPTZ, _UUID, _JSON = 1082, 1184, 2950, 114
_READ_AS: Final = {_TIMESTAMPTZ: _BIGINT, _DATE: _INTEGER, _UUID: _BYTEA, _JSON: _TEXT}


class Link:
    """One connection, used by one thread at a time.

    Its cursors are kept, for making one understand us costs as much as a question. Times, dates and
    UUIDs are read as the numbers and bytes that they are on the wire.
    """

    def __init__(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        cursors: list[Cursor],
        *,
        prepare: bool,
        proxied: PoolProxiedConnection | None = None,
    ) -> None:
        self.connection = connection
        self.proxied = proxied  # of somebody's pool, from which it is on loan
        self._prepare = prepare or None
        self._cursors = cursors
        self._waiting = 0
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)

    def run(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        """Execute *sql* and wait for its answer."""
        cursor = self._cursor(0)
        return cursor.execute(sql, values, prepare=self._prepare, binary=True)

    def script(self, sql: str) -> None:
        """Execute several statements at once; outside a transaction they are one."""
        self.connection.execute(sql, prepare=False)

    def queue(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        """Within :meth:`together`, execute *sql*; its answer is there afterwards."""
        self._waiting += 1
        cursor = self._cursor(self._waiting)
        return cursor.execute(sql, values, prepare=self._prepare, binary=True)

    def send(self, sql: str, *rows: Sequence[Any]) -> None:
        """Within :meth:`together`, execute *sql* for each of *rows*, whose answers nobody needs."""
        cursor = self._cursor(0)
        if len(rows) > 1:
            cursor.executemany(sql, rows)
        else:
            cursor.execute(sql, rows[0] if rows else (), prepare=self._prepare, binary=True)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send what is queued within it in one go, and wait for all answers at its end."""
        self._waiting = 0
        with self.connection.pipeline():
            yield

    def copying(self, sql: str) -> Any:
        """The context in which rows are written to a ``COPY ... FROM STDIN``."""
        # The time of a statement includes that of the rows on their way
        self._limit("SET LOCAL statement_timeout = 0")
        return self._cursor(0).copy(sql)

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Within it, a statement may take an hour: there is work that grows with what is stored."""
        connection = self.connection
        if not isinstance(connection, BoundedConnection):
            yield
            return
        patience, inside = connection.patience, not self.is_idle
        self._limit(f"SET {'LOCAL ' if inside else ''}statement_timeout = 0")
        connection.patience = max(patience, _AN_HOUR)
        try:
            yield
        finally:
            connection.patience = patience
            if not inside:
                self.undo()
                with suppress(psycopg.Error):
                    self._limit("RESET statement_timeout")

    def _limit(self, sql: str) -> None:
        if self._is_limited:
            self.script(sql)

    @property
    def _is_limited(self) -> bool:
        """Whether the server was told to end statements that take long."""
        return isinstance(self.connection, BoundedConnection) and self.connection.limited

    def _cursor(self, number: int) -> Cursor:
        while len(self._cursors) <= number:
            self._cursors.append(_understanding(self.connection))
        return self._cursors[number]

    @property
    def is_idle(self) -> bool:
        """Whether it is alive, and in no transaction."""
        return self.connection.pgconn.transaction_status == TransactionStatus.IDLE

    @property
    def is_left(self) -> bool:
        """Whether the server has something to say though nobody asked: mostly that it leaves."""
        return self.connection.closed or bool(self._poll.poll(0))

    def undo(self) -> None:
        """Roll back, if there is anything to; the error that led here is the one to be told."""
        if not self.is_idle and not self.connection.closed:
            with suppress(psycopg.Error):
                self.connection.execute("ROLLBACK", prepare=False)


def _understanding(connection: psycopg.Connection[Any]) -> Cursor:
    cursor: Cursor = psycopg.RawCursor(connection)
    for type_, as_type in _READ_AS.items():
        loader = psycopg.adapters.get_loader(as_type, Format.BINARY)
        assert loader is not None
        cursor.adapters.register_loader(type_, loader)
    # COPY would take another one, which is ten times slower
    dumper = psycopg.adapters.get_dumper(bytes, PyFormat.BINARY)
    cursor.adapters.register_dumper(bytes, dumper)
    return cursor
