"""Several processes on one JSON keep: nothing lost, nothing doubled, nothing seen in halves."""

import shutil
import threading

import pytest

from quantkeep import Record, record
from quantkeep.errors import Busy, OperationConflict, Regression, Unavailable
from quantkeep_backends._files.lock import FolderLock


@pytest.fixture
def helper(worker):
    """A second worker, for work beside the first one's."""
    other = type(worker)()
    yield other
    other.close()


@pytest.mark.requirement("CODEX-27", "Z-17")
def test_two_processes_append_at_once(keep, does, worker, helper):
    """GUARANTEES case 14; a third, here, appends and reads beside them."""
    ours = keep.open()
    does.append(ours, 1000)
    worker.begin(keep.path, "append 0 60")
    helper.begin(keep.path, "append 100 160")
    for number in range(1001, 1030):
        does.append(ours, number)
    assert (worker.end(), helper.end()) == ("done", "done")
    found = does.numbers(ours)
    assert sorted(found) == [*range(60), *range(100, 160), *range(1000, 1030)]
    for group in (range(60), range(100, 160), range(1000, 1030)):
        assert [n for n in found if n in group] == [*group], "each writer's own order is kept"
    assert does.numbers(keep.open()) == found


def test_a_reader_follows_a_writer_and_compactions_beside_it(keep, does, worker, helper):
    keep.open()
    reader, lengths, end = keep.open(read_only=True), [0], 0
    helper.begin(keep.path, "compact 12")
    while end < 80 or len({*lengths}) < 6:  # or the writer was done between two looks
        worker.begin(keep.path, f"append {end} {end + 80}")
        end += 80
        while lengths[-1] < end:
            found = does.numbers(reader)
            assert found == [*range(len(found))]
            assert len(found) >= lengths[-1], "nothing that was seen goes away"
            fresh = keep.open(read_only=True)
            assert does.numbers(fresh)[: len(found)] == found
            fresh.close()
            lengths.append(len(found))
        assert worker.end() == "done"
    assert helper.end() == "done"
    assert does.numbers(keep.open()) == [*range(end)]
    assert reader.health().facts["generation"] >= 13


def test_a_writer_that_opened_beside_compactions_never_writes_to_an_old_generation(
    keep, does, worker
):
    keep.open()
    worker.begin(keep.path, "compact 25")
    for number in range(40):
        handle = keep.open()
        does.append(handle, number)
        handle.close()
    assert worker.end() == "done"
    assert does.numbers(keep.open()) == [*range(40)]


@pytest.mark.requirement("Z-10")
def test_an_operation_is_replayed_by_another_process(keep, does, worker):
    handle = keep.open()
    first = does.append(handle, 0, 1, op_id="op")
    assert worker.run(keep.path, "append 0 2 op") == "done"
    assert worker.run(keep.path, "append 2 4 other") == "done"
    assert worker.run(keep.path, "append 0 3 op") == "OperationConflict"
    handle.compact()
    assert worker.run(keep.path, "append 2 4 other") == "done"
    assert does.numbers(handle) == [0, 1, 2, 3]
    theirs = does.append(handle, 2, 3, op_id="other")
    assert (theirs.replayed, theirs.revisions) == (True, (3, 4))
    again = does.append(keep.open(), 0, 1, op_id="op")
    assert (again.replayed, again.revisions, again.at) == (True, first.revisions, first.at)
    with pytest.raises(OperationConflict):
        does.append(handle, 9, op_id="other")


def test_a_keep_is_made_once_by_all_who_make_it(keep, does):
    """Each finds the folder empty; whoever is late must not begin it again."""
    handles, barrier = [], threading.Barrier(6)

    def make(number: int) -> None:
        barrier.wait()
        handle = keep.open()
        does.append(handle, number)
        handles.append(handle)

    threads = [threading.Thread(target=make, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(does.numbers(handle)) for handle in handles] == [[*range(6)]] * 6


def test_a_keep_is_not_begun_again_under_the_first_commits(keep, does, monkeypatch):
    """The race of the test above, at its narrowest."""
    began = []
    taking = FolderLock._take

    def first_another(lock: FolderLock, patience: float) -> None:
        if not began:
            began.append(True)
            does.append(keep.open(), 0)
        taking(lock, patience)

    monkeypatch.setattr(FolderLock, "_take", first_another)
    late = keep.open()
    assert does.numbers(late) == [0]


def test_threads_share_a_handle(keep, does):
    handle = keep.open()

    def work(first: int) -> None:
        for number in range(first, first + 10):
            does.append(handle, number)
            does.put(handle, f"{number}", "x")
            handle.put_blob("ab" * 32, b"the same blob")

    threads = [threading.Thread(target=work, args=(n * 10,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(does.numbers(handle)) == [*range(40)]
    assert len(does.rows(handle, does.settings)) == 40
    assert handle.open_blob("ab" * 32) == b"the same blob"


def test_a_writer_that_waits_too_long_says_so(keep, does):
    holder, waiting = keep.open(), keep.open(patience=0.05)
    with holder._writing(), pytest.raises(Busy, match=r"0\.05 s; nothing was written"):
        does.append(waiting, 0)
    does.append(waiting, 1)
    assert does.numbers(holder) == [1]


def test_the_lock_is_of_the_folder_that_is_there(keep, does, tmp_path):
    """Copied aside and back, a keep has a new lock file: old and new handles still take turns."""
    old = keep.open()
    does.append(old, 0)
    shutil.move(keep.path, tmp_path / "aside")
    shutil.copytree(tmp_path / "aside", keep.path)
    new = keep.open(patience=0.05)
    with old._writing(), pytest.raises(Busy):
        does.append(new, 1)
    does.append(old, 1)
    does.append(new, 2)
    assert does.numbers(old) == [0, 1, 2]


@pytest.mark.requirement("Z-3")
def test_a_program_goes_on_beside_one_that_added_columns(keep, does):
    old = keep.open()
    does.put(old, "a", "1")

    @record("settings", key=("name",))
    class Wider(Record):
        unit: str | None = None
        name: str
        value: str | None = None

    new = keep.open(does.entries, Wider.collection)
    does.put(old, "b", "2")
    does.put(new, "c", "3")
    assert [row.values for row in does.rows(old, does.settings)] == [
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
    ]
    shown = [row.values for row in does.rows(new, Wider.collection)]
    assert shown == [(None, "a", "1"), (None, "b", "2"), (None, "c", "3")]
    assert does.rows(keep.open(), does.settings) == does.rows(old, does.settings)


def test_a_folder_that_is_gone_is_no_empty_keep(keep, does):
    handle = keep.open()
    does.append(handle, 0)
    shutil.rmtree(keep.path)
    with pytest.raises(Unavailable, match="No such file"):
        does.append(handle, 1)
    with pytest.raises(Regression):
        does.numbers(handle)
    assert not keep.path.exists()
