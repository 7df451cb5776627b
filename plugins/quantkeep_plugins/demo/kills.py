"""Runs the trader in processes of its own, and kills them: SIGKILL, from outside, unannounced."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random
from threading import Timer
from typing import IO, Final, Literal

import attrs

from quantkeep.errors import QuantkeepError

PATIENCE: Final = 120.0  # seconds; a trader that takes longer hangs
SPARED: Final = 20  # days at the end, so that a late kill still finds somebody to kill


class TraderFailed(QuantkeepError):
    """The trading process ended by itself, and not well."""


@attrs.frozen
class Job:
    """What a trader is told on its standard input: not as arguments, for URLs hold passwords.

    Attributes:
        hold: the first day from this one on, it stands still between the tape and the session, to
            be killed there.
    """

    url: str
    account: str
    seed: int
    hold: int | None = None

    def dumps(self) -> str:
        """As one line."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def loads(cls, line: str) -> "Job":
        """From one line."""
        return cls(**json.loads(line))


@attrs.frozen
class Report:
    """What a trader says on its standard output, a line for each step.

    Attributes:
        event: ``begun``; ``taped``: the day's entries are on the tape; ``saved``: the session too.
        day: number of the day, of ``begun`` the first one.
        known: of ``begun``, entries the tape has beyond the session; of ``taped``, entries that
            were on the tape already, and were not added again.
    """

    event: Literal["begun", "taped", "saved"]
    day: int
    known: int = 0

    def __str__(self) -> str:
        return f"{self.event} {self.day} {self.known}"

    @classmethod
    def understood(cls, line: str) -> "Report":
        """The report that *line* is."""
        event, day, known = line.split()
        return cls(event, int(day), int(known))  # type: ignore[arg-type]  # it is ours


@attrs.frozen
class Kill:
    """When to kill: so many seconds after the trader reports *event* of *day*, or of a later one.

    (A later one, because the kill before this one may have come later than planned.)
    """

    event: Literal["taped", "saved"]
    day: int
    delay: float = 0.0

    def meets(self, report: Report) -> bool:
        """Whether it is time."""
        return report.event == self.event and report.day >= self.day


@attrs.frozen
class Life:
    """One process of the trader; *kill*, as it happened, is ``None`` if it came to the end."""

    pid: int
    reports: Sequence[Report]
    kill: Kill | None


def planned(count: int, days: int, busy: Sequence[int], luck: Random) -> list[Kill]:
    """*count* kills, in order: half of them in the worst place, the others anywhere.

    The worst place is between tape and session, on one of the *busy* days, when there were trades.
    """
    worst = luck.sample(busy, min(count // 2, len(busy)))
    others = luck.sample([*set(range(days - SPARED)) - {*worst}], count - len(worst))
    kills = [Kill("taped", day) for day in worst]
    kills += [Kill("saved", day, luck.uniform(0, 0.01)) for day in others]
    return sorted(kills, key=lambda kill: kill.day)


def lives(job: Job, kills: Sequence[Kill]) -> Iterator[Life]:
    """Let the trader do *job*, killed by each of *kills*, until it comes to the end.

    Raises:
        TraderFailed: it ended by itself before, or hangs.
    """
    for kill in (*kills, None):
        held = kill.day if kill and kill.event == "taped" else None
        life = _live(attrs.evolve(job, hold=held), kill)
        yield life
        if life.kill is None:  # it was faster than what was left of the kills
            return


def _live(job: Job, kill: Kill | None) -> Life:
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as complaints,
        _started(job, complaints) as it,
    ):
        assert it.stdout is not None
        reports, struck = [], None
        for line in it.stdout:
            reports.append(Report.understood(line))
            if kill and not struck and kill.meets(reports[-1]):
                time.sleep(kill.delay)
                it.kill()
                struck = attrs.evolve(kill, day=reports[-1].day)
        code = it.wait()
        if struck and code == 0:  # it came to its end before the signal came
            struck = None
        if code != (-signal.SIGKILL if struck else 0):
            raise TraderFailed(f"the trader ended with code {code}: {_last_line(complaints)}")
        return Life(it.pid, reports, struck)


def _last_line(complaints: IO[str]) -> str:
    """Of a traceback, what was raised."""
    complaints.seek(0)
    return next(reversed(complaints.read().split("\n")[:-1]), "without a word")


@contextmanager
def _started(job: Job, complaints: IO[str]) -> Iterator["subprocess.Popen[str]"]:
    """The trader's process; dead when the block ends, whatever happens."""
    command = [sys.executable, "-m", "quantkeep_plugins.demo.trader"]
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603  # ourselves
        command, stdin=pipe, stdout=pipe, stderr=complaints, text=True
    ) as process:
        hanging = Timer(PATIENCE, process.kill)
        hanging.start()
        try:
            _tell(process, job)
            yield process
        finally:
            hanging.cancel()
            process.kill()


def _tell(process: "subprocess.Popen[str]", job: Job) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # dead already: its exit code will tell
        pipe.write(job.dumps() + "\n")
