"""Instants from what other programs write, and back; exact, or refused (X-2)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final, Literal

from quantkeep.columns import EPOCH, instant, microseconds
from quantkeep.errors import InvalidValue

Unit = Literal["s", "ms", "us", "ns"]

_PER_SECOND: Final[dict[str, int]] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def from_epoch(number: float | Decimal | str, unit: Unit) -> datetime:
    """The aware UTC instant *number* units after 1970.

    A float is taken for the decimal it is printed as: epoch seconds such as ``1705600000.1`` are
    binary fractions that their writer never meant.

    Raises:
        InvalidValue: it is no number, finer than a microsecond (see :func:`floored`), or outside
            the years 1 to 9999.
    """
    micros = _decimal(number) * 1_000_000 / _PER_SECOND[unit]
    if micros != micros.to_integral_value():
        raise InvalidValue(
            f"is finer than a microsecond: {number!r} {unit}", value=number,
            expected="microseconds; floor it with quantkeep.instants.floored, and keep the whole "
            "number in an integer field",
        )  # fmt: skip
    try:
        return instant(int(micros))
    except OverflowError:
        raise InvalidValue(
            f"is no instant: {number!r} {unit}", value=number, expected="the years 1 to 9999"
        ) from None


def floored(number: int, unit: Unit) -> datetime:
    """As :func:`from_epoch`, the microsecond that *number* falls into."""
    return from_epoch(number * 1_000_000 // _PER_SECOND[unit], "us")


def from_text(text: str) -> datetime:
    """The instant of an ISO 8601 text with a zone, in UTC.

    Raises:
        InvalidValue: it is none, or has no zone.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        said = "is no ISO 8601 instant" if found is None else "has no zone"
        raise InvalidValue(
            f"{said}: {text!r}", value=text, expected="such as 2026-01-19T09:00:00+09:00"
        )
    return found.astimezone(UTC)


def to_milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970 of an aware instant, rounded down; for export alone."""
    return microseconds(moment) // 1_000


def days_before(moment: datetime, days: float) -> datetime:
    """The instant *days* of 24 hours before *moment*, at the earliest 1970."""
    if not days >= 0:  # NaN too
        raise InvalidValue("is no number of days", field="days", value=days, expected="0 or more")
    return moment - min(timedelta(days=min(days, 1e6)), moment - EPOCH)


def _decimal(number: float | Decimal | str) -> Decimal:
    try:
        found = Decimal(str(number))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise InvalidValue(f"is no number: {number!r}", value=number, expected="an epoch number")
    return found
