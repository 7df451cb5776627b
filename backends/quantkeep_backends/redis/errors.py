"""What Redis, the driver and the system say, in the words of :mod:`quantkeep.errors`."""

import errno
import re
import socket
from typing import Final

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    MasterDownError,
    MovedError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeout

from quantkeep.errors import (
    Busy,
    Corrupt,
    InvalidUrl,
    PermissionDenied,
    QuantkeepError,
    ReadOnly,
    StoreFull,
    TooLarge,
    Unavailable,
)


def translated(error: BaseException, where: str) -> QuantkeepError:
    """The typed error that says what *error* means for the server at *where*."""
    found = _from_text(str(error)) if isinstance(error, RedisError) else None
    found = found or next((said for kind, said in _KINDS.items() if isinstance(error, kind)), None)
    if found:
        meaning, sentence = found
        return meaning(f"{where} {sentence}{_forbidden(str(error))}")
    if _cause(error, socket.gaierror):
        return Unavailable(f"{where} cannot be reached (no host has that name): see the URL")
    if isinstance(error, ResponseError):
        return Unavailable(f"{where} refuses a command: {str(error)[:200]}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"{where} has no space left: make room and try again")
    return Unavailable(
        f"{where} cannot be reached ({_reason(error)}): see that the server runs there"
    )


def _from_text(text: str) -> tuple[type[QuantkeepError], str] | None:
    """Of a script's error too, which holds the code of the command that failed (Redis 6)."""
    code = _CODE.search(text)
    if code:
        return _CODES[code[1]]
    for words, name in _WORDS.items():
        if words in text:
            return _CODES[name]
    return next((said for words, said in _OTHERS.items() if words in text), None)


def _forbidden(text: str) -> str:
    """The command that a user may not run, if it is about one."""
    found = _COMMAND.search(text)
    return f" (it may not run {found[1].upper()})" if found else ""


def _reason(error: BaseException) -> str:
    """What the system said, which the driver's own errors come from."""
    inner = _cause(error, OSError)
    return inner.strerror if inner and inner.strerror else type(error).__name__


def _cause(error: BaseException, kind: type[OSError]) -> OSError | None:
    inner: BaseException | None = error
    while inner is not None and not (isinstance(inner, kind) and inner.strerror):
        inner = inner.__cause__ or inner.__context__
    return inner if isinstance(inner, kind) else None


_CODES: Final[dict[str, tuple[type[QuantkeepError], str]]] = {
    "OOM": (StoreFull, "is full (maxmemory): give it more memory, or prune what is old"),
    "LOADING": (Unavailable, "is loading its data after a start: try again"),
    "BUSY": (Busy, "is busy with a script for longer than it allows: try again"),
    "MASTERDOWN": (
        Unavailable,
        "is a replica that has lost its primary: try again, or name the primary",
    ),
    "READONLY": (
        ReadOnly,
        "is a replica and takes no writes: name the primary, or open with read_only=True",
    ),
    "MISCONF": (
        StoreFull,
        "takes no writes because it could not save to its disk: see its log, and make room there",
    ),
    "NOREPLICAS": (Unavailable, "takes no writes while too few replicas are connected"),
    "NOAUTH": (
        PermissionDenied,
        "asks for a password: the URL gives it before the host, as in user:password@host",
    ),
    "WRONGPASS": (
        PermissionDenied,
        "refuses the user or password: see what the URL gives before the host",
    ),
    "NOPERM": (
        PermissionDenied,
        (
            "does not let this user do that: allow ~quantkeep:* and the commands of "
            "docs/redis-keys.md"
        ),
    ),
    "WRONGTYPE": (
        Corrupt,
        (
            "holds something of another type under one of the keep's keys: it was put there "
            "outside quantkeep"
        ),
    ),
    "CLUSTERDOWN": (Unavailable, "is a cluster that does not serve all its slots: try again"),
    "MOVED": (InvalidUrl, "is a node of a cluster: say so, with redis+cluster:// or ?cluster=yes"),
}

# The driver takes some codes off, and gives an error of a class of its own.
_WORDS: Final[dict[str, str]] = {
    "command not allowed when used memory": "OOM",
    "You can't write against a read only": "READONLY",
    "Authentication required": "NOAUTH",
    "invalid username-password": "WRONGPASS",
    "invalid password": "WRONGPASS",
    "has no permissions": "NOPERM",
    "user executing the script can't run": "NOPERM",
    "user executing the script can't access": "NOPERM",
    "No permissions": "NOPERM",
    "Redis is busy running a script": "BUSY",
    "wrong kind of value": "WRONGTYPE",
    "AUTH <password> called without any password": "WRONGPASS",
}

_OTHERS: Final[dict[str, tuple[type[QuantkeepError], str]]] = {
    "DB index is out of range": (
        InvalidUrl,
        "has no database of that number: raise `databases` there, or name another (redis://host/0)",
    ),
    "max number of clients": (Busy, "has as many clients as it takes: try again"),
    "invalid bulk length": (TooLarge, "does not take a value of this size (proto-max-bulk-len)"),
}

_CODE: Final = re.compile(rf"(?:^|[\s-])({'|'.join(_CODES)})\b")

_COMMAND: Final = re.compile(r"(?:permissions to|can't) run the '([\w|]+)'")

_KINDS: Final[dict[type[BaseException], tuple[type[QuantkeepError], str]]] = {
    BusyLoadingError: _CODES["LOADING"],
    MasterDownError: _CODES["MASTERDOWN"],
    MovedError: _CODES["MOVED"],
    AuthenticationError: _CODES["WRONGPASS"],
    AuthorizationError: (PermissionDenied, "refuses the user"),
    RedisTimeout: (
        Unavailable,
        "did not answer in time: see that it runs (with TLS, for rediss://), or raise ?timeout=",
    ),
}
