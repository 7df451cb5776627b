"""The server is killed amid commits: what was acknowledged is there once, the rest resolves."""

import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import quantkeep
from quantkeep import Keep, Record
from quantkeep.errors import Busy, OutcomeUnknown, QuantkeepError, Unavailable
from quantkeep_conformance import servers

WRITERS, AMID = 4, (20, 31, 47, 58)  # commits since the last crash


@quantkeep.record("ticks", log=True, stream=("symbol",))
class Tick(Record):
    symbol: str = "BTC"
    writer: int = 0
    number: int = 0


@quantkeep.record("counters", key=("writer",))
class Counter(Record):
    writer: int
    value: int = 0


@pytest.fixture
def server() -> Iterator[servers.Server]:
    """One of our own, to be killed."""
    with servers.postgresql() as server:
        assert server.process is not None
        yield server


class Writer(threading.Thread):
    """Appends and counts in one commit, on and on, each under an operation id."""

    def __init__(self, keep: Keep, writer: int, stop: threading.Event) -> None:
        super().__init__()
        self.keep, self.writer, self.stop = keep, writer, stop
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []
        self.failed: list[BaseException] = []

    def run(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            try:
                self.commit(number)
                self.acknowledged.append(number)
            except OutcomeUnknown as error:
                self.unknown.append(number if error.op_id == self.op_id(number) else -1)
            except (Unavailable, Busy):
                time.sleep(0.01)
            except QuantkeepError as error:
                self.failed.append(error)

    def op_id(self, number: int) -> str:
        return f"{self.writer} {number}"

    def commit(self, number: int) -> None:
        tick = self.keep.table(Tick).append([Tick(writer=self.writer, number=number)])
        count = self.keep.table(Counter).put(Counter(writer=self.writer, value=number))
        writes = (tick, count) if number % 2 else (tick,)
        self.keep.commit(*writes, op_id=self.op_id(number))


@pytest.mark.parametrize("how", ["kill -9", "immediate"])
def test_server_killed_amid_commits(
    server: servers.Server, how: str, wait_until: Callable[[Callable[[], bool]], bool]
) -> None:
    process = server.process
    assert process is not None
    stop = threading.Event()
    with quantkeep.open({"tape": server.url}, records=[Tick, Counter]) as keep:
        writers = [Writer(keep, n, stop) for n in range(WRITERS)]
        for writer in writers:
            writer.start()

        def acknowledged() -> int:
            return sum(len(writer.acknowledged) for writer in writers)

        for some in AMID:
            until = acknowledged() + some
            wait_until(lambda: acknowledged() >= until)  # noqa: B023  # called at once
            process.crash() if how == "kill -9" else process.stop(signal.SIGQUIT)
            process.start()
        until = acknowledged() + 20
        wait_until(lambda: acknowledged() >= until)
        stop.set()
        for writer in writers:
            writer.join()
        assert [writer.failed for writer in writers] == [[]] * WRITERS
        stored = [(tick.writer, tick.number) for tick in keep.table(Tick).scan()]
        assert len(stored) == len(set(stored)), "something is there twice"
        for writer in writers:
            there = {number for w, number in stored if w == writer.writer}
            assert {*writer.acknowledged} <= there
            resolved = {n for n in writer.unknown if keep.resolve(writer.op_id(n))}
            assert there - {*writer.acknowledged} == resolved
        assert [t.revision for t in keep.table(Tick).scan()] == [*range(1, len(stored) + 1)]
