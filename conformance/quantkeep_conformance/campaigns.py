"""Campaigns: a child that writes is killed or made to fail, and what it left behind is examined."""

import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Final, Literal

import attrs

from quantkeep import Keep, QuantkeepError, Where
from quantkeep_conformance.children.writing import STREAMS
from quantkeep_conformance.places import Place
from quantkeep_conformance.processes import Child, Event
from quantkeep_conformance.records import Entry, Setting

LONG, _SHORT = 2000, 4  # operations of one child
_AWHILE: Final = 0.1  # seconds; a fast writer does many operations in it

Moment = Literal["open", "ready"]


@attrs.frozen
class Steps:
    """How often the failpoints are passed: by the first opening of a keep, and by operations."""

    opening: Counter[str]
    working: Counter[str]

    @classmethod
    def of(cls, place: Place) -> "Steps":
        """Found out by letting a child work at the fresh *place*."""
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "trace"
            campaign = Campaign(place, random.Random(0))
            campaign.work(_SHORT, failpoints="", when="open", trace=str(trace))
            passed = trace.read_text(encoding="utf-8").splitlines() if trace.exists() else []
        opening = [*takewhile(lambda name: name != "conformance.ready", passed)]
        return cls(Counter(opening), Counter(passed[len(opening) + 1 :]))


class Campaign:
    """Rounds of a writer that dies or fails, on one keep that must survive them all.

    Attributes:
        kills: how many children died by SIGKILL.
        acknowledged: how many operations children said were committed.
        errors: what children said of operations that failed.
        operations: the fewest and the most that a writer does before something is done to it.
    """

    operations: tuple[int, int] = (1, 8)

    def __init__(self, place: Place, draw: random.Random) -> None:
        self.place = place
        self.draw = draw
        self.kills = 0
        self.acknowledged = 0
        self.errors: list[Event] = []
        self._seconds = 0.0
        self._stored = 0  # operations of which everything is there

    # -- what is done to writers -------------------------------------------------------------------

    def kill_at_some_moment(self, *, thorough: bool = False) -> None:
        """Let a child write, kill it, and examine the keep; a *thorough* one also compacts it."""
        child = self._child(LONG, thorough=thorough)
        events = until_ready(child)
        begun = time.monotonic()
        events += self._at_work(child)
        child.kill()
        events += child.rest()
        self._seconds += time.monotonic() - begun
        self._examine(child, events)

    def _at_work(self, child: Child) -> list[Event]:
        """What a writer says of its first operations; ends in the midst of one that follows.

        Slow ones are waited for, or they would pass because they had nothing to lose.
        """
        begun, wanted = time.monotonic(), self.draw.randint(*self.operations)
        events = until_done(child, wanted)
        usual = (time.monotonic() - begun) / wanted
        time.sleep(self.draw.uniform(0, max(2 * usual, _AWHILE)))
        return events

    def work(self, operations: int = _SHORT, **told: object) -> None:
        """Let a child write, with failpoints armed as *told*, and examine the keep."""
        child = self._child(operations, thorough=True, **told)
        self._examine(child, child.rest())

    def _child(self, operations: int, **told: object) -> Child:
        start = self._stored
        return self.place.child("write", start=start, limit=start + operations, **told)

    # -- what must be there after it ---------------------------------------------------------------

    def _examine(self, child: Child, events: Iterable[Event]) -> None:
        acknowledged = [*self._heard(events)]
        code = child.wait()
        assert code in (0, -signal.SIGKILL), f"a writer ended with {child.complaint()}"
        self.kills += code != 0
        self.acknowledged += len(acknowledged)
        self._hold(self._reopened(), max(acknowledged, default=self._stored - 1) + 1)
        child.end()

    def _heard(self, events: Iterable[Event]) -> Iterable[int]:
        """The numbers of the acknowledged operations; errors are held against what came of them."""
        failed: dict[str, Event] = {}
        resolved: Event | None = None
        for event in events:
            if event["event"] == "error":
                self.errors.append(event)
                before = failed.setdefault(event["at"], event)
                if before["applied"] != "unknown":  # after that, no later error can tell
                    failed[event["at"]] = event
            elif event["event"] == "resolved":
                resolved = event
            elif event["event"] == "ack":
                _assert_resolved(resolved, done_before=event["replayed"])
                resolved = None
                _assert_truthful(failed.get("commit"), done_before=event["replayed"])
                _assert_truthful(failed.get("append"), done_before=event["again"])
                failed.clear()
                yield event["number"]

    def _reopened(self) -> Keep:
        try:
            return self.place.open()
        except QuantkeepError as error:
            raise AssertionError(f"the keep cannot be opened any more: {error!r}") from error

    def _hold(self, keep: Keep, acknowledged: int) -> None:
        """All that was acknowledged is there once, and perhaps one more that was under way."""
        with keep:
            live, paper, alone = (numbers_of(keep, mode) for mode in STREAMS)
            for found in (live, paper, alone):
                missing = sorted(set(range(acknowledged)) - set(found))
                assert not missing, f"lost after it was acknowledged: operations {missing[:10]}"
                assert found == [*range(len(found))], f"doubled or out of order: {found[-20:]}"
            assert paper == live, f"half there: {sorted(set(live) ^ set(paper))[:10]}"
            count = len(live)
            assert count <= acknowledged + 1, f"{count - acknowledged} operations nobody began"
            assert len(alone) <= count, "a later operation is there, and an earlier one is not"
            _hold_counter(keep, count)
            self._stored = len(alone)

    # -- what there is to show for it --------------------------------------------------------------

    def counts(self) -> dict[str, object]:
        """Kills, acknowledged operations, and what else there was."""
        counts: dict[str, object] = {"kills": self.kills, "acknowledged": self.acknowledged}
        if self._seconds:
            counts["seconds"] = round(self._seconds, 2)
        if self.errors:
            counts["errors"] = len(self.errors)
        return counts


