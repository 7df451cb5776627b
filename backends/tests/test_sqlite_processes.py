"""Several processes on one file: nothing lost, nothing doubled, nobody told that it is locked."""

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest

import quantkeep
from quantkeep import AtRevision, Busy, Keep, Query, Record, failpoints
from quantkeep.errors import UsedAfterFork
from quantkeep_backends.sqlite.maintenance import FAILPOINTS


@quantkeep.record("counters", key=("name",))
class Counter(Record):
    name: str
    value: int = 0


@quantkeep.record("ticks", log=True, stream=("mode",), identity=("uid",))
class Tick(Record):
    mode: Literal["paper", "live"] = "paper"
    uid: str | None = None
    writer: int = 0
    number: int = 0


RECORDS = (Counter, Tick)


def opened(path: Path | str) -> Keep:
    return quantkeep.open({"tape": f"sqlite:///{path}"}, records=RECORDS)


# -- what children do ----------------------------------------------------------------------------


def increment(keep: Keep, writer: int, times: int) -> None:
    """Read, add one, write at the revision read; again if another was faster."""
    counters = keep.table(Counter)
    for _ in range(times):
        while True:
            known = counters.fetch("c")
            more = known.replace(value=known.value + 1)
            try:
                keep.commit(counters.put(more, AtRevision(known.revision)))
            except quantkeep.Conflict:
                continue
            break


def append(keep: Keep, writer: int, times: int) -> None:
    """Append one by one, by several, and under operation ids; to two streams."""
    ticks = keep.table(Tick)
    for number in range(times):
        made = Tick(writer=writer, number=number, mode=("paper", "live")[number % 2])
        op_id = f"{writer}-{number}" if number % 3 == 0 else None
        several = [made, made.replace(number=-1)] if number % 5 == 0 else [made]
        receipt = keep.commit(ticks.append(several), op_id=op_id)
        print(json.dumps([number, receipt.revisions[0]]), flush=True)


def open_and_close(keep: Keep, writer: int, times: int) -> None:
    path = keep.backend.engine._database.path
    keep.close()
    for number in range(times):
        with opened(path) as again:
            again.commit(again.table(Tick).append([Tick(writer=writer, number=number)]))


TASKS: dict[str, Callable[[Keep, int, int], None]] = {
    task.__name__: task for task in (increment, append, open_and_close)
}


@pytest.fixture
def child(program: Callable[..., Any]) -> Callable[..., Any]:
    """Begins a child, which opens the keep; it does its task once it is told a line."""
    text = Path(__file__).read_text(encoding="utf-8")

    def child(path: Path, task: str, writer: int, times: int, failpoints: str = "") -> Any:
        return program(text, path, task, writer, times, failpoints)

    return child


def work(path: str, task: str, writer: str, times: str, armed: str) -> None:
    failpoints.arm(armed)
    keep = opened(path)
    print("ready", flush=True)
    sys.stdin.readline()
    TASKS[task](keep, int(writer), int(times))
    keep.close()


def together(children: list[Any]) -> list[str]:
    """What each said, after all began at one moment and ended well."""
    for each in children:
        assert each.stdout.readline() == "ready\n", each.stderr.read()
    for each in children:
        each.stdin.write("\n")
        each.stdin.flush()
    told = [each.communicate() for each in children]
    for each, (_, errors) in zip(children, told, strict=True):
        assert (each.returncode, errors) == (0, "")
    return [out for out, _ in told]


# -- at once -------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-2", "CODEX-27")
def test_eight_processes_count_to_eight_hundred(child, tmp_path):
    """GUARANTEES case 16: with BEGIN DEFERRED 748 of 800 fail, "database is locked"."""
    path = tmp_path / "bot.db"
    with opened(path) as keep:
        keep.commit(keep.table(Counter).put(Counter(name="c")))
        together([child(path, "increment", n, 100) for n in range(8)])
        found = keep.table(Counter).fetch("c")
    assert (found.value, found.revision) == (800, 801)


@pytest.mark.requirement("Z-2", "CODEX-27")
def test_eight_processes_append_and_each_finds_its_entries_where_it_was_told(child, tmp_path):
    """GUARANTEES case 14."""
    path = tmp_path / "bot.db"
    with opened(path) as keep:
        told = together([child(path, "append", n, 60) for n in range(8)])
        found = {(t.mode, t.revision): (t.writer, t.number) for t in keep.table(Tick).scan()}
        for writer, out in enumerate(told):
            said = [json.loads(line) for line in out.splitlines()]
            assert [number for number, _ in said] == [*range(60)]
            for number, revision in said:
                mode = ("paper", "live")[number % 2]
                assert found[mode, revision] == (writer, number)
        assert len(found) == 8 * (60 + 12)
        for mode in ("paper", "live"):
            revisions = sorted(r for m, r in found if m == mode)
            assert revisions == [*range(1, len(revisions) + 1)]
        assert keep.backend.check() == []


@pytest.mark.requirement("Z-2")
def test_processes_that_come_and_go(child, tmp_path):
    """The last one to close brings the log into the database, beside others that begin."""
    path = tmp_path / "bot.db"
    with opened(path):
        together([child(path, "open_and_close", n, 8) for n in range(4)])
    with opened(path) as keep:
        assert keep.table(Tick).count() == 32
        assert keep.backend.check() == []
    assert not Path(f"{path}-wal").exists()


