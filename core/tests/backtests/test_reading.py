"""Parts of results: the rows and columns that were asked for, and nothing else read."""

import gc
import random
import threading
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from quantkeep.backtests import CURVE, SIGNALS, SUMMARY, V1, Encoding
from quantkeep.blobs import Blobs
from quantkeep.errors import InvalidQuery
from quantkeep.query import Query, Where

TASK = "550e8400-e29b-41d4-a716-446655440000"
_KEYS = {SIGNALS: "signals", CURVE: "performance_curve"}
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.requirement("BT-26", api="BacktestStore.read")
@pytest.mark.parametrize("table", [SIGNALS, CURVE])
def test_a_part_is_what_filtering_the_whole_gives(backtests, original, as_tables, table):
    result = original(symbols=("A", "B", "C"), signals=40, points=160)
    whole = as_tables(result)[table]
    backtests.save_result(result, encoding=Encoding(row_group_rows=30))
    since, until = START + timedelta(hours=20), START + timedelta(hours=100)
    names = [n for n in whole.schema.names if n not in ("symbol", "timestamp")][::-1]
    found = backtests.read(
        TASK, table, columns=names, symbols=["A", "C"], since=since, until=until
    ).read_all()
    time = whole["timestamp"].cast(pa.timestamp("us", "UTC"))
    mask = pc.and_(
        pc.is_in(whole["symbol"], pa.array(["A", "C"])),
        pc.and_(pc.greater_equal(time, since), pc.less(time, until)),
    )
    assert found.equals(whole.filter(mask).select(names))
    assert found.num_rows > 0
    rows = {len(symbol[key]) for symbol in result["symbols"] for key in [_KEYS[table]]}
    assert {backtests.read(TASK, table, symbols=["B"]).read_all().num_rows} == rows
    assert backtests.read(TASK, table, symbols=[]).read_all().num_rows == 0
    assert backtests.read(TASK, table, symbols=["Z"]).read_all().num_rows == 0


def test_a_reader_that_is_let_go_leaves_no_thread_behind(backtests, original):
    backtests.save_result(original(signals=40), encoding=Encoding(row_group_rows=10))
    before = threading.active_count()
    reader = backtests.read(TASK)
    first = reader.read_next_batch()
    assert first.num_rows == 10
    assert threading.active_count() > before, "nothing is read ahead"
    reader.close()
    del reader
    gc.collect()
    assert threading.active_count() == before
    assert backtests.read(TASK).read_all().num_rows == 80


