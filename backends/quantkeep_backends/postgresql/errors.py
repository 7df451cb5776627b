"""What PostgreSQL and the network say, in the words of :mod:`quantkeep.errors`."""

import re
from typing import Final

import psycopg

from quantkeep.errors import (
    Busy,
    Closed,
    Conflict,
    Corrupt,
    Invalid,
    InvalidUrl,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    QuantkeepError,
    ReadOnly,
    StoreFull,
    TooLarge,
    Unavailable,
    WriterPoisoned,
)
from quantkeep_backends.postgresql.bounded import Stalled
from quantkeep_backends.postgresql.exchange import UNPREPARED

RETRIED: Final = frozenset({"40001", "40P01"})  # serialization failure, deadlock
UNIQUE: Final = "23505"
FOREIGN_KEY: Final = "23503"
GUARD: Final = "22012"  # a division by zero: a guard of ours said no


_SLOW: Final = (Stalled, psycopg.errors.ConnectionTimeout)


class LostMidway(Exception):  # no error yet: the caller knows what it meant
    """The connection broke after a statement was sent."""


def sqlstate(error: BaseException) -> str:
    """The five letters by which the server tells errors apart; empty if it told none."""
    return getattr(error, "sqlstate", None) or ""


def is_lost(error: BaseException) -> bool:
    """Whether *error* says that the connection is gone, whatever became of the statement."""
    state = sqlstate(error)
    if state:
        return state.startswith("08") or state in _SHUT_DOWN
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def may_pass(error: Exception) -> bool:
    """Whether *error* is of a lost connection, and another one may be had at once.

    So are prepared statements that are lost. It is not where the server has used up the time that
    it has, or does not let us in.
    """
    if sqlstate(error) == UNPREPARED:
        return True
    if not is_lost(error) or isinstance(error, _SLOW):
        return False
    return not isinstance(translated(error, ""), PermissionDenied | NotFound | InvalidUrl)


_SHUT_DOWN: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})


def translated(error: Exception, where: str) -> QuantkeepError:
    """The typed error that says what *error* means for the keep at *where*; nothing was applied."""
    if isinstance(error, OSError):
        return Unavailable(f"{where}: {error.strerror or error}")
    if isinstance(error, Stalled):
        return Unavailable(f"{where}: {error}")
    if isinstance(error, psycopg.InterfaceError):
        return Closed("this keep was closed while it was used; open it again")
    state = sqlstate(error)
    meaning = _STATES.get(state) or _CLASSES.get(state[:2])
    if meaning is None:
        return _connecting(error, where)
    kind, sentence = meaning
    return kind(f"{where}: {sentence} ({_said(error)})")


def lost(where: str) -> OutcomeUnknown:
    """The answer to a commit did not come."""
    return OutcomeUnknown(
        f"{where}: the connection was lost after the commit was sent, so it may or may not have "
        "been applied: ask keep.resolve(op_id), or make the same call again if it had an op_id"
    )


def _said(error: Exception) -> str:
    """The server's own words, without the values that its details quote."""
    diag = getattr(error, "diag", None)
    message = getattr(diag, "message_primary", None) or str(error).partition("\n")[0]
    return f"{message} [{sqlstate(error)}]" if sqlstate(error) else str(message)


Meaning = tuple[type[QuantkeepError], str]

