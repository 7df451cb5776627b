"""Values of every kind are exact by every way that writes them: one, a batch, many, a COPY."""

import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

import quantkeep
from quantkeep import ABSENT, PRESENT, Keep, Record, Where, field

NAN = struct.unpack(">d", b"\x7f\xf8\x00\x00\x00\x00\x56\x78")[0]
TINY = timedelta(microseconds=1)


@quantkeep.record("things", key=("name",))
class Thing(Record):
    name: str
    text: str | None = None
    integer: int | None = None
    real: float | None = None
    decimal: Decimal | None = None
    price: Decimal | None = field(default=None, precision=(20, 8))
    flag: bool | None = None
    instant: datetime | None = None
    day: date | None = None
    token: UUID | None = None
    blob: bytes | None = None
    document: Any = None


@quantkeep.record("events", log=True, stream=("name",))
class Event(Thing):
    pass


EXTREMES: list[dict[str, Any]] = [
    {},
    {"text": "", "integer": 0, "real": 0.0, "decimal": Decimal(0), "flag": False, "blob": b""},
    {"text": "\\x41 ' \" $1 %s \u2028 🙂", "integer": -(2**63), "real": -0.0, "flag": True},
    {"text": "null", "integer": 2**63 - 1, "real": NAN, "document": "null"},
    {"real": float("inf"), "decimal": Decimal("1E-18"), "price": Decimal("-999999999999.99999999")},
    {"real": float("-inf"), "decimal": Decimal("12345678901234567890.123456789012345678")},
    {"real": 5e-324, "instant": datetime(1, 1, 1, tzinfo=UTC), "day": date(1, 1, 1)},
    {"real": 0.1 + 0.2, "instant": datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)},
    {"day": date(9999, 12, 31), "instant": datetime(1970, 1, 1, tzinfo=UTC) - TINY},
    {"token": UUID(int=0xFF), "blob": bytes(range(256)), "document": {"é": [1, 1.0, "1", None]}},
    {"document": [{"deep": {"$": 2**53 + 1}}], "token": UUID(int=2**128 - 1)},
]


def things(kind: type[Thing], count: int) -> list[Any]:
    return [kind(name=f"{n:04}", **EXTREMES[n % len(EXTREMES)]) for n in range(count)]


def bits(thing: Thing) -> Any:
    said = thing.as_dict()
    said["real"] = None if said["real"] is None else struct.pack(">d", said["real"])
    return [(type(value), value) for value in said.values()]


def hold(keep: Keep, wanted: list[Thing]) -> None:
    found = keep.table(type(wanted[0])).list()
    assert [*map(bits, found)] == [*map(bits, wanted)]
    for thing in wanted[: len(EXTREMES)]:
        key = (thing.name,) if type(thing) is Thing else (thing.name, 1)
        assert bits(keep.table(type(thing)).get(*key)) == bits(thing)


@pytest.mark.requirement("Z-5")
@pytest.mark.parametrize("at_once", [1, 5, 40])
def test_puts(postgresql_url: str, at_once: int) -> None:
    wanted = things(Thing, 40)
    with quantkeep.open({"tape": postgresql_url}, records=[Thing]) as keep:
        table = keep.table(Thing)
        for rows in ([thing.replace(text="before") for thing in wanted], wanted):
            for n in range(0, 40, at_once):
                keep.commit(*map(table.put, rows[n : n + at_once]))
        hold(keep, wanted)
        assert keep.backend.heads(Thing.collection)[0].revision == 80


@pytest.mark.requirement("Z-5")
def test_puts_that_go_as_arrays(postgresql_url: str) -> None:
    """Which a NaN does not: its bits would be lost."""
    wanted = [thing for thing in things(Thing, 40) if thing.real == thing.real]
    with quantkeep.open({"tape": postgresql_url}, records=[Thing]) as keep:
        table = keep.table(Thing)
        keep.commit(*(table.put(thing.replace(text="before"), ABSENT) for thing in wanted))
        keep.commit(*(table.put(thing, PRESENT) for thing in wanted))
        hold(keep, wanted)
        assert table.get("0001").revision == len(wanted) + 2


@pytest.mark.requirement("Z-5")
@pytest.mark.parametrize("at_once", [1, 5, 100])
def test_appends(postgresql_url: str, at_once: int) -> None:
    wanted = things(Event, 100)
    with quantkeep.open({"tape": postgresql_url}, records=[Event]) as keep:
        for n in range(0, 100, at_once):
            keep.commit(keep.table(Event).append(wanted[n : n + at_once]))
        hold(keep, wanted)


@pytest.mark.parametrize(
    "column", ["text", "integer", "real", "decimal", "instant", "day", "token"]
)
def test_found_by_value(postgresql_url: str, column: str) -> None:
    wanted = things(Thing, len(EXTREMES))
    with quantkeep.open({"tape": postgresql_url}, records=[Thing]) as keep:
        keep.commit(*map(keep.table(Thing).put, wanted))
        for thing in wanted:
            value = getattr(thing, column)
            same = Where(column, "==", value)
            assert thing.name in [found.name for found in keep.table(Thing).list(same)]
            many = Where(column, "in", [value] * 100 + [getattr(t, column) for t in wanted])
            assert len(keep.table(Thing).list(many)) == len(wanted)


@quantkeep.record("levels", key=("level",))
class Level(Record):
    level: float
    value: int = 0


def test_keys_that_are_reals(postgresql_url: str) -> None:
    with quantkeep.open({"tape": postgresql_url}, records=[Level]) as keep:
        table = keep.table(Level)
        levels = [-1e308, 5e-324, -0.0, *map(float, range(1, 40))]
        for value in range(3):
            keep.commit(*(table.put(Level(level=level, value=value)) for level in levels))
        assert table.count() == len(levels)
        assert {level.value for level in table.scan()} == {2}
        assert table.get(0.0).value == 2
