"""One database file: who may write when, what becomes of errors, when the log is checkpointed."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from quantkeep.errors import (
    Closed,
    OutcomeUnknown,
    QuantkeepError,
    ReadOnly,
    Regression,
    Unavailable,
    WriterPoisoned,
    scrubbed,
)
from quantkeep.failpoints import passing
from quantkeep_backends.sqlite.connections import Readers, Settings, connect, make_durable, pragma
from quantkeep_backends.sqlite.errors import FAILURES, is_fsync, translated
from quantkeep_backends.sqlite.turn import Turn

T = TypeVar("T")
Explain = Callable[[], QuantkeepError | None]

_LOG_PAGES = 1000  # of the write-ahead log, before it is brought into the database
_BULK = 50  # changed rows of one commit that weigh as much as another commit


class Database:
    """The file at *path*, which is there and is a keep's.

    Attributes:
        read_only: there is no writer, and SQLite opens the file for reading.
        poisoned: a sync failed, so the writer may write no more.
        synchronous: how the writer syncs, as SQLite says it.
    """

    def __init__(
        self, path: Path, settings: Settings, *, read_only: bool = False, mode: str = "mode=ro"
    ) -> None:
        self.path = path
        self.settings = settings
        self.read_only = read_only
        self.poisoned = False
        self.synchronous = 2  # a reader reads what others synced
        self.readers = Readers(self._reader(mode), settings.busy_timeout)
        self._writer: sqlite3.Connection | None = None
        self._turn: Turn | None = None
        self._name = str(path)
        self._file = os.stat(path)
        self._rounds = self._rounds_left = 200  # commits between checkpoints
        if not read_only:
            try:
                self._open_writer()
            except BaseException:
                self.close()
                raise

    def _reader(self, mode: str) -> Callable[[], sqlite3.Connection]:
        path, settings = self.path, self.settings
        return lambda: connect(path, mode, settings)

    def _open_writer(self) -> None:
        self._turn = Turn(f"{self.path}-lock", self.settings.busy_timeout)
        self._writer = connect(self.path, "mode=rw", self.settings)
        if pragma(self._writer, "journal_mode") == "wal":  # nobody's turn: it changes no file
            make_durable(self._writer, self.settings.synchronous)
        else:
            with self._turn:
                make_durable(self._writer, self.settings.synchronous)
        self.synchronous = int(pragma(self._writer, "synchronous"))

    # -- errors ----------------------------------------------------------------------------------

    def speaking(self) -> "Speaking":
        """Within it, what SQLite or the system says becomes a typed error."""
        return Speaking(self)

    def meaning(self, error: Exception) -> QuantkeepError:
        """The typed error for *error*, which may end this writer's life."""
        if is_fsync(error):
            self.poisoned = True
        return translated(error, str(self.path))

    def check_in_place(self) -> None:
        """See that the name still leads to the file that is open.

        Raises:
            Unavailable: the file was removed.
            Regression: another file was put in its place.
        """
        try:
            found = os.stat(self._name)
        except OSError as error:
            raise Unavailable(f"{self.path} was removed while it was open") from scrubbed(error)
        if found.st_ino != self._file.st_ino or found.st_dev != self._file.st_dev:
            raise Regression(
                f"{self.path} was replaced by another file while it was open: close this keep, "
                "compare the two, and open again",
                locator=str(self.path),
            )

    # -- writing ---------------------------------------------------------------------------------

    @property
    def writer(self) -> sqlite3.Connection:
        """The writing connection, to be used in one's turn."""
        if self.read_only:
            raise ReadOnly(f"{self.path} was opened with read_only=True")
        if self._writer is None:
            raise Closed("this keep was closed; open it again")
        if self.poisoned:
            raise WriterPoisoned(
                f"{self.path}: an earlier write could not be brought to the disk: "
                "close the keep and open it again to see what is there"
            )
        return self._writer

    def take_turn(self) -> Turn:
        """One's turn to write, to be given back; raises ``Busy``, or what :attr:`writer` raises."""
        if self._turn is None:
            _ = self.writer  # which says why there is none
            raise Closed("this keep was closed; open it again")
        self._turn.take()
        return self._turn

    @contextmanager
    def turn(self) -> Iterator[sqlite3.Connection]:
        """One's turn to write, with the connection to do it."""
        turn = self.take_turn()
        try:
            with self.speaking():
                yield self.ready()
        finally:
            turn.give()

    def ready(self) -> sqlite3.Connection:
        """The writing connection, in one's turn; another thread may have closed it before."""
        self.check_in_place()
        return self.writer

    def write(
        self, name: str, work: Callable[[sqlite3.Connection], T], explain: Explain | None = None
    ) -> T:
        """Do *work* in one transaction; *name* is that of its failpoints.

        *explain* is asked, before everything is undone, why constraints refused the whole.
        """
        with self.turn() as writer:
            passing(f"sqlite.{name}.begin")
            before = writer.total_changes
            writer.execute("BEGIN IMMEDIATE")
            try:
                result = work(writer)
                passing(f"sqlite.{name}.before_commit")
                self._commit(writer, explain)
            except BaseException:
                undo(writer)
                raise
            self.committed(name)
            self.checkpoint_sometimes(writer, writer.total_changes - before)
        return result

    def _commit(self, writer: sqlite3.Connection, explain: Explain | None) -> None:
        try:
            writer.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            reason = explain() if explain else None
            raise reason or self.meaning(error) from scrubbed(error)

    def committed(self, name: str) -> None:
        """From here on it is stored, whatever happens: an error may not say that it is not."""
        try:
            passing(f"sqlite.{name}.after_commit")
        except OSError as error:
            raise OutcomeUnknown(
                f"{self.path}: the commit was made, and then its answer was lost ({error})"
            ) from scrubbed(error)

    # -- checkpoints -----------------------------------------------------------------------------

    def checkpoint_sometimes(self, writer: sqlite3.Connection, changes: int) -> None:
        """Checkpoint when enough was written since the last time."""
        self._rounds_left -= 1 + changes // _BULK
        if self._rounds_left <= 0:
            self.checkpoint(writer)

    def checkpoint(self, writer: sqlite3.Connection) -> None:
        """Bring the log into the database, and reckon when to do so again.

        SQLite's own way passes over errors here. The commits are in the log and safe, so nobody is
        told now; but after a failed sync nothing more may be written.
        """
        passing_on = self._rounds - self._rounds_left
        try:
            passing("sqlite.checkpoint")
            row = writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except FAILURES as error:
            self.meaning(error)
            row = None
        pages = max(row[1], 1) if row else _LOG_PAGES
        self._rounds = min(max(_LOG_PAGES * passing_on // pages, 1), _LOG_PAGES)
        self._rounds_left = self._rounds

    # -- reading ---------------------------------------------------------------------------------

    def reading(self) -> "ReadingConnection":
        """A connection to read with."""
        return ReadingConnection(self)

    def close(self) -> None:
        """Let go of the file; the last to do so brings the log into the database.

        That is no turn: SQLite does it only while it holds the file for itself alone.
        """
        self.readers.close()
        if self._turn is not None:
            self._turn.close()  # waits for a thread of ours
        writer, self._writer = self._writer, None
        if writer is not None:
            with self.speaking():
                writer.close()


# Each read waits for both of these: written out, they take a third of what generators would.


class Speaking:
    """See :meth:`Database.speaking`."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if isinstance(error, FAILURES) and not isinstance(error, QuantkeepError):
            raise self._database.meaning(error) from scrubbed(error)


class ReadingConnection:
    """See :meth:`Database.reading`."""

    __slots__ = ("_database", "_reader")

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        with self._database.speaking():
            self._database.check_in_place()
            self._reader = self._database.readers.take()
        return self._reader

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        speaking = self._database.speaking()
        with speaking:
            self._database.readers.give(self._reader)
        speaking.__exit__(kind, error, at)


def undo(writer: sqlite3.Connection) -> None:
    """Roll back, if there is anything to; the error that led here is the one to be told."""
    if writer.in_transaction:
        with suppress(sqlite3.Error):
            writer.execute("ROLLBACK")
