"""Statements and their answers, as libpq has them: sent together, and waited for once.

A cursor of psycopg takes thirty microseconds for a statement, as long as the server does. Here it
is told what to do with what is known anyway: parameters are text, or bytes; statements are prepared
when they are first used; and answers are loaded when somebody wants them.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import generators, pq
from psycopg.abc import PQGen
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.waiting import Ready, Wait

UNPREPARED: Final = "26000"  # somebody, a pooler perhaps, has dropped our prepared statements

_MOST: Final = 1_000  # prepared statements that a connection keeps
_BIGINT, _INTEGER, _BYTEA, _TEXT = 20, 23, 17, 25  # type numbers, fixed for ever
_DATE, _TIMESTAMPTZ, _UUID, _JSON = 1082, 1184, 2950, 114
_READ_AS: Final = {_TIMESTAMPTZ: _BIGINT, _DATE: _INTEGER, _UUID: _BYTEA, _JSON: _TEXT}
_REAL: Final = struct.Struct(">d").pack


_BINARY: Final = (bytes, float)


class Packed(NamedTuple):
    """Parameters as they go over the wire.

    Attributes:
        values: texts in UTF-8, and values in binary form.
        forms: 1 for each that is in binary form, and 0 for others.
    """

    values: list[bytes | None]
    forms: list[int]


Parameters = Sequence[Any] | Packed  # else texts, and bytes; numbers but NaN are given as texts


def _unusual(value: Any) -> bytes | None:
    """A parameter that is no text: a NaN keeps its bits."""
    if value is None or isinstance(value, bytes):
        return value
    return _REAL(value) if isinstance(value, float) else str(value).encode()


class Answer:
    """What one statement was answered; there when the exchange is settled."""

    __slots__ = ("_loading", "result")

    def __init__(self, loading: "Loading") -> None:
        self._loading = loading
        self.result: pq.abc.PGresult | None = None

    @property
    def rowcount(self) -> int:
        """How many rows were written, or found."""
        return (self.result and self.result.command_tuples) or 0

    def fetchone(self) -> tuple[Any, ...] | None:
        """The first row, if there is any."""
        rows = self._loading.rows(self.result, 1)
        return rows[0] if rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""
        return self._loading.rows(self.result)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.fetchall())


class Loading:
    """Makes values of bytes; times, dates and UUIDs are the numbers and bytes that they are there.

    Attributes:
        connection: whose encoding is that of texts.
        adapters: how each type is loaded.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.adapters = AdaptersMap(connection.adapters)
        for type_, as_type in _READ_AS.items():
            loader = psycopg.adapters.get_loader(as_type, pq.Format.BINARY)
            assert loader is not None
            self.adapters.register_loader(type_, loader)
        self._transformer = Transformer(self)

    def rows(self, result: pq.abc.PGresult | None, most: int | None = None) -> list[Any]:
        """Rows of *result*: the first ones, or all."""
        if result is None or not result.nfields:
            return [()] * (result.ntuples if result else 0)
        self._transformer.set_pgresult(result)
        count = result.ntuples if most is None else min(most, result.ntuples)
        return self._transformer.load_rows(0, count, tuple)


class Statements:
    """The names of statements that one connection has prepared."""

    def __init__(self) -> None:
        self.names: dict[str, bytes] = {}
        self._made = 0

    def name(self, sql: str) -> bytes:
        """A new name, for *sql*."""
        self._made += 1
        name = self.names[sql] = b"quantkeep_%d" % self._made
        return name

    def surplus(self) -> bytes | None:
        """The name of the oldest, which is to go, if there are too many."""
        return self.names.pop(next(iter(self.names))) if len(self.names) >= _MOST else None


