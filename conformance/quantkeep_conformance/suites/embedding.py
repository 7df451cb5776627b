"""Embedding: many keeps in one process, threads, forks, and handles that were closed."""

import os
import warnings
from collections.abc import Callable

import pytest

from quantkeep import ABSENT, Busy, Capability, Conflict, Keep, Unavailable
from quantkeep.errors import Closed, UsedAfterFork
from quantkeep_conformance.clauses import Suite, requires
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import Entry, Setting
from quantkeep_conformance.suites.helpers import at_once, log, numbers, put

CROWD = 40  # threads; more than any pool has connections


class Embedding(Suite):
    """In somebody else's program."""

    family = "embedding"

    def test_keeps_are_apart(self, place: Place) -> None:
        """Two keeps in one process share nothing: records, streams, operation ids, blobs."""
        one, other = place.open(), place.another().open()
        first = one.commit(one.table(Entry).append([Entry(number=1)]), op_id="op")
        one.backend.put_blob("aa", b"x")
        assert other.table(Entry).list() == []
        assert other.resolve("op") is None
        assert other.backend.open_blob("aa") is None
        assert log(other, Entry(number=2)).revision == first.revision == 1
        other.close()
        assert numbers(one.table(Entry).scan()) == [1]

    def test_threads_share_a_keep(self, keep: Keep) -> None:
        """Threads read and write one keep at once, and every write is there."""

        def work(thread: int) -> int:
            for number in range(10):
                log(keep, Entry(account=f"{thread}", number=number))
                put(keep, Setting(owner=f"{thread}", name="x", value=number))
                assert keep.table(Setting).fetch(f"{thread}", "x").value == number
            return keep.table(Entry).head(f"{thread}", "paper")

        assert at_once(6, work) == [10] * 6
        assert keep.table(Entry).count() == 60

    def test_more_threads_than_connections(self, keep: Keep, evidence: dict[str, object]) -> None:
        """Of many threads at once each is served, or told that it is Busy; then all is as before."""
        table, wanted = keep.table(Setting), Setting(owner="a", name="x")
        put(keep, wanted)

        def work(thread: int) -> str:
            try:
                with pytest.raises(Conflict):
                    keep.commit(table.put(wanted, ABSENT))
                log(keep, Entry(account="crowd", number=thread))
            except (Busy, Unavailable) as error:
                return type(error).__name__
            return "served"

        ends = at_once(CROWD, work)
        evidence.update({end: ends.count(end) for end in ends})
        for number in range(CROWD, CROWD + 3):
            log(keep, Entry(account="crowd", number=number))
        found = numbers(keep.table(Entry).scan())
        served = [thread for thread, end in enumerate(ends) if end == "served"]
        assert {*served, *range(CROWD, CROWD + 3)} <= {*found}
        assert len(found) == len({*found})

    @requires(Capability.MULTI_PROCESS)
    def test_what_another_handle_wrote_is_seen(self, place: Place) -> None:
        """A handle sees at once what another one commits, whatever it has read and listed before."""
        mine, other = place.open(), place.open()
        for number in range(5):
            log(other, Entry(number=number))
            put(other, Setting(owner="a", name="x", value=number))
            assert numbers(mine.table(Entry).list()) == [*range(number + 1)]
            assert mine.table(Entry).head("default", "paper") == number + 1
            assert mine.table(Setting).fetch("a", "x").value == number
            assert mine.table(Setting).count() == 1
        other.commit(other.table(Setting).delete("a", "x"))
        assert mine.table(Setting).get("a", "x") is None
        assert mine.table(Setting).list() == []

    def test_closed(self, keep: Keep) -> None:
        """A closed keep is Closed to every use; closing it again does nothing."""
        table = keep.table(Entry)
        keep.close()
        keep.close()
        for use in (table.list, lambda: log(keep, Entry()), keep.health, keep.sizes):
            with pytest.raises(Closed):
                use()

    def test_fork(self, keep: Keep) -> None:
        """A handle used in a forked child is UsedAfterFork there, and unharmed in the parent."""
        log(keep, Entry(number=1))
        told = _in_a_fork(lambda: _uses(keep))
        assert told == "UsedAfterFork UsedAfterFork closed"
        log(keep, Entry(number=2))
        assert numbers(keep.table(Entry).scan()) == [1, 2]

    @requires(Capability.MULTI_PROCESS)
    def test_reopened_in_a_fork(self, place: Place, keep: Keep) -> None:
        """A forked child that opens the keep again writes beside its parent, and both are there."""
        log(keep, Entry(number=1))
        assert _in_a_fork(lambda: _opened_again(place)) == "2"
        log(keep, Entry(number=3))
        assert numbers(keep.table(Entry).scan()) == [1, 2, 3]


def _uses(keep: Keep) -> str:
    """What a child gets from its parent's handle."""
    said = []
    for use in (keep.table(Entry).list, lambda: log(keep, Entry(number=9))):
        try:
            use()
            said.append("nothing")
        except UsedAfterFork:
            said.append("UsedAfterFork")
    keep.close()
    return " ".join([*said, "closed"])


def _opened_again(place: Place) -> str:
    with place.open() as keep:
        return str(log(keep, Entry(number=2)).revision)


def _in_a_fork(act: Callable[[], str]) -> str:
    """What ``act()`` gives in a forked child, which must not fail."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: the point
        child = os.fork()
    if not child:
        _report(act, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        outcome, _, told = pipe.read().partition(" ")
    _, ended = os.waitpid(child, 0)
    assert outcome, f"a forked child ended with {os.waitstatus_to_exitcode(ended)}"
    assert outcome == "gave", f"a forked child failed with {told}"
    return told


def _report(act: Callable[[], str], writer: int) -> None:
    """End this (forked) process without any of its parent's goodbyes."""
    try:
        os.write(writer, f"gave {act()}".encode())
    except BaseException as error:  # noqa: BLE001  # nothing may unwind into the parent's frames
        os.write(writer, f"failed {type(error).__name__}: {error}".encode())
    finally:
        os._exit(0)
