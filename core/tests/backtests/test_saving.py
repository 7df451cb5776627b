"""Results in: whole, validated before anything is visible, the old one there until the new is."""

import uuid
from datetime import UTC, date, datetime

import pytest

import quantkeep
from quantkeep.backtests import BacktestResult
from quantkeep.batch import ABSENT
from quantkeep.errors import (
    AlreadyExists,
    Conflict,
    InvalidValue,
    NotFound,
    OperationConflict,
    StoreFull,
)

TASK = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
RUNNING = {
    "strategy": "vzb",
    "symbols": ["BTC/USDT"],
    "start_date": date(2024, 1, 1),
    "end_date": date(2024, 6, 30),
}


@pytest.mark.requirement("BT-1", "BT-13", api="BacktestStore.save_result")
def test_the_record_says_what_the_design_wants_of_it(backtests, original):
    result = original(metadata={"author": "kim"})
    saved = backtests.save_result(result)
    record = backtests.fetch(saved.task_id)
    assert record == saved.record
    assert record.task_id == TASK
    assert record.strategy == "volume_zone_breakout"
    assert record.symbols == ["BTC/USDT", "ETH/USDT"]
    assert (record.start_date, record.end_date) == (date(2024, 1, 1), date(2024, 6, 30))
    assert (record.timeframe, record.status) == ("1h", "completed")
    assert record.parquet_path == f"backtests/{TASK}/"
    assert record.record_count == 50
    assert record.file_size == sum(f["file_size_bytes"] for f in record.files.values())
    assert record.metadata == {"author": "kim", "compression": "zstd", "schema_version": "1.0"}
    assert record.envelope.created_at.tzinfo is UTC


@pytest.mark.requirement("BT-1", api="BacktestResult")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", ""),
        ("strategy", "x" * 101),
        ("timeframe", "12345678901"),
        ("start_date", None),
        ("end_date", "soon"),
        ("task_id", "no-uuid"),
        ("strategy", 5),
        ("strategy", None),
        ("metadata", {"when": datetime(2024, 1, 1)}),  # noqa: DTZ001
        ("note", "a\0b"),
        ("note", {1: 2}),
    ],
)
def test_a_field_that_does_not_fit_is_named_and_nothing_is_written(
    backtests, keep, original, field, value
):
    with pytest.raises(InvalidValue) as caught:
        backtests.save_result({**original(), field: value})
    assert field in str(caught.value)
    assert backtests.list_results() == []
    assert [*keep.backend.list_blobs()] == []


@pytest.mark.requirement("BT-2", "X-5", api="BacktestResult.status")
def test_statuses_and_the_order_of_dates_are_checked(backtests, original, tmp_path):
    for status in ("completed", "failed", "cancelled"):
        backtests.save_result(original(status=status))
    with pytest.raises(InvalidValue, match=r"status: cannot hold 'paused'"):
        backtests.save_result(original(status="paused"))
    with pytest.raises(InvalidValue, match=r"start_date.* is 2024-07-01, after the end 2024-06-30"):
        backtests.save_result(original(start_date="2024-07-01"))
    backtests.save_result(original(start_date="2024-06-30"))  # a day is a range


@pytest.mark.requirement("Z-53", "X-5", api="open(choices=...)")
def test_further_statuses_are_said_at_opening(url, original):
    with quantkeep.open(url, choices={"backtest_results.status": ["queued"]}) as keep:
        keep.backtests.save_running(**RUNNING, task_id=TASK, status="queued")
        assert keep.backtests.fetch(TASK).status == "queued"


@pytest.mark.requirement("BT-4", "X-7", api="BacktestStore.save_result")
def test_the_store_keeps_the_stamps(timed, clock, original):
    first = clock.micros
    timed.save_running(**RUNNING, task_id=TASK)
    clock.micros += 5
    timed.save_result(original())
    clock.micros += 5
    timed.save_result(original(strategy="other"))
    envelope = timed.fetch(TASK).envelope
    assert (envelope.created, envelope.updated) == (first, first + 10)


