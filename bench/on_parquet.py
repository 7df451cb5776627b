#!/usr/bin/env python3
"""Measure quantkeep on Parquet against pyarrow doing the same durable work, in the same run.

    python bench/on_parquet.py [--rows 1000000] [--json bench/results/parquet.json] [--memory]

Ratios are ours / raw, medians of interleaved pairs; targets are ratios to stay under. By hand, an
append is a synced Parquet file; nothing there finds duplicates, numbers rows or proves what it
read.
"""

import argparse
import copy
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import raw_segments
import samples
import timing
import workloads
from timing import Figure, race

import quantkeep
from quantkeep import Keep, Query, Where
from quantkeep.tape import Trade

T = TypeVar("T")
SPEED: Final = 1 / 0.85  # of the raw driver, less what safety may cost
PAPER = (Where("mode", "==", "paper"), Where("account", "==", "default"))


class Coming:
    """Trades that nobody has seen: later than all before, and under ids that ascend."""

    def __init__(self) -> None:
        self._next = 0

    def trades(self, count: int) -> Callable[[int], list[Trade]]:
        """Portions of *count*, one for each run; asked for again, a run has the same."""
        return self._portions(lambda: samples.trades(count, self._after(count)))

    def tables(self, count: int) -> Callable[[int], pa.Table]:
        """The same as tables."""
        return self._portions(lambda: raw_segments.table(samples.trades(count, self._after(count))))

    def _after(self, count: int) -> int:
        self._next += count
        return self._next - count

    @staticmethod
    def _portions(made: Callable[[], T]) -> Callable[[int], T]:
        known: dict[int, T] = {}

        def portion(run: int) -> T:
            if run not in known:
                known.clear()
                known[run] = made()
            return known[run]

        return portion


def appends(keep: Keep, raw: raw_segments.Trades, rows: int) -> Iterator[Figure]:
    """One by one, by the hundred, by ten thousand; and all at once, from Arrow."""
    coming = Coming()
    for count, runs, target in ((1, 300, 1.25), (100, 30, SPEED), (10_000, 7, SPEED)):
        yield _records(keep, raw, coming.trades(count), count, runs, target)
    yield _records(keep, raw, coming.trades(rows), rows, 1, SPEED)
    yield _arrow(keep, raw, coming.tables(rows), rows, "from Arrow")
    among = partial(_among, coming.tables(rows))
    yield _arrow(keep, raw, among, rows, "from Arrow, ids among others")


def _records(
    keep: Keep,
    raw: raw_segments.Trades,
    trades: Callable[[int], list[Trade]],
    rows: int,
    runs: int,
    target: float,
) -> Figure:
    return race(
        f"append {rows:,} trade{'s' * (rows > 1)}",
        lambda run: partial(keep.tape.append, trades(run)),
        lambda run: partial(raw.extend, trades(run)),
        runs=runs, rows=rows, target=target,
    )  # fmt: skip


def _arrow(
    keep: Keep, raw: raw_segments.Trades, tables: Callable[[int], pa.Table], rows: int, said: str
) -> Figure:
    return race(
        f"append {rows:,} trades {said}",
        lambda run: partial(_append_arrow, keep, tables(run)),
        lambda run: partial(raw.write, tables(run)),
        runs=3, rows=rows, target=SPEED,
    )  # fmt: skip


def _among(tables: Callable[[int], pa.Table], run: int) -> pa.Table:
    """A table under ids that lie between those of the other tables."""
    table = tables(run)
    place = table.column_names.index("uid")
    numbers = pa.array(range(table.num_rows), pa.int64()).cast(pa.string())
    uids = pc.binary_join_element_wise("trade-", pc.utf8_reverse(numbers), f"{run}", "")
    return table.set_column(place, table.schema.field(place), uids.cast(table["uid"].type))


def _append_arrow(keep: Keep, table: pa.Table) -> None:
    trades = keep.table(Trade)
    keep.commit(trades.append_arrow(table))


def reads(keep: Keep, raw: raw_segments.Trades, state: str) -> Iterator[Figure]:
    """Arrow on both sides, and the newest as records."""
    trades = keep.table(Trade)
    rows = trades.count()
    yield race(
        f"full scan, {rows:,} trades, {state}",
        lambda run: lambda: trades.arrow(batch_rows=1 << 16).read_all(),
        lambda run: raw.read,
        runs=3, rows=rows, target=SPEED,
    )  # fmt: skip
    latest = trades.last(*PAPER, order=("timestamp",))
    assert latest is not None
    until = latest.timestamp - timedelta(hours=6)
    since = until - timedelta(days=1)
    day = Query(where=(*PAPER, Where("symbol", "==", "BTC/USDT"),
                       Where("timestamp", ">=", since), Where("timestamp", "<", until)),
                order=("timestamp",))  # fmt: skip
    found = trades.arrow(day).read_all().num_rows
    assert found == raw.between("BTC/USDT", since, until).num_rows
    yield race(
        f"one symbol, one day ({found:,} trades), {state}",
        lambda run: lambda: trades.arrow(day).read_all(),
        lambda run: lambda: raw.between("BTC/USDT", since, until),
        runs=7, rows=found, target=1.0,
    )  # fmt: skip
    newest = Query(where=PAPER, order=("timestamp",), limit=100, take="last")
    yield race(
        f"newest 100 trades, {state}",
        lambda run: lambda: trades.arrow(newest).read_all(),
        lambda run: lambda: raw.newest(100),
        runs=10, rows=100, target=3.0,
    )  # fmt: skip


