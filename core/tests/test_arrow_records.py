"""Records taken as columns are the rows that they are one by one, or are left to be looked at."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantkeep import InvalidValue, Record, arrow, field, record
from quantkeep.errors import QuantkeepError
from quantkeep.hosts import Hosts
from quantkeep.table import Table
from quantkeep_backends.memory import MemoryBackend

NOON = datetime(2026, 1, 19, 12, 0, 0, 123456, tzinfo=UTC)
HOSTS = Hosts(())


@record("readings", log=True, stream=("mode",), identity=("uid",), indexes=[("text",)])
class Reading(Record):
    """One of every kind, and of every rule."""

    mode: Literal["paper", "live"] = "paper"
    uid: str | None = None
    text: str | None = None
    count: int | None = None
    few: int | None = field(default=None, between=(0, 9))
    real: float | None = None
    share: float | None = field(default=None, finite=True, between=(0, 1))
    price: Decimal | None = field(default=None, precision=(20, 8))
    open: bool | None = None
    at: datetime | None = None
    day: date | None = None
    id: UUID | None = None
    blob: bytes | None = None
    details: Any = None


READINGS = Reading.collection
PLAIN = {
    "mode": st.sampled_from(["paper", "live"]),
    "uid": st.none() | st.text(max_size=3),
    "text": st.none() | st.text(max_size=5),
    "count": st.none() | st.integers(-(2**63), 2**63 - 1),
    "few": st.none() | st.integers(0, 9),
    "real": st.none() | st.floats() | st.integers(-(2**53), 2**53),
    "share": st.none() | st.floats(0, 1) | st.sampled_from([0, 1]),
    "price": st.none() | st.decimals(-1000, 1000, places=8),
    "open": st.none() | st.booleans(),
    "at": st.none() | st.datetimes(timezones=st.sampled_from([UTC])),
    "day": st.none() | st.dates(),
    "id": st.none() | st.uuids(),
    "blob": st.none() | st.binary(max_size=4),
    "details": st.none() | st.dictionaries(st.text(max_size=2), st.decimals(0, 9), max_size=2),
}
ODD = {
    "mode": "none of these",
    "uid": "\0",
    "text": "\ud800",
    "count": 2**63,
    "few": 10,
    "real": 2**53 + 1,
    "share": math.nan,
    "price": Decimal("0.000000001"),
    "open": 1,
    "at": datetime(2026, 1, 19, 12, 0),  # noqa: DTZ001  # that is what is odd
    "day": NOON,
    "id": str(UUID(int=7)),
    "blob": bytearray(b"x"),
    "details": {"lock": object()},
}


def _sealed(records: list[Reading]) -> Any:
    try:
        return [READINGS.seal(each, HOSTS) for each in records]
    except QuantkeepError as error:
        return error


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[*HealthCheck])
@given(st.lists(st.fixed_dictionaries(PLAIN), min_size=1, max_size=8))
def test_columns_are_the_rows_of_the_records(values: list[dict[str, Any]]) -> None:
    """What is plain is taken; where something of it is refused, so it is one by one."""
    records = [Reading(**each) for each in values]
    expected, found = _sealed(records), arrow.of_records(READINGS, records, HOSTS)
    if isinstance(expected, QuantkeepError):
        assert found is None
    else:
        assert found is not None
        assert [*found] == expected
        assert len(found) == len(records)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_refused_is_left_to_be_named(name: str, place: int) -> None:
    records = [Reading(uid=f"{n}") for n in range(3)]
    records[place] = Reading(**{"uid": "odd", name: ODD[name]})
    assert isinstance(_sealed(records), QuantkeepError)
    assert arrow.of_records(READINGS, records, HOSTS) is None


@pytest.mark.parametrize(
    "odd",
    [
        Reading(at=NOON.astimezone(timezone(timedelta(hours=9)))),
        Reading(real=2**60),
    ],
    ids=["another zone", "a large integer that is a float"],
)
def test_what_is_sound_and_not_plain_is_left_too(odd: Reading) -> None:
    assert not isinstance(_sealed([odd]), QuantkeepError)
    assert arrow.of_records(READINGS, [Reading(), odd], HOSTS) is None


def test_records_of_two_classes_are_left() -> None:
    @record("readings", log=True, stream=("mode",), identity=("uid",), indexes=[("text",)])
    class Other(Reading):
        """The same, in another program."""

    assert arrow.of_records(READINGS, [Reading(), Other()], HOSTS) is None


class Columnar(MemoryBackend):
    """Takes three rows and more as columns."""

    columns_from = 3


@pytest.fixture
def readings() -> Table[Reading]:
    backend = Columnar()
    backend.ensure([READINGS], "")
    return Table(READINGS, backend, HOSTS)


@pytest.mark.parametrize(("count", "columns"), [(2, False), (3, True), (4, True)])
def test_a_backend_says_from_how_many_on(
    readings: Table[Reading], count: int, columns: bool
) -> None:
    write = readings.append(Reading(uid=f"{n}") for n in range(count))
    assert isinstance(write.rows, arrow.ArrowRows) == columns
    assert [row.values[1] for row in write.rows] == [f"{n}" for n in range(count)]


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (lambda: Reading(few=10), r"readings\[3\]: Reading\.few: cannot hold 10"),
        (lambda: Reading(text="\0"), r"readings\[3\]: Reading\.text"),
    ],
)
@pytest.mark.requirement("X-3")
def test_the_record_that_is_refused_is_named(
    readings: Table[Reading], odd: Callable[[], Reading], said: str
) -> None:
    with pytest.raises(InvalidValue, match=said):
        readings.append([*[Reading() for _ in range(3)], odd()])
