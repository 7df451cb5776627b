"""Connections, and how statements go over them."""

import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import attrs
import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat
from psycopg.pq import TransactionStatus
from sqlalchemy.pool import PoolProxiedConnection

from quantkeep_backends.postgresql.bounded import Patience
from quantkeep_backends.postgresql.exchange import Answer, Exchange, Parameters

_AN_HOUR: Final = 3600.0  # seconds
_LIMIT: Final = (
    "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)"
)


@attrs.frozen
class Limits:
    """How long the server may take, before it gives up itself.

    Attributes:
        known: it was told when the connection was made; otherwise each transaction tells it.
        locks: milliseconds to wait for a lock.
        statements: milliseconds for a statement.
    """

    known: bool
    locks: int
    statements: int


class Link:
    """One connection, used by one thread at a time."""

    def __init__(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        patience: Patience,
        limits: Limits,
        exchange: Exchange,
        *,
        proxied: PoolProxiedConnection | None = None,
    ) -> None:
        self.connection = connection
        self.patience = patience
        self.proxied = proxied  # of somebody's pool, from which it is on loan
        self._limits = limits
        self._exchange = exchange
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)

    def run(self, sql: str, values: Parameters = ()) -> Answer:
        """Execute *sql* and wait for its answer."""
        return self._exchange.run(sql, values)

    def script(self, sql: str) -> None:
        """Execute several statements at once; outside a transaction they are one."""
        self.connection.execute(sql, prepare=False)

    def queue(self, sql: str, values: Parameters = ()) -> Answer:
        """Within :meth:`together`, execute *sql*; its answer is there afterwards."""
        return self._exchange.put(sql, values)

    @property
    def speaks_utf8(self) -> bool:
        """Whether texts within arrays can go as we pack them."""
        return self._exchange.speaks_utf8

    def send(self, sql: str, *rows: Parameters) -> None:
        """Within :meth:`together`, execute *sql* for each of *rows*, whose answers nobody needs."""
        for row in rows or ((),):
            self._exchange.put(sql, row)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send what is queued within it in one go, and wait for all answers at its end."""
        try:
            yield
        except BaseException:  # what was sent is answered, or the next statement gets its answers
            with suppress(psycopg.Error):
                self._exchange.settle()
            raise
        self._exchange.settle()

    def push(self) -> None:
        """Within :meth:`together`, let the server begin with what was queued so far."""
        self._exchange.push()

    def begin(self, how: str = "") -> None:
        """Within :meth:`together`, begin a transaction, in which the limits hold."""
        self.send(f"BEGIN {how}")
        if not self._limits.known:
            self.send(_LIMIT, (str(self._limits.locks), str(self._limits.statements)))

    def alone(self, sql: str, values: Parameters = ()) -> Answer:
        """Execute *sql*, which writes, and commit it, in one trip."""
        if self._limits.known:
            return self.run(sql, values)
        with self.together():
            self.begin()
            answer = self.queue(sql, values)
            self.send("COMMIT")
        return answer

    def take_time(self) -> None:
        """Within :meth:`together`, let statements of this transaction take as long as they like."""
        self.send("SET LOCAL statement_timeout = 0")

    def copying(self, sql: str) -> Any:
        """The context in which rows are written to a ``COPY ... FROM STDIN``.

        The time of the statement includes that of the rows on their way: see :meth:`take_time`.
        """
        return self.copier().copy(sql)

    def copier(self) -> psycopg.Cursor[Any]:
        """A cursor to copy with."""
        cursor = psycopg.RawCursor(self.connection)
        # The usual one for bytea is ten times slower
        dumper = psycopg.adapters.get_dumper(bytes, PyFormat.BINARY)
        cursor.adapters.register_dumper(bytes, dumper)
        return cursor

    @property
    def beginning(self) -> str:
        """Statements that begin a transaction which may take its time, but not wait for locks."""
        locks = "" if self._limits.known else f"SET LOCAL lock_timeout = {self._limits.locks}; "
        return f"BEGIN; {locks}SET LOCAL statement_timeout = 0"

    def literal(self, text: str) -> str:
        """*text* as a literal, whatever the settings of the session."""
        encoding = self.connection.info.encoding
        quoted = pq.Escaping(self.connection.pgconn).escape_literal(text.encode(encoding))
        return quoted.decode(encoding)

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Within it, a statement may take an hour: there is work that grows with what is stored."""
        seconds, inside = self.patience.seconds, not self.is_idle
        self._hurry(f"SET {'LOCAL ' if inside else ''}statement_timeout = 0", inside=inside)
        self.patience.seconds = max(seconds, _AN_HOUR)
        try:
            yield
        finally:
            self.patience.seconds = seconds
            if not inside:
                self.undo()
                with suppress(psycopg.Error):
                    self._hurry("RESET statement_timeout", inside=inside)

    def _hurry(self, sql: str, *, inside: bool) -> None:
        """What holds outside a transaction is ours to change only where we said it."""
        if inside or self._limits.known:
            self.script(sql)

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