class Exchange:
    """What is on its way to one server, and back.

    Args:
        connection: which nobody else uses meanwhile.
        prepare: whether to prepare statements.

    Attributes:
        speaks_utf8: texts go as UTF-8.
    """

    def __init__(self, connection: psycopg.Connection[Any], *, prepare: bool) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._encoding = connection.info.encoding
        self.speaks_utf8 = self._encoding == "utf-8"
        self._statements = Statements() if prepare else None
        self._loading = Loading(connection)
        self._waiting: list[Answer | str] = []  # answers, or statements that are being prepared

    def run(self, sql: str, values: Parameters = ()) -> Answer:
        """Send *sql* alone, and wait for its answer."""
        name = self._statements and self._statements.names.get(sql)
        if not name:
            answer = self.put(sql, values)
            self.settle()
            return answer
        given, forms = self._parameters(values)
        self._pgconn.send_query_prepared(name, given, forms, pq.Format.BINARY)
        answer = Answer(self._loading)
        found = self._connection.wait(generators.execute(self._pgconn))
        self._hand_out((answer,), found)
        return answer

    def put(self, sql: str, values: Parameters = ()) -> Answer:
        """Send *sql*, or have it wait to be sent; its answer is there after :meth:`settle`."""
        given, forms = self._parameters(values)
        if not self._waiting:
            self._pgconn.enter_pipeline_mode()
        if self._statements is None:
            self._pgconn.send_query_params(sql.encode(), given, None, forms, pq.Format.BINARY)
        else:
            name = self._statements.names.get(sql) or self._prepared(sql, self._statements)
            self._pgconn.send_query_prepared(name, given, forms, pq.Format.BINARY)
        answer = Answer(self._loading)
        self._waiting.append(answer)
        return answer

    def _parameters(self, values: Parameters) -> Packed:
        """As libpq takes them: texts whose types the server finds out, and bytes."""
        if values.__class__ is Packed:
            return values if self.speaks_utf8 else self._translated(values)
        texts = [value for value in values if value.__class__ is str]
        if "\0" in "".join(texts):  # which libpq would take for the end
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        encoding = self._encoding
        given = [
            value.encode(encoding) if value.__class__ is str else _unusual(value)
            for value in values
        ]
        return Packed(given, [value.__class__ in _BINARY for value in values])

    def _translated(self, packed: Packed) -> Packed:
        pairs = zip(packed.values, packed.forms, strict=True)
        said = self._encoding
        given = [v if v is None or form else v.decode().encode(said) for v, form in pairs]
        return Packed(given, packed.forms)

    def _prepared(self, sql: str, statements: Statements) -> bytes:
        surplus = statements.surplus()
        if surplus is not None:
            self._pgconn.send_query_params(b"DEALLOCATE " + surplus, None)
            self._waiting.append(Answer(self._loading))
        name = statements.name(sql)
        self._pgconn.send_prepare(name, sql.encode())
        self._waiting.append(sql)
        return name

    def push(self) -> None:
        """Send what waits, as far as the network takes it now."""
        self._pgconn.flush()

    def settle(self) -> None:
        """Send the rest, and wait for all answers; raises what the first one refused says."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        found: list[pq.abc.PGresult] = []
        try:
            self._pgconn.pipeline_sync()
            self._connection.wait(_answers(self._pgconn, found))
        except psycopg.OperationalError:
            self._hand_out(waiting, found)  # the server may have said why it leaves
            raise
        finally:
            self._end()
        self._hand_out(waiting, found)

    def _end(self) -> None:
        with suppress(psycopg.Error):
            self._pgconn.exit_pipeline_mode()
        if self._pgconn.pipeline_status != pq.PipelineStatus.OFF:
            self._connection.close()  # somebody was interrupted: what it says now fits nothing

    def _hand_out(self, waiting: Sequence[Answer | str], found: Sequence[pq.abc.PGresult]) -> None:
        for answer, result in zip(waiting, found, strict=False):
            failed = result.status in _FAILED
            if isinstance(answer, Answer):
                answer.result = None if failed else result
            elif failed and self._statements is not None:
                self._statements.names.pop(answer, None)
        # One more than there are statements: what the commit at the end met with
        refused = (result for result in found if result.status == pq.ExecStatus.FATAL_ERROR)
        for result in refused:
            error = psycopg.errors.error_from_result(result, self._encoding)
            if error.sqlstate == UNPREPARED and self._statements is not None:
                self._statements.names.clear()
            raise error


_FAILED: Final = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED)


def _answers(pgconn: pq.abc.PGconn, found: list[pq.abc.PGresult]) -> PQGen[None]:
    """Send what waits, while reading what comes, up to where both sides are in step again."""
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            if pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError("the connection is lost")
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            return
        else:
            found.append(result)
