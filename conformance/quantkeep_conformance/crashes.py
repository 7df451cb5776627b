"""Campaigns against the server of a backend: it is killed in the midst of commits."""

import time

from quantkeep import Keep
from quantkeep_conformance.campaigns import LONG, Campaign, numbers_of, until_ready
from quantkeep_conformance.children.writing import STREAMS
from quantkeep_conformance.processes import Child, Event

PATIENCE = 10.0  # seconds for a writer to find its server again


class CrashCampaign(Campaign):
    """Rounds in which the server dies and comes back, while a writer goes on trying.

    Attributes:
        crashes: how many there were.
    """

    crashes = 0
    operations = (1, 30)

    def crash_at_some_moment(self) -> None:
        """Let a child write through a crash of the server, and examine the keep."""
        child = self._child(LONG, thorough=False, patience=2 * PATIENCE)
        begun = time.monotonic()
        events = until_ready(child) + self._at_work(child)
        self._crash()
        events += _until_it_goes_on(child)
        child.kill()
        events += child.rest()
        self._seconds += time.monotonic() - begun
        self._examine(child, events)

    def _crash(self) -> None:
        self.place.server.crash()
        self.place.server.start()
        self.crashes += 1

    def counts(self) -> dict[str, object]:
        unknown = sum(error["applied"] == "unknown" for error in self.errors)
        return {"crashes": self.crashes, **super().counts(), "outcomes unknown": unknown}


def _until_it_goes_on(child: Child) -> list[Event]:
    """What a writer has said, and says until it has done something more."""
    events, until = child.said_already(), time.monotonic() + PATIENCE
    while (event := child.hear()) is not None:
        events.append(event)
        if event["event"] == "ack":
            return events
        assert time.monotonic() < until, "a writer does not recover from a crash of its server"
    raise AssertionError(f"a writer did not survive its server: {child.complaint()}")


class LosingCampaign(CrashCampaign):
    """As it, for a level below the server's crash: the newest may be lost, and nothing else.

    Attributes:
        lost: how many acknowledged operations were.
    """

    lost = 0

    def crash_at_some_moment(self) -> None:
        child = self._child(LONG, thorough=False)
        events = until_ready(child) + self._at_work(child)
        child.kill()
        events += child.rest()
        self._crash()
        self._examine(child, events)

    def _hold(self, keep: Keep, acknowledged: int) -> None:
        there = min(acknowledged, *(len(numbers_of(keep, mode)) for mode in STREAMS))
        super()._hold(keep, there)
        self.lost += acknowledged - there

    def counts(self) -> dict[str, object]:
        return {**super().counts(), "acknowledged and lost": self.lost}
