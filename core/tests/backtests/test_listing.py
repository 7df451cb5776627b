"""Which results there are: newest first, by strategy, status, symbol and age."""

from datetime import UTC, date, datetime, timedelta

import pytest

from quantkeep.columns import instant
from quantkeep.errors import InvalidQuery, InvalidValue
from quantkeep.query import Query, Where

DAY = date(2024, 1, 1)


@pytest.fixture
def twelve(timed, clock, original):
    """Twelve results, an hour apart: strategies a and b in turn, every third one failed."""
    for number in range(12):
        symbols = ("BTC/USDT", f"S{number}") if number % 4 == 0 else (f"S{number}",)
        timed.save_result(
            original(
                task_id=_task(number), strategy="ab"[number % 2], signals=2, points=2,
                status="failed" if number % 3 == 2 else "completed", symbols=symbols,
            )
        )  # fmt: skip
        clock.advance(timedelta(hours=1))
    return timed


def _task(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012x}"


def _numbers(results) -> list[int]:
    return [result.task_id.int for result in results]


@pytest.mark.requirement("BT-19", "Z-38", "BT-3", api="BacktestStore.list_results")
def test_newest_first_in_pages(twelve):
    assert _numbers(twelve.list_results()) == [*range(11, -1, -1)]
    assert _numbers(twelve.list_results(limit=3, offset=2)) == [9, 8, 7]
    assert _numbers(twelve.list_results(limit=None, offset=10)) == [1, 0]
    assert _numbers(twelve.list_results(strategy="a", limit=2)) == [10, 8]
    assert _numbers(twelve.list_results(status="failed")) == [11, 8, 5, 2]
    assert _numbers(twelve.list_results(strategy="a", status="failed")) == [8, 2]
    for limit, offset in ((-1, 0), (1, -1), ("1", 0)):
        with pytest.raises((InvalidQuery, TypeError)):
            twelve.list_results(limit, offset)


@pytest.mark.requirement("BT-5", api="BacktestStore.list_results")
def test_results_are_found_by_a_symbol_they_contain(twelve):
    assert _numbers(twelve.list_results(symbol="BTC/USDT")) == [8, 4, 0]
    assert _numbers(twelve.list_results(symbol="S4")) == [4]
    assert twelve.list_results(symbol="S") == []
    assert twelve.list_results(symbol='S4"') == []
    table = twelve.table(type(twelve.fetch(_task(0))))
    assert table.count(Where("symbols", "contains", "BTC/USDT")) == 3


@pytest.mark.requirement("BT-19", "Z-38", api="BacktestStore.page_results")
def test_a_cursor_goes_on_where_it_stood(twelve, original, clock):
    page, cursor = twelve.page_results(5)
    assert _numbers(page) == [11, 10, 9, 8, 7]
    twelve.save_result(original(task_id=_task(12)))  # written in between
    page, cursor = twelve.page_results(5, after=cursor)
    assert _numbers(page) == [6, 5, 4, 3, 2]
    page, cursor = twelve.page_results(5, after=cursor)
    assert (_numbers(page), cursor) == ([1, 0], None)


@pytest.mark.requirement("BT-16", api="BacktestStore.latest_completed")
def test_the_latest_five_that_completed(twelve):
    assert _numbers(twelve.latest_completed()) == [10, 9, 7, 6, 4]
    first = twelve.latest_completed(1)[0]
    assert (first.strategy, first.symbols) == ("a", ["S10"])
    assert first.envelope.created_at.tzinfo is UTC


@pytest.mark.requirement("BT-17", api="BacktestStore.recent")
def test_one_strategys_last_seven_days(twelve, clock):
    newest = twelve.recent("b")[0]
    assert _numbers(twelve.recent("b")) == [11, 9, 7, 5, 3, 1]
    assert (newest.start_date, newest.status, newest.record_count) == (DAY, "failed", 2)
    clock.micros = newest.envelope.created + timedelta(days=7) // timedelta(microseconds=1)
    assert twelve.recent("b") == []  # made exactly seven days ago is not within them
    clock.micros -= 1
    assert _numbers(twelve.recent("b")) == [11]
    assert _numbers(twelve.recent("b", days=7 + 2 / 24)) == [11, 9]


@pytest.mark.requirement("BT-19", api="BacktestStore.list_results")
def test_since_an_instant_it_included(twelve):
    bound = twelve.fetch(_task(9)).envelope.created_at
    assert _numbers(twelve.list_results(since=bound)) == [11, 10, 9]
    assert _numbers(twelve.list_results(since=bound + timedelta(microseconds=1))) == [11, 10]
    with pytest.raises(InvalidValue):
        twelve.list_results(since=datetime(2024, 1, 1))  # noqa: DTZ001


@pytest.mark.requirement("Z-38", api="BacktestStore.list_results")
def test_results_of_one_instant_are_ordered_by_revision(timed, original):
    for number in (5, 1, 3):
        timed.save_result(original(task_id=_task(number)))
    assert _numbers(timed.list_results()) == [3, 1, 5]


@pytest.mark.requirement("BT-3", api="BacktestResult")
def test_what_is_listed_is_indexed(backtests, original):
    declared = backtests.table(type(backtests.save_result(original()).record)).collection
    assert {index.columns for index in declared.indexes} == {
        ("created_at",), ("strategy", "created_at"), ("status", "created_at"),
    }  # fmt: skip
    assert declared.key == ("task_id",)


@pytest.mark.requirement("BT-3", api="BacktestResult")
def test_sqlite_answers_listings_by_index(tmp_path, original):
    import sqlite3

    import quantkeep

    with quantkeep.open(f"sqlite:///{tmp_path}/a.db") as keep:
        keep.backtests.save_result(original())
        assert keep.backtests.list_results(status="completed")
    with sqlite3.connect(tmp_path / "a.db") as raw:
        plan = raw.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM backtest_results WHERE status = 'completed' "
            "ORDER BY created_at DESC LIMIT 5"
        ).fetchall()
        order = raw.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM backtest_results ORDER BY created_at DESC LIMIT 5"
        ).fetchall()
    for each in (plan, order):
        assert "USING INDEX" in str(each)
        assert "TEMP B-TREE" not in str(each)


def test_a_query_over_the_records_is_open_to_all(twelve):
    table = twelve.table(type(twelve.fetch(_task(0))))
    asked = Query(
        where=(Where("created_at", ">", instant(2**50)),), order=("strategy", "-revision")
    )
    assert len([*table.scan(asked)]) == 12