class FailpointCampaign(Campaign):
    """Each failpoint that is passed, struck: those of an opening each in a place of its own."""

    def __init__(self, place: Place, draw: random.Random) -> None:
        super().__init__(place, draw)
        self.steps = Steps.of(place.another())
        self.struck = 0

    def strike_all(self, action: str) -> None:
        """Strike every failpoint once, at a random passing."""
        for name, times in self.steps.opening.items():
            self._strike_opening(self._armed(name, action, times))
        for name, times in self.steps.working.items():
            self.work(failpoints=self._armed(name, action, times), when="ready")
        self.struck += len(self.steps.opening) + len(self.steps.working)

    def _armed(self, name: str, action: str, times: int) -> str:
        """At one of the first passings, for a later one may not come another time."""
        return f"{name}={action}@{self.draw.randint(1, (times + 1) // 2)}"

    def _strike_opening(self, failpoints: str) -> None:
        fresh = Campaign(self.place.another(), self.draw)
        fresh.work(failpoints=failpoints, when="open")
        self.kills += fresh.kills
        self.acknowledged += fresh.acknowledged
        self.errors += fresh.errors

    def counts(self) -> dict[str, object]:
        passed = {*self.steps.opening, *self.steps.working}
        unreached = [name for name in self.place.claims.failpoints if name not in passed]
        more = {"not reached": ", ".join(unreached)} if unreached else {}
        return {"steps": len(passed), "struck": self.struck, **super().counts(), **more}


def numbers_of(keep: Keep, mode: str) -> list[int]:
    """The operations that one stream has entries of."""
    asked = Where("account", "==", "kill"), Where("mode", "==", mode)
    entries = keep.table(Entry).list(*asked)
    assert [e.revision for e in entries] == [*range(1, len(entries) + 1)], "revisions have gaps"
    return [entry.number for entry in entries]


def _hold_counter(keep: Keep, count: int) -> None:
    counter = keep.table(Setting).get("kill", "last")
    found = (counter.value + 1, counter.revision) if counter else (0, 0)
    assert found == (count, count), f"half there: {count} operations, counted as {found[0]}"
    for number in range(max(count - 2, 0), count):
        assert keep.resolve(f"op-{number}") is not None, f"operation {number} was forgotten"
    assert keep.resolve(f"op-{count}") is None, f"operation {count} is known, and not there"


def until_ready(child: Child) -> list[Event]:
    """What a writer says until it begins."""
    events = list[Event]()
    while not events or events[-1]["event"] != "ready":
        event = child.hear()
        assert event is not None, f"a writer cannot begin: {child.complaint()}"
        events.append(event)
    return events


def until_done(child: Child, count: int) -> list[Event]:
    """What a writer says until *count* more operations are acknowledged."""
    events = list[Event]()
    while count:
        event = child.hear()
        assert event is not None, f"a writer died: {child.complaint()}"
        events.append(event)
        count -= event["event"] == "ack"
    return events


def _assert_resolved(resolved: Event | None, *, done_before: bool) -> None:
    """What the store said had become of an operation must be right; trying again has shown it."""
    assert resolved is None or resolved["applied"] == done_before, (
        f"an operation was resolved as {'' if resolved['applied'] else 'not '}applied, but it "
        f"{'was' if done_before else 'was not'}"
    )


def _assert_truthful(error: Event | None, *, done_before: bool) -> None:
    """An error that says whether it was applied must be right; the second try has shown it."""
    if error is not None and error["applied"] != "unknown":
        assert (error["applied"] == "yes") == done_before, (
            f"{error['type']} said applied={error['applied']!r}, but its {error['at']} "
            f"{'was' if done_before else 'was not'} applied"
        )
