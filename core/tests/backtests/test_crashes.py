"""Killed at every step of publishing, deleting, collecting and exporting (cases 10 of the kit).

Whatever is found afterwards is a whole result, old or new, or none; nothing half of it. What was
left behind is found by gc, and the next save goes through.
"""

import signal
from collections.abc import Callable
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import quantkeep
from quantkeep.blobs import BlobRef
from quantkeep.failpoints import passing

WORKER = Path(__file__).parent / "programs" / "worker.py"
SAVING = (
    "blobs.stage@1", "blobs.stage@2", "blobs.stage@3", "blobs.stage@4",
    "backtests.save.symbol_summary", "backtests.save.symbol_signals",
    "backtests.save.performance_curve", "backtests.save.staged", "backtests.save.commit",
    "backtests.save.committed",
)  # fmt: skip


@pytest.fixture(scope="module")
def worker():
    spec = spec_from_file_location("worker", WORKER)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def place(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/results.db"


@pytest.fixture
def run(place, forked) -> Callable[..., int]:
    """Runs the worker; its exit code."""

    def start(*arguments: object, die_at: str = "") -> int:
        point, _, nth = die_at.partition("@")
        armed = f"{point}=kill@{nth or 1}" if point else ""
        process = forked(WORKER.read_text(encoding="utf-8"), place, *arguments, armed=armed)
        process.join(280)
        return process.exitcode

    return start


def whole(keep, worker, same, *seeds: int) -> int | None:
    """Which of the results is there, whole; ``None`` if none is."""
    record = keep.backtests.get(worker.TASK)
    if record is None:
        return None
    seed = int(record.strategy.removeprefix("seed "))
    assert seed in seeds
    assert same(keep.backtests.get_result(worker.TASK), worker.result(seed))
    assert keep.backtests.verify(worker.TASK).ok
    return seed


def no_garbage(keep) -> None:
    keep.backtests.gc(grace=timedelta())
    live = {
        chunk
        for record in keep.backtests.list_results()
        for ref in BlobRef.find_in(record.files)
        for chunk in ref.chunks
    }
    assert {digest for digest, _ in keep.backend.list_blobs()} == live


@pytest.mark.requirement("Z-54", "BT-13", api="BacktestStore.save_result")
@pytest.mark.parametrize("step", SAVING)
def test_killed_while_saving(place, run, worker, same, step):
    assert run("save", 1, die_at=step) == -signal.SIGKILL
    with quantkeep.open(place) as keep:
        found = whole(keep, worker, same, 1)
        assert found == (1 if step.endswith("committed") else None)
        no_garbage(keep)
    assert run("save", 1) == 0  # and over it, the next one
    assert run("save", 2, die_at=step) == -signal.SIGKILL
    with quantkeep.open(place) as keep:
        assert whole(keep, worker, same, 1, 2) == (2 if step.endswith("committed") else 1)
        no_garbage(keep)
        assert whole(keep, worker, same, 1, 2) is not None
        keep.backtests.save_result(worker.result(3))
        assert whole(keep, worker, same, 3) == 3


@pytest.mark.requirement("Z-54", "BT-18", api="BacktestStore.gc")
@pytest.mark.parametrize(
    "step",
    [
        "backtests.cleanup.delete",
        "backtests.gc.tombstone",
        "backtests.gc.sweep",
        "garbage.delete@1",
        "garbage.delete@3",
    ],
)
def test_killed_while_removing(place, run, worker, same, step):
    action = "cleanup" if "cleanup" in step else "gc"
    assert run("save", 1) == 0
    if action == "gc":
        assert run("delete", 0) == 0
    assert run(action, 0, die_at=step) == -signal.SIGKILL
    with quantkeep.open(place) as keep:
        found = whole(keep, worker, same, 1)
        assert found == (1 if action == "cleanup" else None)
        assert [*keep.backend.list_blobs()]  # never a record without files: the files go last
        keep.backtests.cleanup(timedelta())
        no_garbage(keep)
        assert [*keep.backend.list_blobs()] == []


@pytest.mark.requirement("BT-9", api="BacktestStore.export")
def test_killed_while_exporting(run, worker, tmp_path):
    assert run("save", 1) == 0
    for table in ("symbol_summary", "symbol_signals", "performance_curve"):
        step = f"backtests.export.{table}"
        assert run("export", 0, tmp_path / "out", die_at=step) == -signal.SIGKILL
        assert not (tmp_path / "out" / "backtests" / worker.TASK).exists()
    assert run("export", 0, tmp_path / "out") == 0


def test_a_step_that_is_not_armed_costs_nothing_and_kills_nobody():
    passing("backtests.save.commit")
