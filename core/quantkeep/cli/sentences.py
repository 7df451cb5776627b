"""Errors as one clear sentence, without secrets (Z-15)."""

import re

from quantkeep.errors import QuantkeepError
from quantkeep.url import Url

_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"<>]+")
_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):.*@")  # up to the last @: it may hold anything


def sentence(error: BaseException) -> str:
    """What *error* says, on one line; a failure of our own is said to be one."""
    if isinstance(error, QuantkeepError):
        return one_line(str(error))
    if isinstance(error, OSError):
        said = error.strerror or str(error)
        return one_line(f"{said}: {error.filename}" if error.filename else said)
    what = one_line(f"{type(error).__name__}: {error}")
    return f"this should not have happened: {what} (QUANTKEEP_TRACEBACK=1 shows where)"


def one_line(text: str) -> str:
    """*text* on one line, secrets covered."""
    return " ".join(without_secrets(text).split())


def without_secrets(text: str) -> str:
    """*text* with the passwords of the URLs in it covered."""
    return _URL.sub(lambda found: _covered(found[0]), _PASSWORD.sub(r"\1:***@", text))


def _covered(url: str) -> str:
    try:
        return str(Url.parse(url))
    except ValueError:
        return "<url>"


def counted(number: int, what: str) -> str:
    """``3 results``, ``1 result``, ``no results``."""
    return f"{f'{number:,}' if number else 'no'} {what}{'' if number == 1 else 's'}"
