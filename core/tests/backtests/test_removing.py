"""Results out: a tombstone first, files after the grace period, nothing of anybody else's."""

from datetime import UTC, datetime, timedelta

import pytest

from quantkeep.backtests import BacktestTombstone, Encoding
from quantkeep.blobs import Blobs
from quantkeep.errors import AlreadyExists, Conflict, InvalidValue, NotFound
from quantkeep.store import PendingBatch

TASK = "550e8400-e29b-41d4-a716-446655440000"
SECOND = "00000000-0000-0000-0000-000000000002"
DAYS = timedelta(days=1)
TICK = timedelta(microseconds=1)


def chunks(store) -> int:
    return len([*store._home.backend.list_blobs()])


@pytest.mark.requirement("Z-54", api="BacktestStore.delete")
def test_a_deleted_result_is_gone_at_once_and_its_files_later(timed, clock, original, same):
    timed.save_result(original())
    files = chunks(timed)
    timed.delete(TASK)
    assert timed.get(TASK) is None
    assert timed.list_results() == []
    assert [str(t.task_id) for t in timed.tombstones()] == [TASK]
    clock.advance(DAYS)
    assert timed.gc().tombstones == ()  # exactly the grace period is not over it
    assert chunks(timed) == files
    clock.advance(TICK)
    found = timed.gc(dry_run=True)
    assert (len(found.tombstones), found.chunks, chunks(timed)) == (1, files, files)
    assert timed.gc() == found
    assert (chunks(timed), timed.tombstones()) == (0, [])
    with pytest.raises(NotFound):
        timed.delete(TASK)


@pytest.mark.requirement("Z-54", api="BacktestStore.restore")
def test_a_deletion_can_be_taken_back_until_the_files_go(timed, clock, original, same):
    timed.save_result(original())
    made = timed.fetch(TASK).envelope.created
    clock.advance(DAYS)
    timed.delete(TASK)
    clock.advance(DAYS)
    timed.gc()
    timed.restore(TASK)
    assert same(timed.get_result(TASK), original())
    assert timed.fetch(TASK).envelope.created == made
    assert timed.verify(TASK).ok
    assert timed.tombstones() == []
    with pytest.raises(NotFound, match="was not deleted"):
        timed.restore(TASK)
    timed.delete(TASK)
    timed.save_result(original(seed=2))
    with pytest.raises(AlreadyExists):
        timed.restore(TASK)
    assert same(timed.get_result(TASK), original(seed=2))


@pytest.mark.requirement("BT-18", "BT-19", api="BacktestStore.cleanup")
def test_cleanup_is_exact_at_the_boundary_and_says_what_it_removed(timed, clock, original):
    for number in range(4):
        timed.save_result(original(task_id=f"00000000-0000-0000-0000-00000000000{number}"))
        clock.advance(DAYS)
    clock.advance(4 * DAYS)  # they are now 8, 7, 6 and 5 days old
    would = timed.cleanup(dry_run=True)
    assert len(timed.list_results()) == 4
    removed = timed.cleanup(timedelta(days=7))
    assert removed == would
    assert [r.task_id.int for r in removed] == [0]  # the one of exactly seven days stays
    assert removed[0].parquet_path == "backtests/00000000-0000-0000-0000-000000000000/"
    assert timed.cleanup_old_results(days=7) == 0
    clock.advance(TICK)
    assert timed.cleanup_old_results(dry_run=True) == 1
    assert timed.cleanup_old_results() == 1
    bound = timed.fetch("00000000-0000-0000-0000-000000000003").envelope.created_at
    assert [r.task_id.int for r in timed.cleanup(bound)] == [2]
    assert timed.cleanup(timedelta()) != []
    with pytest.raises(InvalidValue):
        timed.cleanup(-DAYS)
    with pytest.raises(InvalidValue):
        timed.cleanup(datetime(2024, 1, 1))  # noqa: DTZ001


@pytest.mark.requirement("Z-54", api="BacktestStore.cleanup")
def test_a_result_saved_anew_meanwhile_is_not_cleaned_up(timed, clock, original, monkeypatch):
    timed.save_result(original())
    clock.advance(8 * DAYS)
    engine = timed._home.backend.engine
    commit = engine.commit

    def interrupted(batch):
        monkeypatch.undo()
        timed.save_result(original(seed=2))
        return commit(batch)

    monkeypatch.setattr(engine, "commit", interrupted)
    assert timed.cleanup() == []
    assert timed.verify(TASK).ok
    record = timed.fetch(TASK)
    timed.save_result(original(seed=3))
    with pytest.raises(Conflict):
        timed._commit(*timed._deletion(record))


