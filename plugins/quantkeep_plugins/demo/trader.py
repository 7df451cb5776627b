"""The trading process: what a user's own program would look like.

The order of its two commits is what makes it safe to kill at any moment: first the tape, then the
session, which says how much of the tape is in it (Z-8). If it dies between them, the tape is ahead:
the resumed process decides the day anew, finds on the tape what was already filled, and appends
nothing twice, because the entries have the same ``uid`` (Z-31).
"""

import signal
import sys
from decimal import Decimal

import quantkeep
from quantkeep import Keep, NotFound
from quantkeep.sessions import Session, SnapshotType
from quantkeep.tape import Trade
from quantkeep_plugins.demo.book import Book, Position
from quantkeep_plugins.demo.kills import Job, Report
from quantkeep_plugins.demo.prices import trading_days
from quantkeep_plugins.demo.simulator import Simulator

TYPES = (Book, Position)


def work(keep: Keep, job: Job) -> None:
    """Start the run, or go on where the last process was killed."""
    session = _session(keep, job.account)
    book: Book = session.setdefault("book", Book())
    ahead = [*session.events]
    filled = {e.uid: Decimal(str(e.fill_price)) for e in ahead if isinstance(e, Trade) and e.uid}
    simulator = Simulator(job.account, job.seed, filled)
    _say(Report("begun", book.next_day, len(ahead)))
    for day in trading_days()[book.next_day :]:
        entries = simulator.trade(book, day)
        receipt = keep.tape.append(entries.trades, entries.events, entries.equity)
        _say(Report("taped", day.number, len(entries) - receipt.added))
        if job.hold is not None and day.number >= job.hold:
            signal.pause()  # to be killed here
        session.loop_count += 1
        _save(keep, session, snapshot="on_trade" if entries.trades else None)
        _say(Report("saved", day.number))
    session.stop()


def _session(keep: Keep, account: str) -> Session:
    """The session as it was last saved, and in its events what the tape has beyond it."""
    try:
        return keep.sessions.resume(account)
    except NotFound:
        return keep.sessions.start(account, mode="paper", account=account)


def _save(keep: Keep, session: Session, snapshot: SnapshotType | None = None) -> None:
    """Save what changed, and in the same commit how much of the tape is in it."""
    watermarks = keep.tape.watermarks(mode="paper", account=session.account)
    session.save(watermarks=watermarks, snapshot=snapshot)


def _say(report: Report) -> None:
    print(report, flush=True)  # noqa: T201  # to the process that kills this one


def main() -> None:
    """Do the job that standard input says."""
    job = Job.loads(sys.stdin.readline())
    with quantkeep.open(job.url, types=TYPES) as keep:
        work(keep, job)


if __name__ == "__main__":
    main()
