"""A writer of a JSON keep that dies or fails at any step: all of a commit, or nothing of it."""

import errno
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import quantkeep
from quantkeep import Record, record, schema
from quantkeep.errors import StoreFull, Unavailable, WriterPoisoned
from quantkeep.tape import EquityPoint
from quantkeep_backends.json import _journal


@pytest.fixture
def filled(keep, does):
    handle = keep.open()
    does.append(handle, 0, 1, op_id="first")
    handle.compact()
    does.append(handle, 2, 3)
    does.put(handle, "a", "1")
    handle.close()
    return keep


def steps(worker, keep, work: str, scratch: Path) -> list[tuple[str, int]]:
    """Every passing of a failpoint that *work* makes, by name and number."""
    copy, trace = scratch / "traced", scratch / "trace"
    shutil.copytree(keep.path, copy)
    assert worker.run(copy, work, trace=trace) == "done"
    passed = Counter(trace.read_text().split())
    return [(name, n) for name, times in passed.items() for n in range(1, times + 1)]


def struck(worker, keep, work: str, scratch: Path, action: str):
    """A copy of the keep for each step of *work*, at which *action* strikes, and what was said."""
    for number, (name, nth) in enumerate(steps(worker, keep, work, scratch)):
        copy = type(keep)(scratch / f"copy-{number}", keep.handles)
        shutil.copytree(keep.path, copy.path)
        yield name, copy, worker.run(copy.path, work, failpoints=f"{name}={action}@{nth}")


@pytest.mark.requirement("Z-18")
def test_compaction_killed_at_every_step_keeps_every_row(filled, does, worker, tmp_path):
    """GUARANTEES case 11; and what it left is cleared away by the next one."""
    names = set()
    for name, copy, said in struck(worker, filled, "compact", tmp_path, "kill"):
        assert said == "killed", name
        handle = copy.open()
        assert does.numbers(handle) == [0, 1, 2, 3], name
        assert [row.values for row in does.rows(handle, does.settings)] == [("a", "1")], name
        assert does.append(handle, 0, 1, op_id="first").replayed
        does.append(handle, 4)
        handle.compact()
        assert does.numbers(copy.open()) == [0, 1, 2, 3, 4], name
        assert len(left(copy.path)) <= 2 * 2 + 3, (name, left(copy.path))
        names.add(name)
    assert {n for n in names if n.startswith("json.compact.")} == {
        f"json.compact.{step}" for step in ("collection", "journal", "heading", "done")
    }
    assert {f"files.{step}" for step in ("sync", "replace.rename", "replace.renamed")} <= names


def left(path: Path) -> list[str]:
    """What lies in the folder, but for blobs."""
    return sorted(p.name for p in path.iterdir())


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("action", ["kill", "EIO", "ENOSPC"])
def test_a_commit_struck_at_every_step_is_whole_or_not_there(
    filled, does, worker, tmp_path, action
):
    """GUARANTEES cases 1 to 3; told the truth, and the same again under its id counts once."""
    expected = {
        "kill": {"killed"},
        "EIO": {"Unavailable", "WriterPoisoned"},
        "ENOSPC": {"StoreFull", "WriterPoisoned"},
    }
    for name, copy, said in struck(worker, filled, "append 4 7 op", tmp_path, action):
        assert said in expected[action], name
        handle = copy.open()
        found = does.numbers(handle)
        assert found in ([0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6]), name
        if said in ("StoreFull", "Unavailable"):
            assert found == [0, 1, 2, 3], name
        assert does.append(handle, 4, 5, 6, op_id="op").replayed == (len(found) > 4)
        assert does.numbers(copy.open()) == [0, 1, 2, 3, 4, 5, 6], name


@pytest.mark.parametrize("action", ["EIO", "ENOSPC"])
def test_a_compaction_that_fails_is_a_typed_error_and_changes_nothing(
    filled, does, worker, tmp_path, action
):
    for name, copy, said in struck(worker, filled, "compact", tmp_path, action):
        assert said in ("Unavailable", "StoreFull", "WriterPoisoned"), name
        handle = copy.open()
        assert does.numbers(handle) == [0, 1, 2, 3], name
        handle.compact()
        assert does.numbers(handle) == [0, 1, 2, 3], name


# -- under the same handle -------------------------------------------------------------------------


