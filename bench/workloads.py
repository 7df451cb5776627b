"""What every backend is asked in the same words; what stands against it is given by hand."""

import argparse
import copy
import functools
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count as numbers
from pathlib import Path
from typing import Any, Protocol

import attrs
import samples
import timing
from timing import Figure, Work, race

import quantkeep
from quantkeep import Keep
from quantkeep.tape import Trade

Position = dict[str, Any]
APART = 1 << 20  # first numbers of batches: no two share an id
SIZES = ((14, "10 KB"), (1_400, "1 MB"))  # positions, and what they come to
PEAK = """
import re
from pathlib import Path

print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""

# -- the tape --------------------------------------------------------------------------------------


@attrs.frozen
class Bulk:
    """Many trades in one append, and how that is done by hand."""

    rows: int
    runs: int
    raw: Callable[[list[Trade]], object]
    target: float
    way: str = ""


class Batches:
    """Trades that were never appended before."""

    def __init__(self) -> None:
        self._firsts = numbers(step=APART)

    def fresh(self, count: int) -> list[Trade]:
        """*count* of them."""
        return samples.trades(count, next(self._firsts))


def singles(
    keep: Keep,
    batches: Batches,
    raw: Callable[[Trade], object],
    *,
    target: float,
    with_id: float,
    way: str = "",
) -> Iterator[Figure]:
    """One trade at a time, without an operation id and with one."""
    plain = batches.fresh(2_000)
    yield race(
        f"append 1 trade{way}",
        lambda run: lambda: keep.tape.append(plain[run]),
        lambda run: lambda: raw(plain[run]),
        runs=400, rows=1, target=target,
    )  # fmt: skip
    named = [trade.replace(uid=f"op-{n}") for n, trade in enumerate(plain)]
    yield race(
        f"append 1 trade with an operation id{way}",
        lambda run: lambda: keep.tape.append(named[run], op_id=f"op-{run}"),
        lambda run: lambda: raw(named[run]),
        runs=400, rows=1, target=with_id,
    )  # fmt: skip


def bulks(keep: Keep, batches: Batches, asked: Iterable[Bulk]) -> Iterator[Figure]:
    """By the hundred, by ten thousand, and all at once."""
    for bulk in asked:
        yield _bulk(keep, batches, bulk)


def _bulk(keep: Keep, batches: Batches, bulk: Bulk) -> Figure:
    made = [batches.fresh(bulk.rows) for _ in range(bulk.runs + timing.warm_ups(bulk.runs))]
    return race(
        f"append {bulk.rows:,} trades{bulk.way}",
        lambda run: lambda: keep.tape.append(made[run]),
        lambda run: lambda: bulk.raw(made[run]),
        runs=bulk.runs, rows=bulk.rows, target=bulk.target,
    )  # fmt: skip


def newest(
    keep: Keep, raw: Callable[[int], Sequence[Trade]], *, target: float = 1.3
) -> Iterator[Figure]:
    """The last hundred, as records on both sides."""
    yield race(
        "newest 100 trades",
        lambda run: lambda: keep.tape.trades(mode="paper", account="default", limit=100),
        lambda run: lambda: raw(100),
        runs=50, rows=100, target=target,
    )  # fmt: skip


def window(
    keep: Keep,
    raw: Callable[[str, datetime, datetime], Sequence[Trade]],
    since: datetime,
    length: timedelta,
    *,
    target: float = 1.3,
) -> Iterator[Figure]:
    """One symbol in a range of time, as records on both sides."""
    until = since + length
    asked: dict[str, Any] = {"mode": "paper", "symbol": "BTC/USDT", "since": since, "until": until}
    found = len(keep.tape.trades(**asked))
    hours = length // timedelta(hours=1)
    yield race(
        f"one symbol, {hours} hours ({found:,} trades)",
        lambda run: lambda: keep.tape.trades(**asked),
        lambda run: lambda: raw("BTC/USDT", since, until),
        runs=15, rows=found, target=target,
    )  # fmt: skip


# -- session state ---------------------------------------------------------------------------------


class RawState(Protocol):
    """Session state kept by hand."""

    def save(self, positions: Mapping[str, Position], tick: int | None = None) -> object:
        """Write *positions* and the engine's *tick*, and count the loop, at once."""

    def load(self) -> object:
        """All of it, as it was given."""