@pytest.mark.requirement("Z-3")
def test_processes_that_make_the_keep_at_the_same_moment(child, tmp_path):
    path = tmp_path / "bot.db"
    begun = [child(path, "append", n, 5) for n in range(6)]  # each opens before it is told to go
    together(begun)
    with opened(path) as keep:
        assert keep.table(Tick).count() == 6 * 6
        assert keep.backend.check() == []


def test_threads_share_a_handle(tmp_path):
    with opened(tmp_path / "bot.db") as keep:
        ticks, errors = keep.table(Tick), list[BaseException]()

        def write(writer: int) -> None:
            try:
                for number in range(40):
                    made = [Tick(writer=writer, number=number)] * (1 + number % 2)
                    keep.commit(ticks.append(made))
                    ticks.get("paper", number + 1)
                    assert next(ticks.scan(Query(limit=1))).revision == 1
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert [t.revision for t in ticks.scan()] == [*range(1, 8 * 60 + 1)]


# -- beside strangers ----------------------------------------------------------------------------


def test_a_stranger_that_writes_holds_us_up_and_no_longer(tmp_path):
    path = tmp_path / "bot.db"
    with (
        opened(path) as keep,
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as stranger,
    ):
        begun, order = threading.Event(), list[str]()

        def end() -> None:
            begun.wait()
            time.sleep(0.1)  # it asks for the lock after it has said so
            order.append("theirs")
            stranger.execute("COMMIT")

        with keep.backend.engine._database.turn() as writer:
            writer.set_trace_callback(lambda sql: begun.set())
        stranger.execute("BEGIN IMMEDIATE")
        ending = threading.Thread(target=end)
        ending.start()
        assert keep.commit(keep.table(Tick).append([Tick()])).revision == 1
        order.append("ours")
        ending.join()
        assert order == ["theirs", "ours"]


def test_a_writer_that_takes_too_long_is_busy(tmp_path):
    path = tmp_path / "bot.db"
    url = f"sqlite:///{path}?busy_timeout=0.1"
    with opened(path) as keep, quantkeep.open({"tape": url}, records=RECORDS) as other:
        with keep.backend.engine._database.turn(), pytest.raises(Busy) as caught:
            other.commit(other.table(Tick).append([Tick()]))
        assert "busy_timeout=60" in str(caught.value)
        assert (caught.value.applied, caught.value.retryable) == ("no", True)
        assert other.commit(other.table(Tick).append([Tick()])).revision == 1


def test_a_reader_is_held_up_by_nobody(tmp_path):
    path = tmp_path / "bot.db"
    with opened(path) as keep:
        keep.commit(keep.table(Tick).append([Tick()]))
        with keep.backend.engine._database.turn() as writer:
            writer.execute("BEGIN IMMEDIATE")
            assert keep.table(Tick).count() == 1
            with opened(path) as other:
                assert other.table(Tick).count() == 1
                assert next(iter(other.health().values())).ok
            writer.execute("ROLLBACK")


def test_a_child_may_not_use_the_handle_of_its_parent(tmp_path):
    with opened(tmp_path / "bot.db") as keep:
        keep.commit(keep.table(Tick).append([Tick()]))
        child_id = os.fork()
        if not child_id:
            try:
                keep.commit(keep.table(Tick).append([Tick()]))
            except UsedAfterFork:
                os._exit(7)
            os._exit(8)
        assert os.waitstatus_to_exitcode(os.waitpid(child_id, 0)[1]) == 7
        assert keep.commit(keep.table(Tick).append([Tick()])).revision == 2


# -- killed --------------------------------------------------------------------------------------


@pytest.fixture
def survivors(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize(
    "point",
    [p for p in FAILPOINTS if p.split(".")[1] in ("append", "commit")],
)
def test_a_writer_killed_at_any_step_of_either_way(child, survivors, point):
    """The kit kills at each step of a batch; here it is the single entry, the quick way too."""
    path = survivors
    opened(path).close()
    writer = child(path, "append", 0, 60, f"{point}=kill@4")
    assert writer.stdout.readline() == "ready\n", writer.stderr.read()
    out, _ = writer.communicate("\n")
    assert writer.returncode == -signal.SIGKILL
    acknowledged = [tuple(json.loads(line)) for line in out.splitlines()]
    with opened(path) as keep:
        stored = {(t.number, t.revision): t.mode for t in keep.table(Tick).scan()}
        assert {*acknowledged} <= {*stored}
        whole = sum(2 if number % 5 == 0 else 1 for number, _ in acknowledged)
        following = len(acknowledged)
        extra = 2 if following % 5 == 0 else 1
        assert len(stored) in (whole, whole + extra), "half of a batch is there"
        assert keep.backend.check() == []
        assert keep.commit(keep.table(Tick).append([Tick(number=99)])).added == 1


@pytest.mark.requirement("Z-18", "Z-3")
@pytest.mark.parametrize(
    "point", [p for p in FAILPOINTS if p.split(".")[1] in ("create", "ensure")]
)
def test_killed_while_the_keep_is_made(child, survivors, point):
    path = survivors
    maker = child(path, "append", 0, 1, f"{point}=kill")
    maker.communicate("\n")
    assert maker.returncode == -signal.SIGKILL
    with opened(path) as keep:
        assert keep.commit(keep.table(Tick).append([Tick()])).revision == 1
        assert keep.backend.check() == []


if __name__ == "__main__":
    work(*sys.argv[1:])