_ASK_FOR_RIGHTS: Final = (
    "this user may not do that: GRANT it the rights that docs/postgresql.md lists, or connect as "
    "the schema's owner"
)
_GONE: Final = ": somebody dropped or renamed it; restore it from a backup"
_STATES: Final[dict[str, Meaning]] = {
    "40001": (Conflict, "other commits kept coming in between: try again"),
    "40P01": (Conflict, "other commits kept coming in between: try again"),
    "55P03": (Busy, "others held a lock for longer than lock_timeout: try again"),
    "57014": (Busy, "the statement was cancelled, or took longer than statement_timeout allows"),
    "57P01": (Unavailable, "the server ended the connection: try again"),
    "57P02": (Unavailable, "the server crashed: try again when it is back"),
    "57P03": (Unavailable, "the server is starting up or shutting down: try again"),
    "57P04": (NotFound, "the database was dropped"),
    "25P03": (Unavailable, "a reader paused for longer than the server waits: read again"),
    "25006": (ReadOnly, "the server accepts no writes, it is a standby or read-only"),
    "42501": (PermissionDenied, _ASK_FOR_RIGHTS),
    "53100": (StoreFull, "the server's disk is full: make room and try again"),
    "53200": (Busy, "the server is out of memory: try again, or give it more"),
    "53300": (Busy, "the server has no connection left: try again, or lower pool_size"),
    "54000": (TooLarge, "a value is too large for the server"),
    "54023": (TooLarge, "a value is too large for the server"),
    "58030": (WriterPoisoned, "the server's disk fails: see its log, then open the keep again"),
    "3D000": (NotFound, "there is no such database: create it first (createdb)"),
    "3F000": (Corrupt, f"the schema is not there any more{_GONE}"),
    "42P01": (Corrupt, f"a table of the keep is not there any more{_GONE}"),
    "42703": (Corrupt, f"a column of the keep is not there any more{_GONE}"),
    "XX001": (Corrupt, "a page is damaged: restore the database from a backup"),
    "XX002": (Corrupt, "an index is damaged: REINDEX it, and run `quantkeep verify`"),
}
_CLASSES: Final[dict[str, Meaning]] = {
    "08": (Unavailable, "the server cannot be reached: try again"),
    "22": (Invalid, "the server refuses a value"),
    "23": (Invalid, "the server refuses what was given"),
    "28": (PermissionDenied, "the server does not let this user in: check user and password"),
    "42": (Corrupt, "the tables are not as quantkeep made them"),
    "53": (Busy, "the server lacks resources: try again"),
    "54": (TooLarge, "a value is too large for the server"),
    "57": (Unavailable, "an operator intervened: try again"),
    "58": (Unavailable, "the server's system fails: see its log"),
    "XX": (Corrupt, "the server failed inside: see its log"),
}

# -- errors of connecting, of which libpq tells the words alone -----------------------------------

_WORDS: Final[tuple[tuple[str, Meaning], ...]] = (
    ("password authentication failed", _CLASSES["28"]),
    ("no password supplied", (PermissionDenied, "the server wants a password: put one in the URL")),
    ("no pg_hba.conf entry", (PermissionDenied, "the server does not let this user in from here")),
    ("authentication failed", _CLASSES["28"]),
    (r'role ".*" is not permitted to log in', _CLASSES["28"]),
    (
        r'role ".*" does not exist',
        (PermissionDenied, "the server does not know this user: check the name in the URL"),
    ),
    (r'database ".*" does not exist', _STATES["3D000"]),
    ("too many", _STATES["53300"]),
    ("remaining connection slots", _STATES["53300"]),
    ("the database system is", _STATES["57P03"]),  # starting up, shutting down, in recovery
)
# What libpq says before or without a word of the server's
_OPTIONS: Final[tuple[tuple[str, Meaning], ...]] = (
    ("^connection is bad: (?!connection to)", (InvalidUrl, "an option cannot be used")),
    (
        "SSL|certificate|channel binding",
        (Unavailable, "the server and the URL do not agree on TLS: check sslmode and certificates"),
    ),
    (
        "server is (not )?in hot standby|session is (not )?read-only",
        (Unavailable, "no server there is what target_session_attrs asks for"),
    ),
)
_UNREACHABLE: Final = "the server cannot be reached: check host and port, and that it runs"


def _connecting(error: Exception, where: str) -> QuantkeepError:
    text = str(error)
    kind, sentence = _meant(text)
    return kind(f"{where}: {sentence} ({_cause(text)})")


def _meant(text: str) -> Meaning:
    if "timeout" in text or "Connection refused" in text or "translate host name" in text:
        return Unavailable, _UNREACHABLE
    known = _WORDS if "FATAL" in text or "sendauth" in text else _OPTIONS
    found = (meaning for words, meaning in known if re.search(words, text))
    return next(found, (Unavailable, _UNREACHABLE))


def _cause(text: str) -> str:
    """The end of the first line of what libpq says, which names the reason."""
    line = text.strip().partition("\n")[0].removeprefix("connection is bad: ")
    if " on socket " in line:
        return line  # which names the file
    return line.rpartition("FATAL:  ")[2].rpartition("failed: ")[2]
