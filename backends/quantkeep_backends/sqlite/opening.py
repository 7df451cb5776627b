"""Opening: everything that is looked at before the file is written to for the first time."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from quantkeep import schema
from quantkeep.contract import require_level
from quantkeep.errors import (
    Corrupt,
    FormatTooNew,
    InvalidUrl,
    NotFound,
    QuantkeepError,
    ReadOnly,
    Unsupported,
    scrubbed,
)
from quantkeep.hookspecs import Opening
from quantkeep.url import Url
from quantkeep_backends.sqlite import files
from quantkeep_backends.sqlite.backend import SqliteBackend
from quantkeep_backends.sqlite.connections import Settings, connect, pragma
from quantkeep_backends.sqlite.database import Database
from quantkeep_backends.sqlite.errors import FAILURES, primary, translated
from quantkeep_backends.sqlite.schema import initialise, recalled
from quantkeep_backends.sqlite.system import APPLICATION_ID, LAYOUT

_OLDEST: Final = (3, 37, 0)  # STRICT tables


def open_backend(url: Url, opening: Opening) -> SqliteBackend:
    """The backend at *url*; see :func:`quantkeep.open` for what it raises."""
    settings, path = settings_of(url), path_of(url)
    if sqlite3.sqlite_version_info < _OLDEST:
        raise Unsupported(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed")
    try:
        return _opened(path, settings, url, opening)
    except QuantkeepError:
        raise
    except FAILURES as error:
        raise translated(error, str(path)) from scrubbed(error)


def settings_of(url: Url) -> Settings:
    """What *url* sets; raises ``InvalidUrl``."""
    url.allow("busy_timeout", "synchronous", "network", "owner")
    usual = Settings()
    return Settings(
        url.option("busy_timeout", _seconds, usual.busy_timeout),
        url.option("synchronous", _one_of("full", "normal", "extra"), usual.synchronous),
        url.option("network", _one_of("refuse", "allow"), usual.network),
        url.option("owner", _one_of("own", "any"), usual.owner),
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise ValueError("expected seconds, up to a day")
    return seconds


class _one_of:  # noqa: N801  # reads as a function
    def __init__(self, *words: str) -> None:
        self._words = words

    def __call__(self, text: str) -> str:
        if text not in self._words:
            raise ValueError(f"expected {' or '.join(self._words)}")
        return text


def path_of(url: Url) -> Path:
    """The absolute path of the file; raises ``InvalidUrl``."""
    if url.path.name == ":memory:":
        raise InvalidUrl(f"{url}: use memory:// for a keep that is gone with the process")
    path = url.path.absolute()
    if ".." in path.parts and path.parent.is_dir():  # SQLite knows no way up from the root
        return path.parent.resolve() / path.name
    return path


def _opened(path: Path, settings: Settings, url: Url, opening: Opening) -> SqliteBackend:
    filesystem = files.filesystem(path)
    new = not files.is_there(path, any_owner=settings.owner == "any")
    files.refuse_remote(path, filesystem, allowed=settings.network == "allow")
    if new:
        _create(path, opening)
    if _is_on_read_only_medium(path) and not opening.read_only:
        raise ReadOnly(f"{path} is on a read-only medium: open it with read_only=True")
    reading = _reading_mode(path, settings) if opening.read_only else "mode=ro"
    new = _is_new(path, settings, reading)
    if new and (opening.read_only or not opening.create):
        raise NotFound(f"{path} is an empty file, no keep")
    if not opening.read_only:
        _check_writable(path)
        _check_after_crash(path, settings)
    database = Database(path, settings, read_only=opening.read_only, mode=reading)
    try:
        if new:
            initialise(database)
        backend = SqliteBackend(database, filesystem)
        require_level(backend.durability, opening.durability, url)
    except BaseException:
        database.close()
        raise
    return backend


def _create(path: Path, opening: Opening) -> None:
    if opening.read_only or not opening.create:
        raise NotFound(
            f"{path} is not there" + ("" if opening.create else "; create=True makes it")
        )
    files.make(path)


def _check_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        raise ReadOnly(f"{path} is a read-only file: open it with read_only=True")


# -- whose file it is ------------------------------------------------------------------------------


def _is_new(path: Path, settings: Settings, mode: str) -> bool:
    """Whether the file is empty still.

    Looked at through a connection that cannot write, for the file may be another program's.

    Raises:
        InvalidUrl: it is another program's.
        FormatTooNew, Corrupt: it is a keep's, but not one that can be read.
    """
    connection = connect(path, mode, settings)
    try:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        owner = pragma(connection, "application_id")
        if not names and owner in (0, APPLICATION_ID):
            return True
        if "quantkeep_meta" not in names and owner == APPLICATION_ID:
            raise Corrupt(f"{path} lacks a table that every keep has", locator=str(path))
        if "quantkeep_meta" not in names:
            raise InvalidUrl(
                f"{path} is the database of another program, which was not changed: name a file "
                "that quantkeep made, or one that is not there yet"
            )
        _check_format(path, connection)
    finally:
        connection.close()
    return False


def _check_format(path: Path, connection: sqlite3.Connection) -> None:
    for name, known in (("format", schema.FORMAT), ("layout", LAYOUT)):
        text = recalled(connection, name) or ""
        if not text.isdecimal():
            raise Corrupt(f"{path} does not know its own {name}", locator=str(path))
        if int(text) > known:
            raise FormatTooNew(
                f"{path} has {name} {text}; this quantkeep reads up to {known}: upgrade quantkeep"
            )


def _reading_mode(path: Path, settings: Settings) -> str:
    """How to open a file that will not be written to: on a read-only medium nothing can lock it."""
    try:
        connection = connect(path, "mode=ro", settings)
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if primary(error) != sqlite3.SQLITE_CANTOPEN or not _is_frozen(path):
            raise
        return "mode=ro&immutable=1"
    return "mode=ro"


def _is_frozen(path: Path) -> bool:
    """Whether nobody can write beside *path*, and no log waits to be read."""
    return _is_on_read_only_medium(path) and not files.has_log(path)


def _is_on_read_only_medium(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


# -- after a crash ---------------------------------------------------------------------------------


def _check_after_crash(path: Path, settings: Settings) -> None:
    """If the last writer did not close the file, let SQLite look over it before it is used (Z-6).

    A log with content beside the file says so, unless somebody has the file open now.
    """
    if not files.has_log(path):
        return
    connection = connect(path, "mode=rw", settings)
    try:
        problems = _quick_check(connection)
    finally:
        connection.close()
    if problems:
        raise Corrupt(
            f"{path} was not closed when it was last used, and is damaged: {'; '.join(problems)}. "
            "Restore it from a backup",
            locator=str(path),
        )


def _quick_check(connection: sqlite3.Connection) -> list[str]:
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    try:
        rows = connection.execute("PRAGMA quick_check(5)").fetchall()
    except sqlite3.DatabaseError as error:
        if primary(error) == sqlite3.SQLITE_BUSY:
            return []  # somebody has it open: it is in use, not left behind
        if primary(error) == sqlite3.SQLITE_CORRUPT:
            return [str(error)]
        raise
    return [line for (line,) in rows if line != "ok"]
