"""The numbers of this store: exact, signed fractions, in columns wide enough for real ratios."""

from datetime import date
from decimal import Context, Decimal
from typing import Any, Final

from quantkeep.records import field

# MARA's DECIMAL(5,4) ends at 9.9999; recorded Sharpe ratios reach 20, and a ratio that was
# computed in floats has 19 digits after the point. 38 digits is what every columnar format takes.
RATIO: Final = (38, 24)
MONEY: Final = (15, 2)
ROOM: Final = Context(prec=100)  # not the caller's context, which may round to any precision
SHARE: Final = (0.0, 1.0)  # what a score or an accuracy lies between


def ratio(doc: str, *, between: tuple[float, float] | None = None) -> Any:
    """An optional field for a ratio; *doc* says its unit and sign (Z-24)."""
    return field(default=None, precision=RATIO, between=between, doc=doc)


def share(doc: str) -> Any:
    """An optional field for a number from 0 to 1."""
    return ratio(doc, between=SHARE)


def as_decimal(number: float | str | Decimal) -> Decimal:
    """The decimal that *number* prints as: ``0.09`` for the float 0.09, and not its 55 digits.

    For figures that were computed in floats; the fields of this store take Decimals alone.
    """
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def months_before(day: date, months: int) -> date:
    """The same day so many calendar *months* earlier, or the last day of that month."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    for last in (day.day, 30, 29, 28):
        try:
            return date(year, month + 1, last)
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")
