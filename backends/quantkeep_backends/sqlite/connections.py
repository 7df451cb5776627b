"""Connections: how each is set up, and the small pool of those that read."""

import queue
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs

from quantkeep.backend import Durability
from quantkeep.errors import Busy, Closed
from quantkeep_backends.sqlite.functions import register

READERS = 16
_KEPT = 256  # compiled statements that a connection keeps


@attrs.frozen
class Settings:
    """What a URL may set."""

    busy_timeout: float = 30.0  # seconds
    synchronous: str = "full"
    network: str = "refuse"
    owner: str = "own"


def connect(path: Path, mode: str, settings: Settings) -> sqlite3.Connection:
    """A connection to the file at *path*, which must be there; *mode* is ``rw``, ``ro``, ..."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{mode}",
        uri=True,
        isolation_level=None,  # transactions are begun here, never by the driver
        timeout=settings.busy_timeout,
        check_same_thread=False,
        cached_statements=_KEPT,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        register(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def make_durable(connection: sqlite3.Connection, synchronous: str) -> None:
    """Set the journal and its syncing, as far as the file system lets it."""
    journal = pragma(connection, "journal_mode = WAL")
    if journal != "wal" and synchronous == "full":
        synchronous = "extra"  # a rollback journal needs it: the unlink is not synced by FULL
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # see Database: a failed one must be seen


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    """The value of a pragma."""
    row = connection.execute(f"PRAGMA {name}").fetchone()
    return row[0] if row else None


def reached(journal: str, synchronous: int, *, volatile: bool) -> Durability:
    """The level of durability that these observed settings reach (GUARANTEES, measured)."""
    enough = 2 if journal == "wal" else 3  # FULL; without WAL only EXTRA
    if volatile or synchronous < enough or journal in ("off", "memory"):
        return Durability.PROCESS
    return Durability.DISK


class Readers:
    """Reading connections: at most :data:`READERS` in use, each by one reader at a time.

    They are given back by finalisers of abandoned scans too, so giving back takes no lock.

    Attributes:
        closed: no reader may read on.
    """

    def __init__(self, open_one: Callable[[], sqlite3.Connection], timeout: float) -> None:
        self._open = open_one
        self._timeout = timeout
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle: deque[sqlite3.Connection] = deque()
        self.closed = False
        for _ in range(READERS):
            self._free.put(None)

    def take(self) -> sqlite3.Connection:
        """A connection to read with; raises :class:`Busy` if all are in use for too long."""
        try:
            self._free.get(timeout=self._timeout)
        except queue.Empty:
            raise Busy(
                f"{READERS} readers are in use, which is all there are: "
                "exhaust or close the iterators that scans gave"
            ) from None
        try:
            return self._idle_one() or self._open()
        except BaseException:
            self._free.put(None)
            raise

    def _idle_one(self) -> sqlite3.Connection | None:
        if self.closed:
            raise Closed("this keep was closed; open it again")
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def give(self, connection: sqlite3.Connection) -> None:
        """Take *connection* back, out of any transaction it is in."""
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if self.closed:
            connection.close()
        else:
            self._idle.append(connection)
        self._free.put(None)

    def close(self) -> None:
        """Close the idle ones; those in use are closed when they come back."""
        self.closed = True
        while self._idle:
            self._idle.pop().close()
