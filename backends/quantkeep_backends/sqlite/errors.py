"""What SQLite and the file system say, in the words of :mod:`quantkeep.errors`."""

import errno
import sqlite3
from typing import Final

from quantkeep.errors import (
    Busy,
    Closed,
    Corrupt,
    Invalid,
    PermissionDenied,
    QuantkeepError,
    ReadOnly,
    StoreFull,
    TooLarge,
    Unavailable,
    WriterPoisoned,
)

# What a call of the driver ends with. Where SQLite's own message quotes text of a damaged schema,
# the driver fails to decode the message.
FAILURES: Final = (sqlite3.Error, OSError, UnicodeDecodeError)

_IOERR: Final = sqlite3.SQLITE_IOERR
_FSYNC: Final = frozenset(
    {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC, sqlite3.SQLITE_IOERR_CLOSE}
)


def primary(error: sqlite3.Error) -> int:
    """The primary result code of *error*; 0 if SQLite gave none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_constraint(error: BaseException) -> bool:
    """Whether a constraint of a table said no."""
    return isinstance(error, sqlite3.IntegrityError)


def is_fsync(error: BaseException) -> bool:
    """Whether what is on disk is not known any more."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) in _FSYNC
    return isinstance(error, OSError) and error.errno == errno.EIO


def translated(error: BaseException, path: str) -> QuantkeepError:
    """The typed error that says what *error* means for the keep at *path*."""
    if is_fsync(error):
        return WriterPoisoned(
            f"{path}: a write could not be brought to the disk, so what is there is not known: "
            f"{error}. Check the disk, then close the keep and open it again"
        )
    if isinstance(error, sqlite3.Error):
        return _from_sqlite(error, path)
    if isinstance(error, UnicodeDecodeError):
        return _meant(sqlite3.SQLITE_CORRUPT, path)
    assert isinstance(error, OSError)
    return _from_system(error, path)


def _from_sqlite(error: sqlite3.Error, path: str) -> QuantkeepError:
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return Closed("this keep was closed; open it again")
    if isinstance(error, sqlite3.DataError):
        return TooLarge(f"{path}: {error}")
    code = primary(error)
    if code in _MEANINGS:
        return _meant(code, path, f" ({error})")
    if any(words in str(error) for words in _NOT_AS_WRITTEN):
        return Corrupt(f"{path}: a stored value is not what was written: {error}", locator=path)
    if "no such table" in str(error) or "no such column" in str(error):
        return Corrupt(f"{path}: {error}; it was there when the keep was made", locator=path)
    return Unavailable(f"{path}: {error}")


def _meant(code: int, path: str, detail: str = "") -> QuantkeepError:
    meaning, sentence = _MEANINGS[code]
    text = f"{path} {sentence}{detail}"
    return Corrupt(text, locator=path) if meaning is Corrupt else meaning(text)


_NOT_AS_WRITTEN: Final = ("malformed JSON", "user-defined", "Could not decode to UTF-8")
_MEANINGS: Final[dict[int, tuple[type[QuantkeepError], str]]] = {
    sqlite3.SQLITE_BUSY: (
        Busy,
        (
            "was locked by other writers for longer than busy_timeout: try again, or raise it "
            "(sqlite:///bot.db?busy_timeout=60)"
        ),
    ),
    sqlite3.SQLITE_LOCKED: (Busy, "was locked by another use of it: try again"),
    sqlite3.SQLITE_FULL: (StoreFull, "cannot grow, its disk is full: make room and try again"),
    sqlite3.SQLITE_READONLY: (
        ReadOnly,
        "accepts no writes: its file or folder is read-only; open it with read_only=True to read",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        Unavailable,
        (
            "cannot be opened: see that the file, its folder, and the -wal and -shm files beside "
            "it can be read and written by this user"
        ),
    ),
    sqlite3.SQLITE_PERM: (PermissionDenied, "may not be used by this user"),
    sqlite3.SQLITE_AUTH: (PermissionDenied, "may not be used by this user"),
    sqlite3.SQLITE_CORRUPT: (
        Corrupt,
        "is damaged: run `quantkeep verify`, and restore it from a backup",
    ),
    sqlite3.SQLITE_NOTADB: (
        Corrupt,
        (
            "is no SQLite database, or its first bytes are damaged: name another file, or restore "
            "it from a backup; it was not changed"
        ),
    ),
    sqlite3.SQLITE_IOERR: (Unavailable, "cannot be read or written, the disk or system fails"),
    sqlite3.SQLITE_TOOBIG: (TooLarge, "does not take a value of this size"),
    sqlite3.SQLITE_CONSTRAINT: (Invalid, "refuses what was given"),
    sqlite3.SQLITE_INTERRUPT: (Closed, "was closed while it answered"),
}


def _from_system(error: OSError, path: str) -> QuantkeepError:
    meaning = _ERRNOS.get(error.errno or 0, Unavailable)
    reason = error.strerror or str(error)
    if meaning is StoreFull:
        return StoreFull(f"{path} cannot grow: {reason}. Make room and try again")
    return meaning(f"{path}: {reason}")


_ERRNOS: Final[dict[int, type[QuantkeepError]]] = {
    errno.ENOSPC: StoreFull,
    errno.EDQUOT: StoreFull,
    errno.EACCES: PermissionDenied,
    errno.EPERM: PermissionDenied,
    errno.EROFS: ReadOnly,
}
