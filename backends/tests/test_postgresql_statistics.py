"""The planner is told of a log that has just been filled, before autovacuum comes to it."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

import quantkeep
from quantkeep import Keep
from quantkeep.tape import Trade

MANY = 12_000


@pytest.fixture
def keep(postgresql_url: str) -> Iterator[Keep]:
    with quantkeep.open({"tape": postgresql_url}) as keep:
        yield keep


def trades(first: int, count: int) -> list[Trade]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Trade(
            mode="paper",
            uid=f"t{n}",
            timestamp=start + timedelta(seconds=n),
            symbol="BTC/USDT",
            side="LONG",
            action="OPEN",
            qty=1.0,
            fill_price=float(n),
        )
        for n in range(first, first + count)
    ]


@pytest.fixture
def known(postgresql: psycopg.Connection[Any], postgresql_schema: str) -> Callable[[], int]:
    """Rows of the tape that the planner knows of; -1: it never looked."""

    def asked() -> int:
        sql = "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass"
        found: Any = postgresql.execute(sql, [f"{postgresql_schema}.trades"]).fetchone()
        return int(found[0])

    return asked


def test_a_log_filled_in_bulk_is_known_at_once(keep: Keep, known: Callable[[], int]) -> None:
    keep.tape.append(trades(0, 5_000))
    assert known() == -1  # too few for it to matter
    keep.tape.append(trades(5_000, MANY - 5_000))
    assert known() == MANY
    keep.tape.append(trades(MANY, 10_000))
    assert known() == MANY  # it has not doubled
    keep.tape.append(trades(MANY + 10_000, 10_000))
    assert known() == MANY + 20_000


def test_what_is_known_is_what_indexes_are_on(
    keep: Keep, postgresql: psycopg.Connection[Any], postgresql_schema: str
) -> None:
    """All columns of a trade would take three times as long."""
    keep.tape.append(trades(0, MANY))
    sql = "SELECT attname FROM pg_stats WHERE schemaname = %s AND tablename = 'trades'"
    found = {name for (name,) in postgresql.execute(sql, [postgresql_schema])}
    assert {"account", "mode", "revision", "symbol", "timestamp", "uid"} <= found
    assert not {"qty", "raw_data", "digest"} & found


def test_a_commit_stands_when_there_are_no_statistics_to_be_had(
    keep: Keep,
    known: Callable[[], int],
    postgresql: psycopg.Connection[Any],
    postgresql_schema: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A vacuum that holds the table is not waited for."""
    with postgresql.transaction():
        postgresql.execute(f"LOCK TABLE {postgresql_schema}.trades IN SHARE UPDATE EXCLUSIVE MODE")
        with caplog.at_level(logging.WARNING):
            keep.tape.append(trades(0, MANY))
        assert known() == -1
    assert len(keep.tape.trades(limit=5)) == 5
    assert not caplog.records
