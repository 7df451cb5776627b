"""What a column takes, and the canonical scalar it makes of it."""

import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from quantkeep.columns import Column, Kind, TooLarge, check_key, instant, microseconds
from quantkeep.errors import InvalidRecord, InvalidValue


def column(kind: Kind, **said: object) -> Column:
    return Column(name="x", kind=kind, **said)  # type: ignore[arg-type]  # by keyword, as declared


@pytest.mark.requirement("X-1", "X-2", "Z-5", api="quantkeep.columns.Column")
@pytest.mark.parametrize(
    ("kind", "value", "scalar"),
    [
        (Kind.TEXT, "BTC/USDT", "BTC/USDT"),
        (Kind.INTEGER, 2**63 - 1, 2**63 - 1),
        (Kind.REAL, 0.1, 0.1),
        (Kind.REAL, 3, 3.0),
        (Kind.DECIMAL, Decimal("1.2300"), "1.23"),
        (Kind.DECIMAL, Decimal("-0.00"), "0"),
        (Kind.DECIMAL, Decimal("1E+3"), "1000"),
        (Kind.BOOLEAN, True, True),
        (Kind.TIMESTAMP, datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC), 1_000_005),
        (
            Kind.TIMESTAMP,
            datetime(1970, 1, 1, 9, tzinfo=timezone(timedelta(hours=9))),
            0,
        ),
        (Kind.DATE, date(2025, 1, 17), "2025-01-17"),
        (Kind.UUID, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Kind.BINARY, b"\x00\xff", b"\x00\xff"),
    ],
)
def test_a_value_becomes_its_canonical_scalar_and_comes_back(
    kind: Kind, value: object, scalar: object
) -> None:
    made = column(kind).canonical(value)
    assert made == scalar
    assert type(made) is type(scalar)
    assert column(kind).python(made) == value


@pytest.mark.requirement("X-1", "X-2", "X-5", api="quantkeep.InvalidValue")
@pytest.mark.parametrize(
    ("made", "value", "said"),
    [
        (column(Kind.TEXT), 5, "text"),
        (column(Kind.TEXT), "a\0b", "NUL"),
        (column(Kind.TEXT), "\ud800", "surrogate"),
        (column(Kind.TEXT), None, "is required"),
        (column(Kind.TEXT, choices=("paper", "live")), "demo", "'paper', 'live'"),
        (column(Kind.INTEGER), 2**63, "64 bits"),
        (column(Kind.INTEGER), True, "integer"),
        (column(Kind.REAL), 2**53 + 1, "no equal"),
        (column(Kind.REAL), 10**400, "no equal"),
        (column(Kind.REAL), "1.5", "float"),
        (column(Kind.REAL, finite=True), float("nan"), "finite"),
        (column(Kind.REAL, between=(0.0, 1.0)), 1.5, "from 0.0 to 1.0"),
        (column(Kind.DECIMAL), Decimal("NaN"), "finite"),
        (
            column(Kind.DECIMAL, precision=5, scale=4),
            Decimal(10),
            "at most 1 digits before and 4 after",
        ),
        (
            column(Kind.DECIMAL, precision=5, scale=4),
            Decimal("0.00001"),
            "at most 1 digits before and 4 after",
        ),
        (column(Kind.TIMESTAMP), datetime(2025, 1, 1), "tzinfo=UTC"),  # noqa: DTZ001  # the point
        (column(Kind.DATE), datetime(2025, 1, 1, tzinfo=UTC), "a date"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(
    made: Column, value: object, said: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        made.canonical(value, record="Trade")
    assert said in str(caught.value)
    assert str(caught.value).startswith("Trade.x: ")
    assert caught.value.applied == "no"


@pytest.mark.requirement("X-2")
def test_microseconds_are_exact_at_the_ends_of_the_calendar() -> None:
    for moment in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        assert instant(microseconds(moment)) == moment


def test_nan_keeps_its_payload() -> None:
    odd = struct.unpack(">d", bytes.fromhex("7ff8000000000abc"))[0]
    made = column(Kind.REAL).canonical(odd)
    assert struct.pack(">d", made) == bytes.fromhex("7ff8000000000abc")


def test_a_key_that_no_engine_can_index_is_refused() -> None:
    check_key("k" * 512, "Trade", "uid")
    with pytest.raises(TooLarge, match="at most 512 bytes"):
        check_key("k" * 513, "Trade", "uid")
    with pytest.raises(TooLarge):
        check_key("☕" * 171, "Trade", "uid")


def test_a_column_needs_a_plain_name() -> None:
    with pytest.raises(InvalidRecord):
        Column(name="drop table", kind=Kind.TEXT)
