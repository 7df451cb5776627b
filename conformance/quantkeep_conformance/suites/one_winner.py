"""One winner: preconditions decide, alone, between threads and between processes."""

from typing import Any

import pytest

from quantkeep import ABSENT, PRESENT, AtRevision, Capability, Conflict, Keep, NotFound
from quantkeep.errors import AlreadyExists
from quantkeep_conformance.children.racing import RACE
from quantkeep_conformance.clauses import Suite, requires
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.linearizability import Operation, linearizable, swap_at_random
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import Entry, Setting
from quantkeep_conformance.suites.helpers import at_once, known, log, numbers, put, started

THREADS = 8
PROCESSES = 8


class OneWinner(Suite):
    """Of several writers that expect the same, exactly one succeeds."""

    family = "one_winner"

    def test_absent(self, keep: Keep) -> None:
        """A put that expects nothing there is refused where something is."""
        setting = Setting(owner="a", name="x", value=1)
        table = keep.table(Setting)
        keep.commit(table.put(setting, ABSENT))
        with pytest.raises(AlreadyExists):
            keep.commit(table.put(setting.replace(value=2), ABSENT))
        assert known(keep, setting) == setting

    def test_present(self, keep: Keep) -> None:
        """A put or deletion that expects a record is refused where there is none."""
        table = keep.table(Setting)
        for write in (
            table.put(Setting(owner="a", name="x"), PRESENT),
            table.delete("a", "x", expect=PRESENT),
            table.require("a", "x", expect=PRESENT),
        ):
            with pytest.raises(NotFound):
                keep.commit(write)
        assert table.count() == 0

    def test_at_revision(self, keep: Keep) -> None:
        """A write that expects a revision is refused at any other, and where there is none."""
        table = keep.table(Setting)
        put(keep, Setting(owner="a", name="x", value=1), Setting(owner="a", name="x", value=2))
        for revision in (1, 3, 0):
            for write in (
                table.put(Setting(owner="a", name="x", value=9), AtRevision(revision)),
                table.delete("a", "x", expect=AtRevision(revision)),
                table.require("a", "x", expect=AtRevision(revision)),
                table.put(Setting(owner="a", name="absent"), AtRevision(revision)),
            ):
                with pytest.raises(Conflict):
                    keep.commit(write)
        keep.commit(table.put(Setting(owner="a", name="x", value=3), AtRevision(2)))
        assert [(s.name, s.value) for s in table.scan()] == [("x", 3)]

    def test_expectations_see_the_batch(self, keep: Keep) -> None:
        """Writes of one batch apply in order: a later expectation sees what an earlier one did."""
        table = keep.table(Setting)
        one = Setting(owner="a", name="x", value=1)
        keep.commit(table.put(one, ABSENT), table.put(one.replace(value=2), AtRevision(1)))
        keep.commit(table.delete("a", "x", expect=PRESENT), table.put(one, ABSENT))
        assert [setting.value for setting in table.scan()] == [1]

    def test_threads(self, keep: Keep, effort: Effort) -> None:
        """Of threads that want the same key or revision at one moment, exactly one gets it."""
        table = keep.table(Setting)
        for turn in range(effort.times(10)):
            first = at_once(THREADS, lambda n: self._wins(keep, n, f"{turn}", ABSENT))  # noqa: B023  # run now
            assert sum(first) == 1
            found = table.fetch("race", f"{turn}")
            assert found.value == first.index(True)
            expect = AtRevision(found.revision or 0)
            assert sum(at_once(THREADS, lambda n: self._wins(keep, n, f"{turn}", expect))) == 1  # noqa: B023  # run now

    def _wins(self, keep: Keep, runner: int, name: str, expect: Any) -> bool:
        wanted = Setting(owner="race", name=name, value=runner)
        try:
            keep.commit(keep.table(Setting).put(wanted, expect))
        except Conflict:
            return False
        return True

    @requires(Capability.MULTI_PROCESS)
    def test_processes(self, place: Place, keep: Keep, effort: Effort) -> None:
        """Of processes that want the same key at one moment, exactly one gets it."""
        times = effort.times(20)
        children = [place.child("race", runner=n, times=times) for n in range(PROCESSES)]
        won = [event["turn"] for child in started(children) for event in child.rest()
               if event["event"] == "won"]  # fmt: skip
        assert sorted(won) == [*range(times)]
        assert keep.table(Setting).count() == times

    @requires(Capability.MULTI_PROCESS)
    def test_no_update_is_lost(self, place: Place, keep: Keep, effort: Effort) -> None:
        """Processes that read, add one and write at the revision read lose no update, and none fails."""
        put(keep, Setting(owner="race", name="counter"))
        times = effort.times(25)
        children = [place.child("increment", times=times) for _ in range(PROCESSES)]
        for child in started(children):
            child.expect("done")
        assert keep.table(Setting).fetch("race", "counter").value == PROCESSES * times

    @requires(Capability.MULTI_PROCESS)
    def test_nothing_appended_is_lost(self, place: Place, keep: Keep, effort: Effort) -> None:
        """Entries that processes append at once are all there, once, in the order acknowledged."""
        times = effort.times(30)
        children = [place.child("append", times=times, symbol=f"{n}") for n in range(PROCESSES)]
        acked = {
            (f"{n}", event["number"]): event["revision"]
            for n, child in enumerate(started(children))
            for event in child.rest()
        }
        found = {(e.symbol, e.number): e.revision for e in keep.table(Entry).scan()}
        assert found == acked
        assert sorted(acked.values()) == [*range(1, PROCESSES * times + 1)]
        for n in range(PROCESSES):
            mine = [revision for (symbol, _), revision in acked.items() if symbol == f"{n}"]
            assert mine == sorted(mine)

    def test_linearizable_between_threads(
        self, keep: Keep, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """What threads read and swap has an order that explains every answer."""
        put(keep, Setting(owner=RACE[0], name="register"))

        def work(writer: int) -> list[Operation]:
            return [*swap_at_random(keep, effort.random(f"swap {writer}"), 15, writer)]

        for _ in range(effort.times(3)):
            initial = known(keep, Setting(owner=RACE[0], name="register"))
            assert initial is not None
            history = [operation for done in at_once(4, work) for operation in done]
            _assert_linearizable(history, initial, evidence)

    @requires(Capability.MULTI_PROCESS)
    def test_linearizable_between_processes(
        self, place: Place, keep: Keep, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """What processes read and swap has an order that explains every answer."""
        put(keep, Setting(owner=RACE[0], name="register"))
        initial = known(keep, Setting(owner=RACE[0], name="register"))
        assert initial is not None
        children = [
            place.child("compare_and_swap", writer=n, times=effort.times(30), seed=effort.seed + n)
            for n in range(PROCESSES)
        ]
        history = [_operation(event) for child in started(children) for event in child.rest()]
        _assert_linearizable(history, initial, evidence)

    def test_order_between_threads(self, keep: Keep, effort: Effort) -> None:
        """A reader that follows a log while threads append to it misses nothing."""
        times, writers, seen = effort.times(15), 4, list[int]()

        def work(writer: int) -> None:
            if writer == writers:
                _follow(keep, seen, writers * times)
                return
            for number in range(times):
                log(keep, Entry(account="race", number=writer * times + number))

        at_once(writers + 1, work)
        assert seen == numbers(keep.table(Entry).scan())


def _follow(keep: Keep, seen: list[int], until: int) -> None:
    from quantkeep import Where

    last, looks = 0, 0
    while len(seen) < until and looks < 100_000:
        found = keep.table(Entry).list(Where("account", "==", "race"), Where("revision", ">", last))
        seen += numbers(found)
        last = found[-1].revision or 0 if found else last
        looks += 1


def _operation(event: dict[str, Any]) -> Operation:
    said = {name: value for name, value in event.items() if name != "event"}
    return Operation(**{**said, "state": tuple(said["state"])})


def _assert_linearizable(
    history: list[Operation], initial: Setting, evidence: dict[str, object]
) -> None:
    swaps = sum(operation.swapped is True for operation in history)
    evidence["operations"] = len(history)
    evidence["swaps"] = swaps
    assert swaps >= len(history) // 20, "almost every swap was refused: nothing was tried"
    assert initial.revision is not None
    assert linearizable(history, (initial.revision, initial.value)), (
        f"no order of the {len(history)} operations explains what they saw"
    )
