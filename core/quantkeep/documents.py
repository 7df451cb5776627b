"""Documents: what a JSON column, or a section of session state, holds (X-3, Z-4, Z-40).

Every value has one canonical text: keys sorted by code point, no spaces, UTF-8, floats in their
shortest form. What JSON has no word for stands in tags, such as ``{"$decimal":"0.10"}``. What comes
out equals what went in, type included; what cannot is refused, with its path. ``docs/documents.md``
specifies the text, with test vectors.
"""

from typing import Any, Final

from quantkeep._document_plain import is_plain
from quantkeep._document_refusals import Refused
from quantkeep._document_writer import MAX_DEPTH, dumps
from quantkeep._opaque import Opaque
from quantkeep.columns import VALUE_BYTES
from quantkeep.errors import Corrupt, InvalidValue, TooLarge
from quantkeep.hosts import Hosts

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Opaque", "decode", "encode", "is_canonical", "normalise"]

MAX_BYTES: Final = VALUE_BYTES


def encode(value: object, hosts: Hosts, *, path: str = "", limit: int = MAX_BYTES) -> str:
    """The canonical text of *value*.

    Args:
        value: the document; nothing in it is changed, and other threads must not change it
            meanwhile.
        hosts: the classes whose objects may be in it.
        path: what the document is called in errors, such as the name of its section.
        limit: bytes of UTF-8 that the text may have.

    Raises:
        InvalidValue: something in it cannot be stored; ``field`` is the path to it.
        TooLarge: the text exceeds *limit*.
    """
    try:
        text = _encode(value, hosts)
    except Refused as refused:
        raise refused.at(path) from refused.__cause__
    except RecursionError as error:
        raise _unencodable("nested too deeply for the stack that is left", path, value) from error
    except (RuntimeError, TypeError, ValueError) as error:
        reason = f"cannot be encoded; did another thread change it meanwhile? ({error})"
        raise _unencodable(reason, path, value) from error
    _check_size(text, path, limit)
    return text


def decode(text: str, hosts: Hosts, *, strict_types: bool = True) -> Any:
    """The value of a canonical text.

    Spacing and the order of keys are not looked at: whoever stores a document keeps a digest of
    it, and :func:`is_canonical` tells.

    Args:
        text: what :func:`encode` gave.
        hosts: the classes whose objects are to come back.
        strict_types: refuse objects of other classes; if false, they come back as
            :class:`Opaque`, and so do objects that their class will not take back.

    Raises:
        Corrupt: the text is not one that :func:`encode` writes.
        InvalidValue: an object's class is not registered, or refuses what was stored; ``field`` is
            the path to it.
    """
    reader = hosts.reader if strict_types else hosts.lenient_reader
    try:
        return reader.read(text)
    except InvalidValue as error:
        error = _placed(error, reader.where(text))
        raise error from error.__cause__


def is_canonical(text: str) -> bool:
    """Whether *text* is exactly what :func:`encode` writes for its value; needs no classes."""
    try:
        return normalise(text) == text
    except (Corrupt, InvalidValue):
        return False


def normalise(text: str) -> str:
    """The canonical text of a document that was written or edited by other hands.

    Raises:
        Corrupt: it is no document.
        InvalidValue: it holds what no document can, such as an integer beyond 64 bits.
    """
    nobody = Hosts()
    return encode(decode(text, nobody, strict_types=False), nobody)


def _encode(value: object, hosts: Hosts) -> str:
    try:
        text = dumps(value if is_plain(value) else hosts.writer.any(value))
    except ValueError:  # a NaN or an infinity among the floats
        return _encode_carefully(value, hosts)
    # In JSON a NUL can only look like this; so can a backslash before u0000, which is harmless.
    if "\\u0000" in text or not _is_text(text):
        return _encode_carefully(value, hosts)
    return text


def _encode_carefully(value: object, hosts: Hosts) -> str:
    return dumps(hosts.careful_writer.any(value))


def _is_text(text: str) -> bool:
    try:
        return text.isascii() or text.encode() is not None
    except UnicodeEncodeError:
        return False


def _check_size(text: str, path: str, limit: int) -> None:
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise TooLarge(
            f"a document of {size:,} bytes",
            field=path or None,
            value=size,
            expected=f"at most {limit:,} bytes; large tables and files are kept as artifacts",
        )


def _unencodable(message: str, path: str, value: object) -> InvalidValue:
    return InvalidValue(message, field=path or None, value=value)


def _placed(error: InvalidValue, path: str) -> InvalidValue:
    placed = InvalidValue(
        error.message, field=path or None, value=error.value, expected=error.expected
    )
    placed.__cause__ = error.__cause__
    return placed
