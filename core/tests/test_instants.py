"""Instants of other programs: exact, or refused (X-2)."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from quantkeep import InvalidValue
from quantkeep.instants import (
    days_before,
    floored,
    from_epoch,
    from_text,
    to_milliseconds,
)

NOON = datetime(2026, 1, 19, 12, tzinfo=UTC)


@pytest.mark.requirement("X-2", api="quantkeep.instants")
@pytest.mark.parametrize(
    ("number", "unit", "expected"),
    [
        (1_768_824_000, "s", NOON),
        (1_768_824_000_000, "ms", NOON),
        (1_768_824_000_000_001, "us", NOON + timedelta(microseconds=1)),
        (1_768_824_000_000_001_000, "ns", NOON + timedelta(microseconds=1)),
        (1768824000.1, "s", NOON + timedelta(milliseconds=100)),  # not 99.999 ms
        (1515568500000.0, "ms", datetime(2018, 1, 10, 7, 15, tzinfo=UTC)),
        ("1672282722429", "ms", datetime(2022, 12, 29, 2, 58, 42, 429_000, tzinfo=UTC)),
        (Decimal("-0.000001"), "s", datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)),
    ],
)
def test_epoch_numbers(number: Any, unit: Any, expected: datetime) -> None:
    assert from_epoch(number, unit) == expected


@pytest.mark.parametrize(
    ("number", "unit", "said"),
    [
        (1, "ns", "finer than a microsecond"),
        (0.0000001, "s", "finer than a microsecond"),
        (float("nan"), "s", "no number"),
        ("soon", "s", "no number"),
        (10**15, "s", "years 1 to 9999"),
        (Decimal("Infinity"), "ms", "no number"),
    ],
)
def test_what_is_no_instant_is_refused(number: Any, unit: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        from_epoch(number, unit)


def test_finer_instants_are_floored_when_asked_to() -> None:
    assert floored(1_768_824_000_000_001_999, "ns") == NOON + timedelta(microseconds=1)
    assert floored(-1, "ns") == datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)


def test_texts_need_a_zone() -> None:
    assert from_text("2026-01-19T21:00:00+09:00") == NOON
    assert from_text("2026-01-19T12:00:00Z").tzinfo is UTC
    with pytest.raises(InvalidValue, match="has no zone"):
        from_text("2026-01-19T12:00:00")
    with pytest.raises(InvalidValue, match="no ISO 8601"):
        from_text("19.01.2026")


def test_milliseconds_for_export() -> None:
    seoul = timezone(timedelta(hours=9))
    assert to_milliseconds(NOON.astimezone(seoul) + timedelta(microseconds=1_999)) % 1_000 == 1
    assert days_before(NOON, 1.5) == NOON - timedelta(hours=36)
    assert days_before(NOON, 1e9) == datetime(1970, 1, 1, tzinfo=UTC)
    for days in (-1, float("nan")):
        with pytest.raises(InvalidValue, match="days: is no number of days"):
            days_before(NOON, days)
