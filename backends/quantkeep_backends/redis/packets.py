"""Commands as Redis reads them, in a fifth of the time that the driver takes."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

Command = Sequence[Any]

_pack: Final = msgspec.msgpack.Encoder().encode
_LENGTHS: Final = [b"$%d\r\n" % size for size in range(1_024)]  # as they stand before an argument


def packed(command: Command) -> bytes:
    """*command* as Redis reads it."""
    if type(command) is bytes:
        return command  # it is already
    return b"*%d\r\n" % len(command) + _arguments(command)


def around(before: Command, long: bytes, behind: Command) -> list[bytes]:
    """A command with one *long* argument, which is not copied."""
    head = b"*%d\r\n" % (len(before) + 1 + len(behind)) + _arguments(before)
    return [head + b"$%d\r\n" % len(long), long, b"\r\n" + _arguments(behind)]


def of_columns(before: Command, columns: Sequence[pa.Array]) -> list[bytes]:
    """A command that goes on with the cells of *columns*, row by row; no Python object for each."""
    count = len(before) + sum(map(len, columns))
    return [b"*%d\r\n" % count + _arguments(before), _cells(columns)]


def _cells(columns: Sequence[pa.Array]) -> bytes:
    parts: list[Any] = []
    for column in columns:
        sizes = pc.binary_length(column).cast(pa.string()).cast(pa.binary())
        parts += [b"$", sizes, b"\r\n", column.cast(pa.binary()), b"\r\n"]
    joined: Any = pc.binary_join_element_wise(*parts, b"")
    return bytes(memoryview(joined.buffers()[2])[: joined.total_values_length])


# -- inside one argument ---------------------------------------------------------------------------


def as_one(arguments: Iterable[str | bytes | int]) -> bytes:
    """Many arguments as one: an array of strings in msgpack, whatever bytes they hold."""
    return _pack(
        [
            part if type(part) is str else str(part) if type(part) is int else _string(part)
            for part in arguments
        ]
    )


def nested(lists: Iterable[Iterable[str | bytes | int]]) -> bytes:
    """Several lists of arguments as one."""
    return _pack([msgspec.Raw(as_one(each)) for each in lists])


def _string(part: Any) -> msgspec.Raw:
    size = len(part)
    if size < 32:
        return msgspec.Raw(bytes((0xA0 | size,)) + part)
    width = (size > 0xFF) + (size > 0xFFFF)
    return msgspec.Raw(bytes((0xD9 + width,)) + size.to_bytes(1 << width, "big") + part)


# -- as bytes --------------------------------------------------------------------------------------


def _arguments(command: Command) -> bytes:
    parts = [
        part.encode() if type(part) is str else part if type(part) is bytes else b"%d" % part
        for part in command
    ]
    said = [b"\r\n"] * (3 * len(parts))
    said[0::3] = [
        _LENGTHS[size] if (size := len(part)) < len(_LENGTHS) else b"$%d\r\n" % size
        for part in parts
    ]
    said[1::3] = parts
    return b"".join(said)
