"""One schema of one database: reading, writing, and what becomes of errors."""

import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import psycopg

from quantkeep.errors import (
    OutcomeUnknown,
    QuantkeepError,
    ReadOnly,
    StoreFull,
    scrubbed,
)
from quantkeep.failpoints import passing
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.engine import PostgresqlEngine
from quantkeep_backends.postgresql.errors import (
    RETRIED,
    LostMidway,
    is_lost,
    lost,
    may_pass,
    sqlstate,
    translated,
)
from quantkeep_backends.postgresql.pool import Pool
from quantkeep_backends.postgresql.settings import Settings

T = TypeVar("T")
Work = Callable[[Link], T]

_PAUSES: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # seconds between tries, at most


class Database:
    """The schema that *settings* name.

    Attributes:
        read_only: nothing may be written.
        engine: how its values are held.
    """

    def __init__(self, pool: Pool, settings: Settings, *, read_only: bool = False) -> None:
        self.pool = pool
        self.settings = settings
        self.read_only = read_only
        self.engine = PostgresqlEngine(settings.schema)
        self.where = f"{settings.name} schema {settings.schema!r}"

    # -- errors ----------------------------------------------------------------------------------

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Within it, what the driver or the system says becomes a typed error."""
        try:
            yield
        except QuantkeepError:
            raise
        except LostMidway as error:
            raise lost(self.where) from self.scrubbed(error.__cause__ or error)
        except (psycopg.Error, OSError) as error:
            raise self.meaning(error) from self.scrubbed(error)

    def meaning(self, error: Exception) -> QuantkeepError:
        """The typed error for *error*, after which nothing is applied."""
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreFull(f"{self.where}: {os.strerror(error.errno)}: make room and try again")
        return translated(error, self.where)

    def scrubbed(self, error: BaseException) -> Exception:
        """A copy of *error* that may be shown."""
        return scrubbed(error, str(self.settings.target.get("password") or ""))

    # -- reading ---------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Link]:
        """A connection to read with."""
        with self.speaking():
            link = self.pool.take()
            try:
                yield link
            finally:
                self.pool.give(link)

    def read(self, work: Work[T]) -> T:
        """What *work* finds; it is done once more if the connection turns out to be gone."""
        with self.speaking():
            try:
                return self._with_link(work)
            except psycopg.Error as error:
                if not may_pass(error):
                    raise
            return self._with_link(work)

    def _with_link(self, work: Work[T]) -> T:
        link = self.pool.take()
        try:
            return work(link)
        finally:
            self.pool.give(link)

    # -- writing ---------------------------------------------------------------------------------

    def write(self, work: Work[T]) -> T:
        """Do *work*, which commits, or leaves nothing behind; again where others were in the way.

        And again if the connection breaks: work that may not be done twice says when it commits
        (:meth:`committing`).

        Raises:
            Conflict: others were in the way every time.
            OutcomeUnknown: it raised ``LostMidway``.
        """
        if self.read_only:
            raise ReadOnly(f"{self.where} was opened with read_only=True")
        with self.speaking():
            for pause in _PAUSES:
                try:
                    return self._with_link(work)
                except psycopg.Error as error:
                    if sqlstate(error) not in RETRIED and not may_pass(error):
                        raise
                    time.sleep(random.uniform(0, pause))  # noqa: S311  # no secret
            return self._with_link(work)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Within it, the commit is sent: if the connection breaks, nobody knows."""
        try:
            yield
        except psycopg.Error as error:
            if is_lost(error):
                raise LostMidway from error
            raise

    def step(self, name: str) -> None:
        """Mark a step of a write path, before anything is sent."""
        with self.speaking():
            passing(f"postgresql.{name}")

    def committed(self, name: str) -> None:
        """From here on it is stored, whatever happens: an error may not say that it is not."""
        try:
            passing(f"postgresql.{name}.after_commit")
        except OSError as error:
            raise OutcomeUnknown(
                f"{self.where}: the commit was made, and then its answer was lost ({error})"
            ) from scrubbed(error)

    def close(self) -> None:
        """Let go of the connections, if they are ours."""
        self.pool.close()
