"""Scalars as the text that a hash shows in redis-cli, and back, bit for bit."""

import math
import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from quantkeep.columns import Kind, Scalar, instant, microseconds

_QUIET: Final = struct.pack(">d", math.nan)


def of(kind: Kind, scalar: Any) -> str:
    """The text of a scalar that is not null, nor bytes."""
    write = _WRITERS.get(kind)
    return str(scalar) if write is None else write(scalar)


def stored(kind: Kind, scalar: Any) -> bytes:
    """What the field of a hash holds."""
    return scalar if kind is Kind.BINARY else of(kind, scalar).encode()


def writer(kind: Kind) -> Callable[[Any], str | bytes]:
    """What writes the scalars of one kind, to be put into an argument; the same as a field."""
    return bytes if kind is Kind.BINARY else _WRITERS.get(kind, str)


def scalar(kind: Kind, text: bytes) -> Scalar:
    """The scalar of what :func:`stored` gave; raises ``ValueError`` where that was changed."""
    return reader(kind)(text)


def reader(kind: Kind) -> Callable[[bytes], Scalar]:
    """What :func:`scalar` does to the texts of one kind."""
    return _READERS.get(kind, bytes.decode)


def _real(number: float) -> str:
    bits = struct.pack(">d", number)
    return f"nan:{bits.hex()}" if number != number and bits != _QUIET else repr(number)


def _real_of(text: bytes) -> float:
    if text.startswith(b"nan:"):
        number: float = struct.unpack(">d", bytes.fromhex(text[4:].decode()))[0]
        return number
    return float(text)


def _moment(number: int) -> str:
    return instant(number).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _moment_of(text: bytes) -> int:
    return microseconds(datetime.fromisoformat(text.decode()))


def _boolean(flag: bool) -> str:
    return "true" if flag else "false"


def _boolean_of(text: bytes) -> bool:
    return {b"true": True, b"false": False}[text]


_WRITERS: Final[dict[Kind, Callable[[Any], str]]] = {
    Kind.REAL: _real,
    Kind.TIMESTAMP: _moment,
    Kind.BOOLEAN: _boolean,
}
_READERS: Final[dict[Kind, Callable[[bytes], Scalar]]] = {
    Kind.INTEGER: int,
    Kind.REAL: _real_of,
    Kind.TIMESTAMP: _moment_of,
    Kind.BOOLEAN: _boolean_of,
    Kind.BINARY: bytes,
}
