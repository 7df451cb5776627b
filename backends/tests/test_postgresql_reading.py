"""Reading from PostgreSQL: one snapshot, in bounded memory, and no transaction left behind."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import quantkeep
from quantkeep import Keep, Record, Where
from quantkeep.errors import Closed, Corrupt
from quantkeep_backends.postgresql.reading import BATCH

MANY = BATCH * 2 + 500


@quantkeep.record("ticks", log=True, stream=("symbol",), indexes=[("price",)])
class Tick(Record):
    symbol: str = "BTC"
    number: int = 0
    price: float | None = None


@pytest.fixture
def keep(postgresql_url: str) -> Iterator[Keep]:
    with quantkeep.open({"tape": postgresql_url}, records=[Tick]) as keep:
        ticks = [Tick(number=n, price=n % 7 / 2 if n % 5 else None) for n in range(MANY)]
        keep.commit(keep.table(Tick).append(ticks))
        yield keep


def in_transaction(postgresql: psycopg.Connection[Any]) -> int:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    found = postgresql.execute(sql).fetchone()
    assert found is not None
    return int(found[0])


def test_a_scan_is_one_snapshot(keep: Keep, postgresql: psycopg.Connection[Any]) -> None:
    rows = keep.table(Tick).scan()
    first = next(rows)
    assert in_transaction(postgresql) == 1
    keep.commit(keep.table(Tick).append([Tick(number=-1)]))
    keep.commit(keep.table(Tick).delete("BTC", MANY - 10))
    assert [first.number, *(tick.number for tick in rows)] == [*range(MANY)]
    assert in_transaction(postgresql) == 0


@pytest.mark.parametrize("limit", [10, BATCH, BATCH + 1, MANY])
@pytest.mark.parametrize("take", ["first", "last"])
@pytest.mark.parametrize("order", [(), ("price",), ("-price", "number")])
def test_limits(keep: Keep, limit: int, take: Any, order: tuple[str, ...]) -> None:
    """Short answers and long ones, from either end, are the same rows."""
    everything = keep.table(Tick).list(order=order)
    expected = everything[:limit] if take == "first" else everything[-limit:]
    assert keep.table(Tick).list(order=order, limit=limit, take=take) == expected


def test_an_abandoned_scan_ends_its_transaction(
    keep: Keep, postgresql: psycopg.Connection[Any]
) -> None:
    rows = keep.table(Tick).scan()
    next(rows)
    del rows
    assert in_transaction(postgresql) == 0


def test_a_scan_beside_the_end_of_its_keep(postgresql_url: str, keep: Keep) -> None:
    with quantkeep.open({"tape": postgresql_url}, records=[Tick]) as other:
        rows = other.table(Tick).scan()
        next(rows)
    with pytest.raises(Closed):
        [*rows]


def test_threads_read_at_once(keep: Keep) -> None:
    found: list[int] = []

    def read() -> None:
        found.extend(sum(1 for _ in keep.table(Tick).scan()) for _ in range(3))

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [MANY] * 18


@pytest.mark.requirement("Z-6")
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE $ SET created_at = created_at + interval '1 microsecond' WHERE revision = 7",
        "UPDATE $ SET schema_version = 2 WHERE revision = 7",
        "UPDATE $ SET revision = revision - 8 WHERE revision IN (7, 8); "  # noqa: ISC004
        "UPDATE $ SET revision = 7 - revision WHERE revision < 1",
        "UPDATE $ SET number = 0 WHERE revision = 7",
        "UPDATE $ SET digest = '\\x00' WHERE revision = 7",
    ],
)
def test_edited_rows_are_corrupt(
    keep: Keep, postgresql: psycopg.Connection[Any], postgresql_schema: str, damage: str
) -> None:
    postgresql.execute(damage.replace("$", f'"{postgresql_schema}".ticks'))
    with pytest.raises(Corrupt):
        keep.table(Tick).list(Where("revision", "<", 10))


def test_missing_entries_are_told(
    keep: Keep, postgresql: psycopg.Connection[Any], postgresql_schema: str
) -> None:
    assert keep.backend.check() == []
    keep.commit(keep.table(Tick).delete("BTC", 5))
    assert keep.backend.check() == []
    postgresql.execute(f'DELETE FROM "{postgresql_schema}".ticks WHERE revision IN (3, {MANY})')
    (problem,) = keep.backend.check()
    assert "ticks ('BTC',): 2 entries are missing" in problem


def test_nan_keeps_its_bits(keep: Keep) -> None:
    import struct

    bits = b"\xff\xf8\x00\x00\x00\x00\x12\x34"
    (odd,) = struct.unpack(">d", bits)
    for count in (1, 2, 200):
        keep.commit(keep.table(Tick).append([Tick(symbol="N", price=odd)] * count))
    found = keep.table(Tick).list(Where("symbol", "==", "N"))
    assert {struct.pack(">d", tick.price) for tick in found} == {bits}
    assert len(keep.table(Tick).list(Where("price", "==", odd))) == 203
