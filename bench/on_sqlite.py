#!/usr/bin/env python3
"""Measure quantkeep on SQLite against sqlite3 doing the same durable work, in the same run.

    python bench/on_sqlite.py [--rows 1000000] [--json bench/results/sqlite.json]

Ratios are ours / raw, medians of interleaved pairs; targets are throughput ratios of the raw path,
turned round where they were said that way.
"""

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import raw_sqlite
import samples
import workloads
from timing import Figure
from workloads import Bulk

import quantkeep


def tape(folder: Path, rows: int) -> Iterator[Figure]:
    """Trades in, and out again as records: raw rows are made into trades by hand."""
    raw = raw_sqlite.Trades(folder / "tape.raw")
    bulks = (
        Bulk(100, 40, raw.extend, 1 / 0.85),
        Bulk(10_000, 7, raw.extend, 1 / 0.8),
        Bulk(rows, 1, raw.extend, 1 / 0.8),
    )
    since = samples.START + timedelta(minutes=10)
    with quantkeep.open(f"sqlite:///{folder}/tape.db") as keep:
        batches = workloads.Batches()
        yield from workloads.singles(keep, batches, raw.append, target=1.3, with_id=1.3)
        yield from workloads.bulks(keep, batches, bulks)
        yield from workloads.newest(keep, raw.newest)
        yield from workloads.window(keep, raw.between, since, timedelta(hours=6))


def states(folder: Path) -> Iterator[Figure]:
    for count, size in workloads.SIZES:
        raw = raw_sqlite.States(folder / f"state-{count}.raw")
        with quantkeep.open(f"sqlite:///{folder}/state-{count}.db") as keep:
            yield from workloads.states(keep, raw, count, size)


def opening(folder: Path) -> Iterator[Figure]:
    path = folder / "open.db"
    return workloads.opening(f"sqlite:///{path}", lambda: raw_sqlite.connect(path).close())


def main() -> None:
    said = workloads.options(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = (tape(folder, said.rows), states(folder), opening(folder))
        figures = workloads.measured(figure for part in parts for figure in part)
    workloads.written(figures, said)


if __name__ == "__main__":
    main()