def states(
    keep: Keep, raw: RawState, count: int, size: str, *, everything: float = 1.3
) -> Iterator[Figure]:
    """One position changed and saved; all of it saved; taken up again; looked at."""
    held = samples.positions(count)
    session = keep.sessions.start("bench", mode="paper")
    session.snapshot_every = None
    session["positions"] = samples.positions(count)
    session["engine"] = {"tick": 0}
    session.save()
    raw.save(held)

    def one(run: int) -> tuple[str, Position]:
        key = f"S{run * 37 % count}/USDT"
        return key, {**copy.deepcopy(held[key]), "mark_price": run / 7}

    def save_one(run: int) -> Work:
        key, position = one(run)

        def save() -> None:
            session["positions"][key] = position
            session["engine"]["tick"] = run
            session.save()

        return save

    def raw_one(run: int) -> Work:
        changed = dict([one(run)])
        return lambda: raw.save(changed, run)

    def every(run: int) -> dict[str, Position]:
        return {key: {**copy.deepcopy(p), "mark_price": run / 3} for key, p in held.items()}

    def save_every(run: int) -> Work:
        positions = every(run)

        def save() -> None:
            session["positions"] = positions
            session.save()

        return save

    def raw_every(run: int) -> Work:
        positions = every(run)
        return lambda: raw.save(positions)

    def raw_resume(run: int) -> Work:
        def again() -> None:
            raw.save({}, run)  # whoever goes on says so first, as durably as we do
            raw.load()

        return again

    resumed = [session]

    def resume(_: int) -> Work:
        resumed.pop().close()  # which is a commit of its own, and not what is measured

        def again() -> None:
            resumed.append(keep.sessions.resume("bench"))
            assert len(resumed[-1]["positions"]) == count

        return again

    path = f"save {size} state, one position changed"
    yield race(path, save_one, raw_one, runs=200, rows=1, target=1.5)
    path = f"save {size} state, everything changed"
    yield race(path, save_every, raw_every, runs=10, rows=count, target=everything)
    session.stop()
    path = f"resume {size} state"
    yield race(path, resume, raw_resume, runs=10, rows=count, target=3.0)
    path = f"look at {size} state"
    look = functools.partial(keep.sessions.state, "bench")
    yield race(path, lambda _: look, lambda _: raw.load, runs=10, rows=count, target=3.0)


# -- opening ---------------------------------------------------------------------------------------


def opening(url: str, raw: Work) -> Iterator[Figure]:
    """An existing keep, in a process that has imported what it needs."""
    quantkeep.open(url).close()
    yield race(
        "open an existing keep",
        lambda run: lambda: quantkeep.open(url).close(),
        lambda run: raw,
        runs=20, rows=0, target=20.0,
    )  # fmt: skip


# -- memory ----------------------------------------------------------------------------------------


def peak_memory(program: str, *arguments: str) -> int:
    """Bytes that a process of its own took to run *program*, at most.

    Not by ``ru_maxrss``, which a child has of the process that started it.
    """
    said = subprocess.run(
        [sys.executable, "-c", program + PEAK, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(said.stdout.split()[-1]) * 1024


# -- the program -----------------------------------------------------------------------------------


def options(description: str | None, rows: int = 1_000_000) -> argparse.ArgumentParser:
    """What every one of these programs can be told."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=rows, help="of the largest append")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser


def measured(figures: Iterable[Figure]) -> list[Figure]:
    """Each shown as it comes."""
    kept = []
    for figure in figures:
        timing.show(figure)
        kept.append(figure)
    return kept


def written(figures: list[Figure], said: argparse.Namespace, **more: Any) -> None:
    """Keep the figures, if that was asked for."""
    if said.json:
        said.json.parent.mkdir(parents=True, exist_ok=True)
        timing.write(figures, said.json, rows=said.rows, **more)
