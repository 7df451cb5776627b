"""The proof: what is stored is what an independent run, never interrupted, would have done."""

from collections.abc import Sequence
from typing import Any

import attrs

from quantkeep.records import Record
from quantkeep.tape import EquityPoint, PositionEvent, Trade
from quantkeep_plugins.demo.book import Book
from quantkeep_plugins.demo.prices import trading_days
from quantkeep_plugins.demo.simulator import Simulator


@attrs.define
class Run:
    """What a run did: all of its tape, and its book at the end."""

    trades: list[Trade] = attrs.field(factory=list)
    events: list[PositionEvent] = attrs.field(factory=list)
    equity: list[EquityPoint] = attrs.field(factory=list)
    book: Book = attrs.field(factory=Book)

    @property
    def busy(self) -> list[int]:
        """Numbers of the days with trades."""
        traded = {trade.timestamp.date() for trade in self.trades}
        days = (point.timestamp.date() for point in self.equity)
        return [number for number, day in enumerate(days) if day in traded]


@attrs.frozen
class Check:
    """One thing that had to be equal; *difference* is the first place where it is not."""

    what: str
    expected: int
    found: int
    difference: str | None = None

    @property
    def holds(self) -> bool:
        """Whether it was equal."""
        return self.difference is None


def uninterrupted(account: str, seed: int) -> Run:
    """The same run in one go: in this process, in memory, with nothing stored."""
    run, simulator = Run(), Simulator(account, seed)
    for day in trading_days():
        entries = simulator.trade(run.book, day)
        run.trades.extend(entries.trades)
        run.events.extend(entries.events)
        run.equity.append(entries.equity)
    return run


def compare(expected: Run, found: Run) -> list[Check]:
    """Trade by trade, event by event, point by point; then cash, positions and counters."""
    return [
        _log("trades", expected.trades, found.trades),
        _log("position events", expected.events, found.events),
        _log("equity points", expected.equity, found.equity),
        _book(expected.book, found.book),
    ]


def _log(what: str, expected: Sequence[Record], found: Sequence[Record]) -> Check:
    difference = _first_difference(expected, found) or _hole(found)
    return Check(what, len(expected), len(found), difference)


def _first_difference(expected: Sequence[Record], found: Sequence[Record]) -> str | None:
    for number, (wanted, stored) in enumerate(zip(expected, found, strict=False), start=1):
        if wanted != stored:  # every field; what the store adds beside them is not compared
            return f"number {number}: {_fields(wanted.as_dict(), stored.as_dict())}"
    if len(expected) != len(found):
        return f"{len(expected)} were expected and {len(found)} are stored"
    return None


def _hole(found: Sequence[Record]) -> str | None:
    """The store numbers a log without gaps: 1, 2, 3, ..."""
    revisions = [record.revision for record in found]
    return None if revisions == [*range(1, len(found) + 1)] else f"the revisions are {revisions}"


def _book(expected: Book, found: Book) -> Check:
    wanted, stored = attrs.asdict(expected, recurse=False), attrs.asdict(found, recurse=False)
    difference = _fields(wanted, stored) or None
    return Check("positions and cash", len(expected.positions), len(found.positions), difference)


def _fields(wanted: dict[str, Any], stored: dict[str, Any]) -> str:
    names = [name for name in wanted if wanted[name] != stored.get(name)]
    return "; ".join(f"{n} should be {wanted[n]!r} and is {stored.get(n)!r}" for n in names)