@pytest.mark.requirement("BT-4", api="BacktestStore.save_result")
def test_every_backend_moves_updated_at_and_nothing_else_does(backtests, original):
    backtests.save_result(original(), created_at=datetime(2024, 7, 1, tzinfo=UTC))
    first = backtests.fetch(TASK).envelope
    backtests.save_result(original())
    second = backtests.fetch(TASK).envelope
    assert first.created == first.updated == second.created
    assert second.updated > first.updated
    assert second.revision == first.revision + 1
    backtests.get_result(TASK)
    backtests.verify(TASK)
    assert backtests.fetch(TASK).envelope == second


@pytest.mark.requirement("X-7", api="BacktestStore.save_result")
def test_an_import_may_bring_the_original_stamp(backtests, original):
    made = datetime(2024, 7, 1, 12, tzinfo=UTC)
    backtests.save_result(original(), created_at=made)
    assert backtests.fetch(TASK).envelope.created_at == made


# -- re-saving -----------------------------------------------------------------------------------


@pytest.mark.requirement("BT-13", "Z-54", api="BacktestStore.save_result")
def test_a_result_saved_again_takes_the_place_of_the_old_one(backtests, original, same):
    backtests.save_result(original(seed=1))
    newer = original(seed=2, signals=3)
    backtests.save_result(newer)
    assert same(backtests.get_result(TASK), newer)
    assert backtests.fetch(TASK).record_count == 6
    assert len(backtests.list_results()) == 1


@pytest.mark.requirement("Z-54", "BT-13", api="BacktestStore.save_result")
@pytest.mark.parametrize("nth", range(1, 5))
def test_when_staging_fails_the_old_result_stays(keep, original, same, nth, monkeypatch):
    backtests = keep.backtests
    old = original(seed=1, extra="kept")
    backtests.save_result(old)
    engine, calls = keep.backend.engine, iter(range(1, 99))
    put_blob = engine.put_blob

    def full(digest, data):
        if next(calls) == nth:
            raise StoreFull("no space left")
        put_blob(digest, data)

    monkeypatch.setattr(engine, "put_blob", full)
    with pytest.raises(StoreFull):
        backtests.save_result(_with_remainder(original(seed=2)))
    monkeypatch.undo()
    assert same(backtests.get_result(TASK), old)
    assert backtests.verify(TASK).ok
    backtests.save_result(old)  # and goes on working


def _with_remainder(result):
    result["symbols"][0]["sharpe"] = 1.5
    return result


@pytest.mark.requirement("Z-54", api="BacktestStore.save_result")
def test_when_the_commit_fails_the_old_result_stays(backtests, keep, original, same, monkeypatch):
    old = original(seed=1)
    backtests.save_result(old)
    monkeypatch.setattr(keep.backend.engine, "commit", _refusing)
    with pytest.raises(Conflict):
        backtests.save_result(original(seed=2))
    monkeypatch.undo()
    assert same(backtests.get_result(TASK), old)


def _refusing(batch):
    raise Conflict("somebody was first")


def test_of_two_first_saves_one_wins(backtests, original):
    backtests.save_result(original(seed=1), expect=ABSENT)
    with pytest.raises(AlreadyExists):
        backtests.save_result(original(seed=2), expect=ABSENT)


@pytest.mark.requirement("Z-10", api="BacktestStore.save_result")
def test_an_operation_id_makes_a_save_happen_once(backtests, original):
    first = backtests.save_result(original(), op_id="run-7")
    again = backtests.save_result(original(), op_id="run-7")
    assert again.receipt.replayed
    assert again.receipt.revisions == first.receipt.revisions
    with pytest.raises(OperationConflict):
        backtests.save_result(original(seed=2), op_id="run-7")