@pytest.mark.requirement("Z-7", "Z-54", api="BacktestStore.gc")
def test_gc_finds_what_a_failed_save_left_behind(timed, clock, original, same, monkeypatch):
    timed.save_result(original(), encoding=Encoding(level=1))
    engine = timed._home.backend.engine
    monkeypatch.setattr(engine, "commit", _refusing)
    with pytest.raises(Conflict):
        timed.save_result(original(seed=2))
    monkeypatch.undo()
    kept, before = _kept(timed), chunks(timed)
    assert before > kept
    assert timed.gc().chunks == 0  # too young: it may be a save that is still going on
    clock.advance(DAYS + TICK)
    assert timed.gc().chunks == before - kept
    assert chunks(timed) == kept
    assert same(timed.get_result(TASK), original())


def _refusing(batch):
    raise Conflict("killed")


def _kept(store) -> int:
    from quantkeep.blobs import BlobRef

    found = (ref for record in store.list_results() for ref in BlobRef.find_in(record.files))
    return len({chunk for ref in found for chunk in ref.chunks})


@pytest.mark.requirement("Z-7", "Z-54", api="BacktestStore.gc")
def test_gc_leaves_pieces_that_two_results_share(timed, clock, original):
    timed.save_result(original())
    timed.save_result(original(task_id=SECOND))
    timed.delete(TASK)
    clock.advance(DAYS + TICK)
    assert timed.gc().chunks == 0
    assert timed.verify(SECOND).ok


@pytest.mark.requirement("Z-7", "Z-54", api="BacktestStore.gc")
def test_gc_never_takes_a_piece_from_a_save_that_found_it_there(timed, clock, original):
    """An old piece that nothing refers to, staged again by a save that has not committed yet."""
    timed.save_result(original())
    timed.delete(TASK)
    clock.advance(DAYS + TICK)
    engine = timed._home.backend.engine
    list_blobs = engine.list_blobs

    pending = PendingBatch()

    def then_a_save_begins():
        listed = [*list_blobs()]
        timed.save_result(original(task_id=SECOND), batch=pending)  # stages the very same pieces
        return iter(listed)

    engine.list_blobs = then_a_save_begins
    timed.gc()
    del engine.list_blobs
    pending.commit()
    assert timed.verify(SECOND).ok


@pytest.mark.requirement("Z-7", api="BacktestStore.gc")
def test_gc_leaves_what_other_stores_refer_to(timed, clock, original):
    backend = timed._home.backend
    blob = Blobs(backend).write(b"a snapshot of somebody else")
    told = original(task_id=SECOND, attachment=blob.as_document())
    timed.save_result(told)
    clock.advance(10 * DAYS)
    timed.gc()
    assert Blobs(backend).read(blob) == b"a snapshot of somebody else"
    with pytest.raises(InvalidValue):
        timed.gc(grace=-DAYS)


@pytest.mark.requirement("Z-10", api="BacktestStore.delete")
def test_a_deletion_repeated_under_its_operation_id_is_one(backtests, original):
    backtests.save_result(original())
    backtests.delete(TASK, op_id="drop")
    assert backtests.delete(TASK, op_id="drop").replayed
    assert len(backtests.table(BacktestTombstone).list()) == 1


@pytest.mark.requirement("BT-18", api="BacktestStore.cleanup")
def test_cleanup_and_gc_on_each_backend(backtests, original):
    made = datetime(2024, 1, 1, tzinfo=UTC)
    backtests.save_result(original(), created_at=made)
    backtests.save_result(original(task_id=SECOND))
    backtests.save_running(
        strategy="s", symbols=[], start_date=made.date(), end_date=made.date(), created_at=made
    )
    removed = backtests.cleanup()
    assert {r.parquet_path for r in removed} == {f"backtests/{TASK}/", None}
    assert {r.created_at for r in removed} == {made}
    assert len(backtests.gc(grace=timedelta()).tombstones) == 2
    assert backtests.verify(SECOND).ok
    assert [str(r.task_id) for r in backtests.list_results()] == [SECOND]