@pytest.mark.requirement("Z-18", api="quantkeep.StoreFull")
@pytest.mark.parametrize("step", ["json.commit.locked", "json.commit.write", "json.commit.written"])
def test_a_full_disk_and_then_the_same_handle_goes_on(filled, does, disarmed, step):
    handle = filled.open()
    disarmed(f"{step}=ENOSPC")
    with pytest.raises(StoreFull, match="nothing was written") as caught:
        does.append(handle, 4, op_id="op")
    assert caught.value.applied == "no"
    assert does.numbers(handle) == [0, 1, 2, 3]
    assert handle.outcome("op") is None
    assert does.append(handle, 4, op_id="op").revisions == (5,)
    assert does.numbers(filled.open()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("step", ["collection", "journal", "heading", "done"])
def test_a_compaction_that_found_no_room_and_then_the_same_handle_goes_on(
    filled, does, disarmed, step
):
    handle = filled.open()
    disarmed(f"json.compact.{step}=ENOSPC")
    with pytest.raises(StoreFull):
        handle.compact()
    does.append(handle, 4)
    handle.compact()
    assert does.numbers(handle) == does.numbers(filled.open()) == [0, 1, 2, 3, 4]


@pytest.mark.requirement("Z-3")
def test_room_for_columns_that_could_not_be_made_is_not_there(filled, does, disarmed):
    @record("settings", key=("name",))
    class Wider(Record):
        name: str
        value: str | None = None
        unit: str | None = None

    handle, wanted = filled.open(), (does.entries, Wider.collection)
    disarmed("json.compact.heading=ENOSPC")
    with pytest.raises(StoreFull):
        handle.ensure(wanted, schema.describe(wanted))
    does.put(handle, "b", "2")
    assert [row.values for row in does.rows(handle, does.settings)] == [("a", "1"), ("b", "2")]
    handle.ensure(wanted, schema.describe(wanted))
    assert [r.values for r in does.rows(handle, Wider.collection)] == [
        ("a", "1", None),
        ("b", "2", None),
    ]


@pytest.mark.requirement("Z-18", api="quantkeep.WriterPoisoned")
def test_a_failed_sync_poisons_the_writer(filled, does, disarmed):
    """GUARANTEES case 2: a sync that failed is not tried again; opening again tells the truth."""
    handle = filled.open()
    disarmed("files.sync=EIO")
    with pytest.raises(WriterPoisoned) as caught:
        does.append(handle, 4, op_id="op")
    assert caught.value.applied == "unknown"
    for use in (lambda: does.append(handle, 5), lambda: does.numbers(handle), handle.compact):
        with pytest.raises(WriterPoisoned, match="open it again"):
            use()
    again = filled.open()
    assert does.append(again, 4, op_id="op").replayed == (len(does.numbers(again)) == 5)
    assert does.numbers(again) == [0, 1, 2, 3, 4]


def test_a_blob_that_could_not_be_synced_poisons_the_writer_too(filled, does, disarmed):
    handle = filled.open()
    disarmed("files.sync=EIO")
    with pytest.raises(WriterPoisoned):
        handle.put_blob("ab" * 32, b"bytes")
    with pytest.raises(WriterPoisoned):
        does.append(handle, 4)


def test_an_error_of_the_disk_before_the_sync_takes_the_commit_back(filled, does, disarmed):
    handle = filled.open()
    disarmed("json.commit.written=EIO")
    with pytest.raises(Unavailable, match=re.escape(str(filled.journal))):
        does.append(handle, 4)
    assert does.numbers(handle) == [0, 1, 2, 3]
    does.append(handle, 5)
    assert does.numbers(filled.open()) == [0, 1, 2, 3, 5]


def test_an_interrupted_commit_is_whole_or_not_there(filled, does, monkeypatch):
    """Ctrl-C between the write and the sync: what is in the file is what is answered."""
    handle, sync = filled.open(), _journal.durable.sync

    def interrupted(descriptor: int, what: str) -> None:
        monkeypatch.setattr(_journal.durable, "sync", sync)
        raise KeyboardInterrupt

    monkeypatch.setattr(_journal.durable, "sync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        does.append(handle, 4)
    does.append(handle, 5)
    assert does.numbers(handle) == does.numbers(filled.open()) == [0, 1, 2, 3, 4, 5]


@pytest.mark.requirement("Z-18")
def test_writes_that_are_cut_short_are_gone_on_with(filled, does, monkeypatch):
    """A write may take less than it was given, on a full pipe or near a limit."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:7])))
    handle = filled.open()
    does.append(handle, 4, 5)
    handle.put_blob("00" * 32, bytes(1_000))
    handle.compact()
    monkeypatch.undo()
    assert does.numbers(filled.open()) == [0, 1, 2, 3, 4, 5]
    assert handle.open_blob("00" * 32) == bytes(1_000)


@pytest.mark.requirement("Z-18")
def test_a_write_cut_short_by_a_full_disk_leaves_nothing(filled, does, monkeypatch):
    """GUARANTEES case 3: the half that was written is taken back before the next commit."""
    handle, write = filled.open(), os.write

    def full(descriptor, data):
        if len(data) < 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, bytes(data[: len(data) // 2]))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreFull):
        does.append(handle, 4)
    monkeypatch.undo()
    assert does.append(handle, 5).revisions == (5,)
    assert does.numbers(filled.open()) == [0, 1, 2, 3, 5]


KILLED = """\
import sys, quantkeep
from quantkeep.tape import EquityPoint
from datetime import UTC, datetime
with quantkeep.open({"tape": sys.argv[1]}) as keep:
    for number in range(int(sys.argv[2]), 1 << 30):
        keep.tape.append(
            EquityPoint(
                mode="paper", uid=str(number), timestamp=datetime.now(UTC), total_equity=number
            )
        )
        print(number, flush=True)
"""


@pytest.mark.soak
@pytest.mark.requirement("Z-18")
def test_hundreds_of_kills_at_random_moments(tmp_path, seed):
    """Whatever was acknowledged is there once, in order; compactions fall into it."""
    chance, url, expected = random.Random(seed), f"json:///{tmp_path}/keep?compact_above=20000", 0
    for _ in range(300):
        command = [sys.executable, "-c", KILLED, url, str(expected)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            acknowledged = int(child.stdout.readline())
            time.sleep(chance.random() / 10)
            child.kill()
            acknowledged = max([acknowledged, *map(int, child.stdout.read().split())])
        with quantkeep.open({"tape": url}) as keep:
            found = [int(p.total_equity) for p in keep.tape.scan(EquityPoint)]
        assert found == [*range(len(found))]
        assert acknowledged + 1 <= len(found) <= acknowledged + 2
        expected = len(found)
    print(f"300 kills, {expected} commits")
