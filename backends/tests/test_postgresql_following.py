"""Who follows a log misses nothing, though commits end in another order than they began."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import quantkeep
from quantkeep import Keep, Record, Where, failpoints

WRITERS, ROUNDS = 4, 25


@quantkeep.record("ticks", log=True, stream=("symbol",))
class Tick(Record):
    symbol: str = "BTC"
    writer: int = 0
    number: int = 0


@pytest.fixture
def slow_commits() -> Iterator[None]:
    """Every third transaction stays open for a while, with everything in it written."""
    pauses = [f"postgresql.commit.before_commit=pause:0.01@{n}" for n in range(1, 400, 3)]
    failpoints.arm(",".join(pauses))
    yield
    failpoints.arm("")


def write(url: str, writer: int) -> None:
    with quantkeep.open({"tape": url}, records=[Tick]) as keep:
        for n in range(ROUNDS):
            entries = [Tick(writer=writer, number=2 * n), Tick(writer=writer, number=2 * n + 1)]
            keep.commit(keep.table(Tick).append(entries))
            keep.commit(keep.table(Tick).append([Tick(writer=writer, number=-n - 1)]))


def follow(keep: Keep, writers: list[threading.Thread]) -> Iterator[Tick]:
    """Each entry once, as soon as it is seen behind the last one."""
    last, ended = 0, False
    while not ended:
        ended = not any(writer.is_alive() for writer in writers)
        for tick in keep.table(Tick).list(
            Where("symbol", "==", "BTC"), Where("revision", ">", last)
        ):
            last = tick.revision or 0
            yield tick


@pytest.mark.usefixtures("slow_commits")
def test_late_commits_are_not_passed_over(postgresql_url: str) -> None:
    with quantkeep.open({"tape": postgresql_url}, records=[Tick]) as keep:
        writers = [threading.Thread(target=write, args=(postgresql_url, n)) for n in range(WRITERS)]
        for writer in writers:
            writer.start()
        seen = [*follow(keep, writers)]
        assert [tick.revision for tick in seen] == [*range(1, WRITERS * ROUNDS * 3 + 1)]
        assert seen == keep.table(Tick).list()
    for writer in range(WRITERS):
        assert [t.number for t in seen if t.writer == writer and t.number >= 0] == [
            *range(2 * ROUNDS)
        ]


def test_a_bare_sequence_would_be_passed_over(
    postgresql: psycopg.Connection[Any], postgresql_url: str, postgresql_schema: str
) -> None:
    """The same with bigserial loses an entry: so it is worth a test."""
    quantkeep.open({"tape": postgresql_url}).close()
    table = f'"{postgresql_schema}".naive'
    postgresql.execute(f"CREATE TABLE {table} (id bigserial PRIMARY KEY)")

    def behind(last: int) -> list[int]:
        rows = postgresql.execute(f"SELECT id FROM {table} WHERE id > %s ORDER BY id", (last,))
        return [id_ for (id_,) in rows.fetchall()]

    info = postgresql.info.dsn
    with psycopg.connect(info) as slow, psycopg.connect(info) as quick:
        for writer in (slow, quick):
            writer.execute(f"INSERT INTO {table} DEFAULT VALUES")
        quick.commit()
        assert behind(0) == [2]
        slow.commit()
        assert behind(2) == []
        assert behind(0) == [1, 2]
