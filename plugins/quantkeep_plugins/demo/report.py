"""What the demo tells while it runs: what is about to happen, and how each process ended."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from quantkeep.url import Url
from quantkeep_plugins.demo.kills import Job, Life
from quantkeep_plugins.demo.prices import Day
from quantkeep_plugins.demo.proof import Check

Say = Callable[[str], object]


def introduce(job: Job, days: Sequence[Day], say: Say) -> None:
    """What is about to happen."""
    symbols = ", ".join(sorted(days[0].bars))
    say(f"Paper trading {symbols} on {len(days)} real days, {days[0].date} to {days[-1].date}.")
    say("Prices: Quandl WIKI, public domain, by way of bokeh_sampledata.")
    say(f"Account {job.account} in {Url.parse(job.url)}, seed {job.seed}.\n")


def tell(life: Life, days: Sequence[Day], say: Say) -> None:
    """How one process began and ended."""
    first = life.reports[0]
    say(f"process {life.pid} {'resumes at' if first.day else 'starts with'} day {first.day + 1}")
    if first.known:
        said = "1 entry" if first.known == 1 else f"{first.known} entries"
        again = sum(report.known for report in life.reports[1:])
        say(f"  the tape is {said} ahead of the session; appended again, and not added: {again}")
    say(f"  {_ending(life, days)}")


def _ending(life: Life, days: Sequence[Day]) -> str:
    last = life.reports[-1]
    day = f"day {last.day + 1} ({days[last.day].date})"
    if life.kill is None:
        return f"comes to the end, {day}"
    if life.kill.event == "taped":
        return f"SIGKILL between tape and session: {day} is on the tape, its session is not saved"
    reached = "is on the tape" if last.event == "taped" else "is saved"
    when = f"{life.kill.delay * 1000:.1f} ms after the save of day {life.kill.day + 1}"
    return f"SIGKILL {when}: {day} {reached}"


def conclude(checks: Sequence[Check], job: Job, folder: Path, say: Say) -> None:
    """The answer, and where to look further."""
    for check in checks:
        if not check.holds:
            say(f"{check.what}: {check.difference}")
    good = all(check.holds for check in checks)
    say("\nNothing was lost, nothing was doubled." if good else "\nTHE PROOF FAILED.")
    url = Url.parse(job.url)
    say(f"\nThe equity curve is drawn in {folder / 'equity.svg'}. The keep is still there:")
    for command in ("trades", "equity", "sessions", "verify"):
        account = f" --account {job.account}" if command in ("trades", "equity") else ""
        say(f"  {_program()} {command} {url}{account}")


def _program() -> str:
    """How the command line can be called from here."""
    return "quantkeep" if shutil.which("quantkeep") else f"{sys.executable} -m quantkeep"