@pytest.mark.requirement("Z-8", api="Keep.batch")
def test_a_result_joins_a_batch_with_other_writes(keep, backtests, original):
    with keep.batch() as batch:
        backtests.save_result(original(), batch=batch)
        backtests.save_running(**RUNNING, batch=batch)
        assert backtests.list_results() == []
    assert len(backtests.list_results()) == 2


@pytest.mark.requirement("X-4", api="BacktestStore.save_result")
def test_the_id_is_given_or_made_and_never_two(backtests, original):
    result = original()
    del result["task_id"]
    made = backtests.save_result(result).task_id
    assert made.version == 4
    assert "task_id" not in backtests.get_result(made)
    assert backtests.save_result(original(), task_id=TASK).task_id == TASK
    with pytest.raises(InvalidValue, match=r"in the result and .* in the call"):
        backtests.save_result(original(), task_id=uuid.uuid4())


# -- results without tables ----------------------------------------------------------------------


@pytest.mark.requirement("Z-53", "BT-1", api="BacktestStore.save_running")
def test_a_running_result_has_no_path_size_or_count(backtests, original, same):
    backtests.save_running(**RUNNING, task_id=TASK, metadata={"host": "a"})
    found = backtests.fetch(TASK)
    assert found.status == "running"
    assert (found.parquet_path, found.file_size, found.record_count) == (None, None, None)
    with pytest.raises(NotFound, match="has no tables: it is running"):
        backtests.get_result(TASK)
    assert backtests.verify(TASK).ok
    backtests.save_running(**RUNNING, task_id=uuid.uuid4())  # a second one, without a path too
    backtests.save_result(original())
    assert same(backtests.get_result(TASK), original())


@pytest.mark.requirement("Z-53", api="BacktestStore.fail")
def test_a_running_result_ends_once(backtests, original):
    backtests.save_running(**RUNNING, task_id=TASK)
    backtests.fail(TASK, error="ZeroDivisionError")
    assert backtests.fetch(TASK).status == "failed"
    assert backtests.fetch(TASK).error == "ZeroDivisionError"
    with pytest.raises(Conflict, match="is failed, not running"):
        backtests.cancel(TASK)
    other = backtests.save_running(**RUNNING).task_id
    backtests.cancel(other, op_id="stop")
    assert backtests.fetch(other).status == "cancelled"
    assert backtests.cancel(other, op_id="stop").replayed
    with pytest.raises(NotFound):
        backtests.fail(uuid.uuid4())


@pytest.mark.requirement("Z-53", "Z-54", api="BacktestStore.save_running")
def test_what_has_tables_does_not_start_to_run_again(backtests, original, same):
    backtests.save_result(original())
    with pytest.raises(Conflict, match="has tables"):
        backtests.save_running(**RUNNING, task_id=TASK)
    with pytest.raises(Conflict, match="is completed, not running"):
        backtests.fail(TASK)
    with pytest.raises(InvalidValue, match="see save_running"):
        backtests.save_result(original(status="running"))
    assert same(backtests.get_result(TASK), original())


@pytest.mark.requirement("Z-53", api="BacktestResult")
def test_a_record_cannot_claim_tables_it_does_not_have():
    with pytest.raises(InvalidValue, match=r"record_count: is 5 for a result without tables"):
        BacktestResult(task_id=TASK, **RUNNING, record_count=5)
    with pytest.raises(InvalidValue, match="parquet_path: is None for a result with tables"):
        BacktestResult(task_id=TASK, **RUNNING, files={}, file_size=0, record_count=0)
    with pytest.raises(InvalidValue, match="names 'A' twice"):
        BacktestResult(task_id=TASK, **{**RUNNING, "symbols": ["A", "A"]})


@pytest.mark.requirement("BT-27", api="open")
def test_a_service_takes_any_keep(original, same, tmp_path):
    def service(store, result):
        return store.get_result(store.save_result(result).task_id)

    for url in ("memory://", f"sqlite:///{tmp_path}/a.db"):
        with quantkeep.open(url) as keep:
            assert same(service(keep.backtests, original()), original())
