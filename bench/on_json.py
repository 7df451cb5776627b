#!/usr/bin/env python3
"""Measure quantkeep on JSON files against JSON lines written by hand, in the same run.

    python bench/on_json.py [--rows 1000000] [--json bench/results/json.json]

Ratios are ours / raw, medians of interleaved pairs. The keep is held in memory, so it is read
faster than a file, opened slower, and takes what it holds: the last figures say how much.
"""

import copy
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import raw_jsonl
import samples
import timing
import workloads
from timing import Figure, race

import quantkeep
from quantkeep import Keep
from quantkeep.tape import Trade


def appends(keep: Keep, raw: raw_jsonl.Trades, rows: int) -> Iterator[Figure]:
    """One by one, by the hundred, by ten thousand, and all at once."""
    made = iter(range(0, 1 << 40, 1 << 20))
    for count, runs, target in (
        (1, 400, 1.25),
        (100, 40, 1.25),
        (10_000, 7, 1.25),
        (rows, 1, 1.25),
    ):
        batches = [samples.trades(count, next(made)) for _ in range(runs + timing.warm_ups(runs))]
        yield race(
            f"append {count:,} trade{'s' * (count > 1)}",
            lambda run, batches=batches: lambda: keep.tape.append(batches[run]),  # type: ignore[misc]
            lambda run, batches=batches: lambda: raw.extend(batches[run]),  # type: ignore[misc]
            runs=runs, rows=count, target=target,
        )  # fmt: skip


def reads(keep: Keep, raw: raw_jsonl.Trades) -> Iterator[Figure]:
    """As records on both sides."""
    rows = keep.tape.sizes()["trades"]
    yield race(
        f"full scan ({rows:,} trades)",
        lambda run: lambda: sum(1 for _ in keep.tape.scan(Trade)),
        lambda run: lambda: sum(1 for _ in raw.all()),
        runs=1, rows=rows, target=1.0,
    )  # fmt: skip
    since = keep.tape.trades(mode="paper", account="default", limit=5_000)[0].timestamp
    until = since + timedelta(days=1)
    found = len(keep.tape.trades(mode="paper", symbol="BTC/USDT", since=since, until=until))
    yield race(
        f"one symbol, one day ({found:,} trades)",
        lambda run: lambda: keep.tape.trades(
            mode="paper", symbol="BTC/USDT", since=since, until=until
        ),
        lambda run: lambda: raw.between("BTC/USDT", since, until),
        runs=3, rows=found, target=1.0,
    )  # fmt: skip
    yield race(
        "newest 100 trades",
        lambda run: lambda: keep.tape.trades(mode="paper", account="default", limit=100),
        lambda run: lambda: raw.newest(100),
        runs=50, rows=100, target=1.0,
    )  # fmt: skip


def states(folder: Path) -> Iterator[Figure]:
    """One position of many changed, and saved; by hand, the whole file is written again."""
    for count, size in ((14, "10 KB"), (1_400, "1 MB")):
        with quantkeep.open(f"json:///{folder}/state-{count}") as keep:
            session = keep.sessions.start("bench", mode="paper")
            session.snapshot_every = None
            held: dict[str, Any] = samples.positions(count)
            session["positions"] = copy.deepcopy(held)
            session.save()

            def ours(run: int, session: Any = session, held: Any = held) -> timing.Work:
                key = f"S{run * 37 % len(held)}/USDT"
                position = {**copy.deepcopy(held[key]), "mark_price": run / 7}

                def save() -> None:
                    session["positions"][key] = position
                    session.save()

                return save

            def by_hand(run: int, held: Any = held, count: int = count) -> timing.Work:
                held[f"S{run * 37 % len(held)}/USDT"]["mark_price"] = run / 7
                return lambda: raw_jsonl.save(folder / f"state-{count}.json", held)

            yield race(
                f"save {size} state, one position changed",
                ours, by_hand, runs=200, rows=1, target=1.3,
            )  # fmt: skip
            session.stop()


def openings(folder: Path, commits: int) -> Iterator[Figure]:
    """A keep of many small commits, before and after they were folded into records."""
    url, path = f"json:///{folder}/many?compact_above=0", folder / "many.raw"
    raw = raw_jsonl.Trades(path)
    trades = samples.trades(commits)
    with quantkeep.open(url) as keep:
        for trade in trades:
            keep.tape.append(trade)
    raw.extend(trades)
    for state in ("before", "after"):
        yield race(
            f"open {commits:,} commits, {state} compaction",
            lambda run: lambda: quantkeep.open(url).close(),
            lambda run: lambda: [*raw.all()],
            runs=5, rows=commits, target=2.0,
        )  # fmt: skip
        with quantkeep.open(url) as keep:
            keep.backend.compact()


def tape(folder: Path, rows: int) -> Iterator[Figure]:
    """Trades in, and out again; then the keep is opened by a process of its own."""
    url = f"json:///{folder}/tape"
    with quantkeep.open(url) as keep:
        raw = raw_jsonl.Trades(folder / "tape.raw")
        yield from appends(keep, raw, rows)
        yield from reads(keep, raw)
        stored = keep.tape.sizes()["trades"]
    bare, held = workloads.peak_memory(IMPORT), workloads.peak_memory(OPEN, url)
    yield Figure(
        path=f"peak memory, opening {stored:,} trades, against a kilobyte each",
        ours=(held - bare) / 1e6, raw=stored / 1e3, ratio=(held - bare) / stored / 1e3,
        runs=1, rows=stored, target=1.0, unit="MB",
    )  # fmt: skip


IMPORT = "import quantkeep\n"
OPEN = "import sys, quantkeep\nquantkeep.open(sys.argv[1]).close()\n"


def main() -> None:
    options = workloads.options(__doc__)
    options.add_argument("--commits", type=int, default=10_000, help="of the keep that is opened")
    said = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = (states(folder), openings(folder, said.commits), tape(folder, said.rows))
        figures = workloads.measured(figure for part in parts for figure in part)
    workloads.written(figures, said)


if __name__ == "__main__":
    main()
