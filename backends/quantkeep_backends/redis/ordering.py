"""Scalars as bytes that compare as queries compare them, for sorted sets and for statistics.

``None`` comes before everything, text compares by code point, Decimals by value, NaN is the
greatest number, and -0.0 is 0.0. No encoding is the beginning of another of the same kind, so
several can stand behind each other.
"""

import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from quantkeep.columns import Kind, Scalar

NULL: Final = b"\x01"
_VALUE: Final = b"\x02"
_SIGNED: Final = 2**63
_NAN: Final = b"\xff" * 8
_COMPLEMENT: Final = bytes.maketrans(bytes(range(256)), bytes(range(255, -1, -1)))


def encoded(kind: Kind, scalar: Scalar) -> bytes:
    """The bytes that stand for *scalar*."""
    return NULL if scalar is None else _VALUE + _ENCODERS.get(kind, _text)(scalar)


def encoder(kind: Kind) -> Callable[[Scalar], bytes]:
    """What :func:`encoded` does to the scalars of one kind."""
    encode = _ENCODERS.get(kind, _text)
    return lambda scalar: NULL if scalar is None else _VALUE + encode(scalar)


def prefix(text: str) -> bytes:
    """What the encodings of all texts begin with that begin with *text*."""
    return _VALUE + text.encode()


def after(beginning: bytes) -> bytes:
    """The least bytes that are greater than everything that begins with *beginning*."""
    return beginning + b"\xff"


def stamp(microseconds: int) -> bytes:
    """As the script writes the store's own stamps, which it knows as decimal digits."""
    if microseconds >= 0:
        return b"1%020d" % microseconds
    digits = b"%020d" % -microseconds
    return b"0" + bytes(ord("9") - digit + ord("0") for digit in digits)


def _text(text: Any) -> bytes:
    return str(text).encode() + b"\0"


def _integer(number: Any) -> bytes:
    return int(number + _SIGNED).to_bytes(8, "big")


def _real(number: Any) -> bytes:
    if number != number:
        return _NAN
    (bits,) = struct.unpack(">q", struct.pack(">d", number + 0.0))  # -0.0 + 0.0 is 0.0
    return int((bits ^ 0x7FFF_FFFF_FFFF_FFFF if bits < 0 else bits) + _SIGNED).to_bytes(8, "big")


def _boolean(flag: Any) -> bytes:
    return b"\1" if flag else b"\0"


def _binary(data: Any) -> bytes:
    text: str = data.hex()
    return text.encode() + b"\0"


def _decimal(text: Any) -> bytes:
    """Sign, exponent, digits; of a negative number, their complement."""
    number = Decimal(text)
    if not number:
        return b"\x80"
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0")
    size = (number.adjusted() + 0x8000).to_bytes(2, "big") + digits.encode() + b"\0"
    return b"\xc0" + size if number > 0 else b"\x40" + size.translate(_COMPLEMENT)


_ENCODERS: Final[dict[Kind, Callable[[Any], bytes]]] = {
    Kind.INTEGER: _integer,
    Kind.TIMESTAMP: _integer,
    Kind.REAL: _real,
    Kind.BOOLEAN: _boolean,
    Kind.BINARY: _binary,
    Kind.DECIMAL: _decimal,
}
