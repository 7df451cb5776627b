#!/usr/bin/env python3
"""Measure backtest results on SQLite against pyarrow doing the same durable work, in the same run.

    python bench/backtests.py [--signals 1000000] [--json bench/results/backtests.json]

Raw is three Parquet files, zstd and synced, written and read by hand: without checks, digests,
metadata, or the spelling of the original JSON.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import raw_parquet
import results
import timing
from timing import Figure, race

import quantkeep
from quantkeep import Keep
from quantkeep.backtests import TABLES

TARGET = 1 / 0.85  # of the sum of the steps


def paths(keep: Keep, folder: Path, original: dict[str, Any], runs: int) -> Iterator[Figure]:
    """Save and load *original*, as JSON and as Arrow."""
    store, task = keep.backtests, original["task_id"]
    tables = raw_parquet.columns(original)
    size = len(json.dumps(original, separators=(",", ":")))
    signals = sum(len(symbol["signals"]) for symbol in original["symbols"])
    said = {name: value for name, value in original.items() if name != "symbols"}
    given = {**said, **{name: tables[name] for name in TABLES}}
    name = f"{signals:,} signals ({size / 1e6:,.1f} MB JSON)"

    def timed(what: str, ours: Any, raw: Any) -> Figure:
        return race(
            f"{what}, {name}", lambda run: ours, lambda run: raw,
            runs=runs, rows=signals, target=TARGET,
        )  # fmt: skip

    yield timed(
        "save from Arrow",
        lambda: store.save_result(given),
        lambda: raw_parquet.save(tables, folder),
    )
    yield timed(
        "save from JSON",
        lambda: store.save_result(original),
        lambda: raw_parquet.save(raw_parquet.columns(original), folder),
    )
    yield timed("load to Arrow", lambda: store.tables(task), lambda: raw_parquet.load(folder))
    yield timed(
        "load to JSON",
        lambda: store.get_result(task),
        lambda: raw_parquet.nested(raw_parquet.load(folder)),
    )
    print(
        f"{name}: ours {store.fetch(task).file_size or 0:,} bytes, "
        f"raw {raw_parquet.save(tables, folder):,}"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--signals", type=int, default=1_000_000, help="of the largest result")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    shapes = ((1_250, 720, 5, 30), (400_000, 80_000, 20, 5), (arguments.signals, 100_000, 20, 3))
    with (
        tempfile.TemporaryDirectory() as folder,
        quantkeep.open(f"sqlite:///{folder}/keep.db") as keep,
    ):
        for signals, points, symbols, runs in shapes:
            original = results.rounded(signals, points, symbols)
            for figure in paths(keep, Path(folder) / "raw", original, runs):
                timing.show(figure)
                figures.append(figure)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        timing.write(figures, arguments.json)


if __name__ == "__main__":
    main()