@pytest.mark.requirement("BT-26", api="BacktestStore.read")
def test_only_the_row_groups_and_columns_that_are_needed_are_read(keep, monkeypatch):
    backtests, piece = keep.backtests, 16 * 1024
    small = Blobs(keep.backend, chunk_bytes=piece)
    monkeypatch.setattr(type(backtests), "_blobs", property(lambda self: small))
    signals = _noise([f"S{n}" for n in range(10)], 4_000)
    dates = {"start_date": "2024-01-01", "end_date": "2024-12-31"}
    backtests.save_result(
        {"task_id": TASK, "strategy": "s", **dates, SIGNALS: signals},
        encoding=Encoding(row_group_rows=4_000),
    )
    engine = keep.backend.engine
    open_blob, fetched = engine.open_blob, []
    monkeypatch.setattr(engine, "open_blob", lambda d: fetched.append(d) or open_blob(d))

    def cost(**part) -> int:
        """Bytes fetched, beside the 64 kB with the footer that every reader begins with."""
        fetched.clear()
        rows = backtests.read(TASK, SIGNALS, **part).read_all().num_rows
        return rows and (len(set(fetched)) - 64 * 1024 // piece) * piece

    every = cost()
    assert every > 1_000_000
    assert cost(symbols=["S3"]) < every * 0.15
    assert cost(columns=["entry_price"]) < every * 0.4
    assert cost(columns=["entry_price"], symbols=["S3"]) < every * 0.05
    assert cost(until=START + timedelta(hours=400)) < every * 0.15
    assert cost(since=START + timedelta(hours=40_000)) == 0
    assert len(set(fetched)) <= 64 * 1024 // piece + 1


@pytest.mark.requirement("BT-26", api="BacktestStore.read")
def test_of_a_large_table_as_it_is_kept_a_part_costs_a_part(keep, monkeypatch):
    signals = _noise([f"S{n}" for n in range(4)], 60_000)
    dates = {"start_date": "2024-01-01", "end_date": "2064-12-31"}
    keep.backtests.save_result({"task_id": TASK, "strategy": "s", **dates, SIGNALS: signals})
    size = keep.backtests.fetch(TASK).file_size
    engine, fetched = keep.backend.engine, []
    open_blob = engine.open_blob

    def counted(digest: str) -> bytes | None:
        data = open_blob(digest)
        fetched.append(len(data or b""))
        return data

    monkeypatch.setattr(engine, "open_blob", counted)

    def cost(**part) -> float:
        fetched.clear()
        assert keep.backtests.read(TASK, SIGNALS, **part).read_all().num_rows
        return sum(fetched) / size

    assert size > 8_000_000
    assert 1 <= cost() < 1.2
    assert cost(columns=["entry_price"]) < 0.5
    assert cost(columns=["symbol", "timestamp"]) < 0.5
    assert cost(symbols=["S3"]) < 0.5
    assert cost(columns=["entry_price"], symbols=["S3"]) < 0.25
    assert cost(until=START + timedelta(hours=400)) < 0.5


def _noise(symbols: list[str], rows: int) -> pa.Table:
    """Signals that do not compress, one symbol after the other in time."""
    noise = random.Random(1)
    count = rows * len(symbols)
    columns = {
        "symbol": [symbol for symbol in symbols for _ in range(rows)],
        "timestamp": pa.array(
            [START.replace(tzinfo=None) + timedelta(hours=n) for n in range(count)]
        ),
        **{
            name: [noise.random() for _ in range(count)]
            for name in ("entry_price", "exit_price", "quantity", "return_pct", "fee_amount")
        },
    }
    whole = {
        field.name: columns.get(field.name, pa.nulls(count, field.type))
        for field in V1[SIGNALS].arrow
    }
    return pa.table(whole).cast(V1[SIGNALS].arrow)


@pytest.mark.requirement("BT-26", "Z-55", api="BacktestStore.read")
@pytest.mark.parametrize("column", ["drawdown", "cumulative_pnl", "cumulative_pnl_pct"])
def test_a_column_that_is_not_stored_is_read_alone_and_in_part(
    backtests, original, as_tables, column
):
    result = original(symbols=("A", "B"), points=500)
    whole = as_tables(result)[CURVE]
    saved = backtests.save_result(result, encoding=Encoding(row_group_rows=64))
    assert len(saved.record.files[CURVE]["rules"]) == 3
    found = backtests.read(TASK, CURVE, columns=[column]).read_all()
    assert found.equals(whole.select([column]))
    since = START + timedelta(hours=301)
    found = backtests.read(TASK, CURVE, columns=[column], symbols=["B"], since=since).read_all()
    assert found[column].to_pylist() == whole[column].to_pylist()[500 + 301 :]


def test_what_a_table_does_not_have_cannot_be_asked_for(backtests, original):
    backtests.save_result(original())
    with pytest.raises(InvalidQuery, match="no table 'trades'"):
        backtests.read(TASK, "trades")
    with pytest.raises(InvalidQuery, match="no column 'equity'"):
        backtests.read(TASK, SIGNALS, columns=["equity"])
    with pytest.raises(InvalidQuery, match="no instants"):
        backtests.read(TASK, SUMMARY, since=START)
    with pytest.raises(InvalidQuery):
        backtests.scan(SIGNALS, Query(where=(Where("nothing", "==", 1),))).read_all()


@pytest.mark.requirement("BT-26", "Z-38", api="BacktestStore.scan")
def test_a_scan_goes_over_many_results(backtests, original):
    tasks = [f"00000000-0000-0000-0000-00000000000{n}" for n in range(4)]
    for number, task in enumerate(tasks):
        strategy = "odd" if number % 2 else "even"
        symbols = ("A", "B") if number < 3 else ("C",)
        backtests.save_result(
            original(task_id=task, strategy=strategy, symbols=symbols, seed=number, signals=5)
        )
    backtests.save_running(
        strategy="odd", symbols=["A"], start_date=START.date(), end_date=START.date()
    )
    stream = backtests.scan(SIGNALS)
    assert stream.schema.names[0] == "task_id"
    everything = stream.read_all()
    assert everything.num_rows == 35
    assert [*dict.fromkeys(everything["task_id"].to_pylist())] == tasks[::-1]  # newest first
    odd = Query(where=(Where("strategy", "==", "odd"),), order=("created_at",))
    found = backtests.scan(SIGNALS, odd, columns=["return_pct", "symbol"], symbols=["A"]).read_all()
    assert found.schema.names == ["task_id", "return_pct", "symbol"]
    assert set(found["task_id"].to_pylist()) == {tasks[1]}
    assert set(found["symbol"].to_pylist()) == {"A"}
    assert backtests.scan(SUMMARY).read_all().num_rows == 7
    assert backtests.scan(CURVE, Query(limit=0)).read_all().num_rows == 0


@pytest.mark.requirement("Z-9", "Z-54", api="BacktestStore.scan")
def test_who_is_reading_reads_on_when_the_result_is_replaced_or_deleted(
    backtests, original, as_tables
):
    result = original(symbols=("A", "B"))
    backtests.save_result(result, encoding=Encoding(row_group_rows=25))
    reader = backtests.read(TASK)
    first = reader.read_next_batch()
    backtests.save_result(original(seed=9))
    backtests.delete(TASK)
    backtests.gc()  # the grace period is longer than any read
    rest = reader.read_all()
    assert len(first) + rest.num_rows == 50
    assert rest.equals(as_tables(result)[SIGNALS].slice(25))
