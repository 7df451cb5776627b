"""The tags of the built-in types: what JSON has no word for, as single-key objects.

A writer takes a value of exactly its type and returns the tag's content; a reader takes the content
back, and raises ``ValueError`` unless it is the one spelling the writer would have chosen. So one
value has one text, and one text one value.
"""

import math
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from quantkeep._document_refusals import Refused

_QUIET_NAN: Final = 0x7FF8000000000000  # what float("nan") is; others show their bits


def _write_float(value: float) -> str:
    if not math.isnan(value):
        return "inf" if value > 0 else "-inf"
    bits = int.from_bytes(struct.pack(">d", value))
    return "nan" if bits == _QUIET_NAN else f"nan:{bits:016x}"


def _read_float(content: str) -> float:
    if content.startswith("nan:"):
        return float(struct.unpack(">d", int(content[4:], 16).to_bytes(8))[0])
    return float(content)


def _write_decimal(value: Decimal) -> str:
    # The letter follows the caller's decimal context (capitals=0 writes 1e+3).
    return str(value).replace("e", "E")


def _write_datetime(value: datetime) -> str:
    if value.tzinfo is not UTC:
        value = _in_utc(value)
    return value.isoformat(timespec="microseconds")[:-6] + "Z"


def _in_utc(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise Refused(
            "a naive datetime, which says no instant",
            value,
            "an aware datetime: value.replace(tzinfo=timezone.utc) if it was meant in UTC, "
            "value.astimezone() if it is this machine's local time",
        )
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise Refused("lies outside the years 1 to 9999 in UTC", value) from None


def _read_datetime(content: str) -> datetime:
    return datetime.fromisoformat(content).astimezone(UTC)


def _write_time(value: time) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise Refused(
            "a time of day in a zone whose offset depends on the date",
            value,
            "a naive time, or an aware datetime",
        )
    return value.isoformat(timespec="microseconds")


def _write_timedelta(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]  # in µs alone it can exceed int64


def _write_bytes(value: bytes) -> str:
    return b64encode(value).decode()


def _read_bytes(content: str) -> bytes:
    return b64decode(content, validate=True)


_Write = Callable[[Any], Any]
_Read = Callable[[Any], Any]

_SCALARS: Final[tuple[tuple[str, type, type, _Write, _Read], ...]] = (
    ("$float", float, str, _write_float, _read_float),
    ("$decimal", Decimal, str, _write_decimal, Decimal),
    ("$datetime", datetime, str, _write_datetime, _read_datetime),
    ("$date", date, str, date.isoformat, date.fromisoformat),
    ("$time", time, str, _write_time, time.fromisoformat),
    ("$timedelta", timedelta, list, _write_timedelta, lambda content: timedelta(*content)),
    ("$uuid", UUID, str, str, UUID),
    ("$bytes", bytes, str, _write_bytes, _read_bytes),
)


def _tagged(tag: str, write: _Write) -> Callable[[Any, int], dict[str, Any]]:
    def rewrite(value: Any, _depth: int) -> dict[str, Any]:
        return {tag: write(value)}

    return rewrite


def _untagged(kind: type, write: _Write, read: _Read) -> _Read:
    def restore(content: Any) -> Any:
        if type(content) is not kind:
            raise ValueError(f"{kind.__name__} expected")
        value = read(content)
        if write(value) != content:
            raise ValueError("another spelling than the canonical one")
        return value

    return restore


SCALAR_WRITERS: Final = {cls: _tagged(tag, write) for tag, cls, _, write, _ in _SCALARS}
SCALAR_READERS: Final = {
    tag: _untagged(kind, write, read) for tag, _, kind, write, read in _SCALARS
}

# The factories of a defaultdict that may be named in a text. A name is looked up here and nowhere
# else: nothing stored is ever imported or called.
FACTORIES: Final[dict[str, type]] = {
    cls.__name__: cls
    for cls in (bool, int, float, str, bytes, list, dict, set, tuple, frozenset, Decimal)
}
