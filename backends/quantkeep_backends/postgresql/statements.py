"""Statements that wait to be sent together, in order."""

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import psycopg

from quantkeep.errors import QuantkeepError
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.errors import UNIQUE, sqlstate
from quantkeep_backends.postgresql.many import LEAST, Many, packed

Explain = Callable[[psycopg.Error], QuantkeepError]

_MOST: Final = 2_000  # that wait


class Waiting:
    """Writes of a transaction, sent when there is a reason to.

    Args:
        link: in a transaction.
        careful: send each at once, so that what a constraint refuses can be explained.
    """

    def __init__(self, link: Link, *, careful: bool) -> None:
        self._link = link
        self._careful = careful
        self._statements: list[tuple[str, Many | None, Sequence[Any]]] = []

    @property
    def is_empty(self) -> bool:
        """Whether all was sent."""
        return not self._statements

    def add(
        self,
        sql: str,
        values: Sequence[Any],
        explain: Explain | None = None,
        many: Many | None = None,
    ) -> None:
        """Let *sql* wait.

        *explain* says why a constraint refused it; *many* does it for many rows at once.
        """
        if self._careful and explain is not None:
            self.guarded(lambda: self._link.run(sql, values), explain)
            return
        self._statements.append((sql, many, values))
        if len(self._statements) >= _MOST:
            self.flush()

    def guarded(self, work: Callable[[], object], explain: Explain) -> None:
        """Do *work*, and go back to before it where it met a constraint."""
        self.flush()
        self._link.run("SAVEPOINT quantkeep_write")
        try:
            work()
        except psycopg.Error as error:
            if sqlstate(error) != UNIQUE:
                raise
            self._link.run("ROLLBACK TO SAVEPOINT quantkeep_write")
            raise explain(error) from None
        self._link.run("RELEASE SAVEPOINT quantkeep_write")

    def flush(self) -> None:
        """Send what waits, and see that all of it was done."""
        if self._statements:
            with self._link.together():
                self.send()

    def send(self) -> None:
        """Send what waits, within the link's ``together``."""
        statements, self._statements = self._statements, []
        for (sql, many), alike in groupby(statements, key=itemgetter(0, 1)):
            rows = [values for _, _, values in alike]
            if not (many and len(rows) >= LEAST and self._send_together(many, rows)):
                self._link.send(sql, *rows)

    def _send_together(self, many: Many, rows: Sequence[Sequence[Any]]) -> bool:
        """Send *rows* as one statement, if that can be."""
        together = packed(many, rows) if self._link.speaks_utf8 else None
        if together is not None:
            self._link.send(many.sql, together)
        return together is not None
