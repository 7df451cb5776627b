"""How instants are spelled in a JSON result: read to the microsecond, written back as they were.

Text is ISO 8601. Without a zone it means UTC (Z-52). Numbers are epoch seconds, milliseconds,
microseconds or nanoseconds, told apart by their size. Datetimes may come from Python callers.

A form is one word: ``T|second|Z`` is ``2024-01-01T10:00:00Z``; ``epoch|ms|int``; ``datetime``.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.errors import InvalidValue
from quantkeep.instants import from_epoch

TYPES: Final = frozenset({str, int, float, datetime})

_MICROS: Final = pa.timestamp("us")
_UNITS: Final = {"s": 10**6, "ms": 10**3, "us": 1}  # microseconds each
_CUTS: Final = {"day": 10, "hour": 13, "minute": 16, "second": 19}
_ISO: Final = "T|second|"  # what most programs write
_EXPECTED: Final = "an instant: ISO 8601 text to the microsecond, or an epoch number"


class NoMoment(Exception):
    """The value in that place is no instant."""

    def __init__(self, place: int, expected: str = _EXPECTED) -> None:
        super().__init__(place)
        self.place = place
        self.expected = expected


def spelled(values: Sequence[Any], kinds: set[type]) -> tuple[Any, str, dict[int, Any]]:
    """Zone-less UTC instants of *values*, the form of most of them, and the others by place.

    Raises:
        NoMoment: a value is none.
    """
    first = next((value for value in values if value is not None), None)
    if first is None:
        return pa.array(values, _MICROS), "", {}
    array = _read(values, kinds)
    forms = _candidates(first, values)
    best: tuple[str, dict[int, Any]] | None = None
    for form in forms:
        exceptions = _exceptions(values, array, form)
        if best is None or len(exceptions) < len(best[1]):
            best = form, exceptions
        if not exceptions:
            break
    assert best is not None
    return array, "" if best[0] == _ISO else best[0], best[1]


def written(array: Any, form: str) -> list[Any]:
    """The instants of *array*, spelled in *form*."""
    style, _, rest = (form or _ISO).partition("|")
    if style == "datetime":
        aware: list[Any] = array.cast(pa.timestamp("us", "UTC")).to_pylist()
        return [moment and moment.replace(tzinfo=UTC) for moment in aware]
    if style == "naive":
        naive: list[Any] = array.to_pylist()
        return naive
    if style == "epoch":
        return _numbers(array, *rest.split("|"))
    return _texts(array, style, *rest.split("|"))


def _exceptions(values: Sequence[Any], array: Any, form: str) -> dict[int, Any]:
    again = written(array, form)
    if again == values and {*map(type, again)} == {*map(type, values)}:
        return {}
    return {
        place: value
        for place, (value, given) in enumerate(zip(values, again, strict=True))
        if value is not None and (type(value) is not type(given) or value != given)
    }


# -- reading ---------------------------------------------------------------------------------------


def _read(values: Sequence[Any], kinds: set[type]) -> Any:
    if kinds == {str}:
        try:
            return _read_texts(pa.array(values, pa.string()))
        except (pa.ArrowInvalid, UnicodeEncodeError):
            pass  # mixed zones, or one that is no instant: look at each
    return pa.array([_micros(place, value) for place, value in enumerate(values)], _MICROS)


def _read_texts(texts: Any) -> Any:
    sample = next(text for text in texts.to_pylist() if text is not None)
    if _zone_of(sample):
        return texts.cast(pa.timestamp("us", "UTC")).cast(_MICROS)
    return texts.cast(_MICROS)


def _micros(place: int, value: Any) -> Any:
    if value is None:
        return None
    try:
        return _instant(value)
    except (ValueError, OverflowError):
        raise NoMoment(place) from None


def _instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        moment = _from_text(value)
    else:
        moment = from_epoch(*_epoch(value))
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment


def _from_text(text: str) -> datetime:
    """Refuses what is finer than a microsecond, which Python would cut."""
    if len(text.partition(".")[2].rstrip("Z").split("+")[0].split("-")[0]) > 6:
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _epoch(number: float) -> tuple[Any, Any]:
    """The number and its unit; nanoseconds must be whole microseconds."""
    if abs(number) >= 10**17:
        if type(number) is not int or number % 1_000:
            raise InvalidValue("is finer than a microsecond", value=number)
        return number // 1_000, "us"
    return number, _unit(number)


def _unit(number: float) -> str:
    size = abs(number)
    return "s" if size < 10**11 else "ms" if size < 10**14 else "us"


# -- forms -----------------------------------------------------------------------------------------


def _candidates(first: Any, values: Sequence[Any]) -> list[str]:
    if isinstance(first, datetime):
        return ["naive"] if first.tzinfo is None else ["datetime"]
    if isinstance(first, str):
        return _text_forms(first, values)
    unit = "ns" if abs(first) >= 10**17 else _unit(first)
    return [f"epoch|{unit}|{type(first).__name__}"]


def _text_forms(text: str, values: Sequence[Any]) -> list[str]:
    zone = _zone_of(text)
    body = text.removesuffix(zone)
    separator = body[10:11] or "T"
    digits = len(body.partition(".")[2])
    if digits:
        return [f"{separator}|{digits}|{zone}", f"{separator}|auto|{zone}"]
    cut = next((name for name, length in _CUTS.items() if length == len(body)), "second")
    return [f"{separator}|{cut}|{zone}", f"{separator}|auto|{zone}"]


def _zone_of(text: str) -> str:
    if text.endswith("Z"):
        return "Z"
    sign = max(text.rfind("+"), text.rfind("-"))
    return text[sign:] if sign > 10 else ""


def _offset_of(zone: str) -> timedelta:
    if zone in ("", "Z"):
        return timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]))
    return -offset if zone[0] == "-" else offset


# -- writing ---------------------------------------------------------------------------------------


def _texts(array: Any, separator: str, precision: str, zone: str) -> list[Any]:
    local = _shifted(array, _offset_of(zone))
    plain = local.cast(pa.string())  # 2024-01-01 10:00:00.000000
    if precision == "auto":
        plain = _without_zeros(plain)
    elif precision.isdigit():
        plain = pc.utf8_slice_codeunits(plain, 0, 20 + int(precision))
    else:
        plain = pc.utf8_slice_codeunits(plain, 0, _CUTS[precision])
    if separator != " " and precision != "day":
        plain = pc.utf8_replace_slice(plain, 10, 11, separator)
    if zone:
        plain = pc.binary_join_element_wise(plain, zone, "")
    texts: list[Any] = plain.to_pylist()
    return texts


def _without_zeros(plain: Any) -> Any:
    """As Python's isoformat: six digits, or none at all."""
    whole = pc.ends_with(plain, ".000000")
    return pc.if_else(whole, pc.utf8_slice_codeunits(plain, 0, 19), plain)


def _shifted(array: Any, offset: timedelta) -> Any:
    return pc.add(array, pa.scalar(offset, pa.duration("us"))) if offset else array


def _numbers(array: Any, unit: str, kind: str) -> list[Any]:
    micros: list[Any] = array.cast(pa.int64()).to_pylist()
    if unit == "ns":
        return [m if m is None else m * 1_000 for m in micros]
    each = _UNITS[unit]
    if kind == "int":
        return [m if m is None else _whole(m, each) for m in micros]
    return [m if m is None else float(Decimal(m) / each) for m in micros]


def _whole(micros: int, each: int) -> int | None:
    number, rest = divmod(micros, each)
    return None if rest else number