def saves(folder: Path) -> Iterator[Figure]:
    """One changed position of 14; by hand, the whole state as a synced file of JSON."""
    keep = quantkeep.open(f"parquet:///{folder}/state")
    session = keep.sessions.start("bench", mode="paper")
    session.snapshot_every = None
    held = samples.positions(14)
    session["positions"] = samples.positions(14)
    session.save()
    path = folder / "state.json"

    def change(run: int) -> timing.Work:
        key = f"S{run * 37 % 14}/USDT"

        def save() -> None:
            session["positions"][key] = {**copy.deepcopy(held[key]), "mark_price": run / 7}
            session.save()

        return save

    yield race(
        "save 10 KB state, one position changed",
        change, lambda run: lambda: _replace(path, json.dumps(held).encode()),
        runs=150, rows=1, target=1.5,
    )  # fmt: skip
    keep.close()


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def opening(folder: Path, commits: int) -> Iterator[Figure]:
    """Small commits, before and after they are compacted; by hand, the files of the log read."""
    url, logs = f"parquet:///{folder}/many", folder / "many" / "_log"
    with quantkeep.open(url) as keep:
        for trade in samples.trades(commits):
            keep.tape.append(trade)
    for state, target in (("before compaction", 10.0), ("after compaction", 0.2)):
        yield race(
            f"open a keep of {commits:,} commits, {state}",
            lambda run: lambda: quantkeep.open(url).close(),
            lambda run: lambda: [path.read_bytes() for path in logs.iterdir()],
            runs=3, rows=commits, target=target,
        )  # fmt: skip
        with quantkeep.open(url) as keep:
            keep.backend.compact()


# -- memory ----------------------------------------------------------------------------------------


def memory(folder: Path, rows: int) -> Iterator[Figure]:
    """The peak of a process that streams ten times *rows*, and of one that streams *rows*."""
    table = raw_segments.table(samples.trades(rows))
    url = f"parquet:///{folder}/stream"
    peaks = []
    with quantkeep.open(url) as keep:
        for portion in range(10):
            _append_arrow(keep, _later(table, portion))
            if portion in (0, 9):
                keep.backend.compact()
                peaks.append(workloads.peak_memory(STREAM, url) / 1e6)
    yield Figure(
        path=f"peak memory, streaming {10 * rows:,} rows against {rows:,}",
        ours=peaks[1], raw=peaks[0], ratio=peaks[1] / peaks[0],
        runs=1, rows=10 * rows, target=1.2, unit="MB",
    )  # fmt: skip


def _later(table: pa.Table, portion: int) -> pa.Table:
    """The same trades, told later and under ids behind those of earlier portions."""
    uids = pc.binary_join_element_wise(str(portion), table["uid"].cast(pa.string()), "-")
    at = table["timestamp"]
    span = pc.subtract(pc.max(at), pc.min(at)).cast(pa.int64()).as_py() + 1
    later = pc.add(at.cast(pa.int64()), portion * span).cast(at.type)
    for name, values in (("uid", uids), ("timestamp", later)):
        place = table.column_names.index(name)
        table = table.set_column(place, table.schema.field(place), values.cast(table[name].type))
    return table


STREAM = """
import sys
import quantkeep
from quantkeep.tape import Trade

with quantkeep.open(sys.argv[1]) as keep:
    assert sum(batch.num_rows for batch in keep.table(Trade).arrow())
"""


def measured(folder: Path, said: argparse.Namespace) -> Iterator[Figure]:
    if not said.memory:
        with quantkeep.open(f"parquet:///{folder}/tape") as keep:
            raw = raw_segments.Trades(folder / "raw")
            yield from appends(keep, raw, said.rows)
            yield from reads(keep, raw, "as appended")
            keep.backend.compact()
            yield from reads(keep, raw, "compacted")
        yield from saves(folder)
        yield from opening(folder, said.commits)
    yield from memory(folder, said.rows)


def main() -> None:
    options = workloads.options(__doc__)
    options.add_argument("--commits", type=int, default=10_000, help="of the keep to be opened")
    options.add_argument("--memory", action="store_true", help="only stream ten times as many rows")
    said = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = workloads.measured(measured(Path(name), said))
    workloads.written(figures, said)


if __name__ == "__main__":
    main()
