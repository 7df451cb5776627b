#!/usr/bin/env python3
"""Measure quantkeep on SQLite against sqlite3 doing the same durable work, in the same run.

    python bench/on_sqlite.py [--rows 1000000] [--json bench/results/sqlite.json]

Ratios are ours / raw, medians of interleaved pairs; targets are throughput ratios of the raw path,
turned round where they were said that way.
"""

import argparse
import copy
import json
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import raw_sqlite
import samples
import timing
from timing import Figure, race

import quantkeep
from quantkeep import Keep
from quantkeep.tape import Trade


def appends(keep: Keep, raw: raw_sqlite.Trades, rows: int) -> Iterator[Figure]:
    """One by one, by the hundred, by ten thousand, and all at once."""
    made = iter(range(0, 1 << 40, 1 << 20))

    def fresh(count: int) -> list[Trade]:
        return samples.trades(count, next(made))

    singles = fresh(2_000)
    yield race(
        "append 1 trade",
        lambda run: lambda: keep.tape.append(singles[run]),
        lambda run: lambda: raw.append(singles[run]),
        runs=400, rows=1, target=1.3,
    )  # fmt: skip
    with_id = [t.replace(uid=f"op-{n}") for n, t in enumerate(singles)]
    yield race(
        "append 1 trade with an operation id",
        lambda run: lambda: keep.tape.append(with_id[run], op_id=f"op-{run}"),
        lambda run: lambda: raw.append(with_id[run]),
        runs=400, rows=1, target=1.3,
    )  # fmt: skip
    for count, runs in ((100, 40), (10_000, 7), (rows, 1)):
        batches = [fresh(count) for _ in range(runs + timing.warm_ups(runs))]
        yield race(
            f"append {count:,} trades",
            lambda run, batches=batches: lambda: keep.tape.append(batches[run]),  # type: ignore[misc]
            lambda run, batches=batches: lambda: raw.extend(batches[run]),  # type: ignore[misc]
            runs=runs, rows=count, target=1 / 0.8 if count > 100 else 1 / 0.85,
        )  # fmt: skip


def reads(keep: Keep, raw: raw_sqlite.Trades) -> Iterator[Figure]:
    """As records on both sides: raw rows are made into trades by hand."""
    yield race(
        "newest 100 trades",
        lambda run: lambda: keep.tape.trades(mode="paper", account="default", limit=100),
        lambda run: lambda: [*map(raw_sqlite.trade, raw.newest(100))],
        runs=50, rows=100, target=1.3,
    )  # fmt: skip
    since = samples.START + timedelta(minutes=10)
    until = since + timedelta(hours=6)
    found = len(keep.tape.trades(mode="paper", symbol="BTC/USDT", since=since, until=until))
    yield race(
        f"one symbol, six hours ({found:,} trades)",
        lambda run: lambda: keep.tape.trades(
            mode="paper", symbol="BTC/USDT", since=since, until=until
        ),
        lambda run: lambda: [*map(raw_sqlite.trade, raw.between("BTC/USDT", since, until))],
        runs=15, rows=found, target=1.3,
    )  # fmt: skip


def states(folder: Path, count: int, size: str) -> Iterator[Figure]:
    """One position changed and saved; all of it saved; loaded again."""
    url = f"sqlite:///{folder}/state-{count}.db"
    keep, raw = quantkeep.open(url), raw_sqlite.States(folder / f"state-{count}.raw")
    session = keep.sessions.start("bench", mode="paper")
    session.snapshot_every = None
    held = samples.positions(count)
    session["positions"] = samples.positions(count)
    session["engine"] = {"tick": 0}
    session.save()
    raw.save(("positions", key, json.dumps(p)) for key, p in held.items())

    def change(run: int) -> tuple[str, dict[str, object]]:
        key = f"S{run * 37 % count}/USDT"
        return key, {**copy.deepcopy(held[key]), "mark_price": run / 7}

    def ours(run: int) -> timing.Work:
        key, position = change(run)

        def save() -> None:
            session["positions"][key] = position
            session["engine"]["tick"] = run
            session.save()

        return save

    def by_hand(run: int) -> timing.Work:
        key, position = change(run)
        return lambda: raw.save(
            [
                ("positions", key, json.dumps(position)),
                ("engine", "tick", json.dumps(run)),
            ]
        )

    yield race(
        f"save {size} state, one position changed", ours, by_hand, runs=200, rows=1, target=1.5
    )

    def whole(run: int) -> timing.Work:
        positions = {key: {**copy.deepcopy(p), "mark_price": run / 3} for key, p in held.items()}

        def save() -> None:
            session["positions"] = positions
            session.save()

        return save

    def whole_by_hand(run: int) -> timing.Work:
        positions = {key: {**copy.deepcopy(p), "mark_price": run / 3} for key, p in held.items()}
        return lambda: raw.save(("positions", key, json.dumps(p)) for key, p in positions.items())

    yield race(
        f"save {size} state, everything changed",
        whole,
        whole_by_hand,
        runs=10,
        rows=count,
        target=1.3,
    )
    session.stop()

    def resumed(run: int) -> timing.Work:
        def resume() -> None:
            again = keep.sessions.resume("bench")
            assert len(again["positions"]) == count
            again.close()

        return resume

    yield race(
        f"resume {size} state",
        resumed,
        lambda run: lambda: {key: json.loads(body) for _, key, body in raw.load()},
        runs=10, rows=count, target=3.0,
    )  # fmt: skip
    keep.close()


def opening(folder: Path) -> Iterator[Figure]:
    """An existing keep, in a process that has imported what it needs."""
    path = folder / "open.db"
    quantkeep.open(f"sqlite:///{path}").close()
    yield race(
        "open an existing keep",
        lambda run: lambda: quantkeep.open(f"sqlite:///{path}").close(),
        lambda run: lambda: raw_sqlite.connect(path).close(),
        runs=20, rows=0, target=20.0,
    )  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000, help="of the largest append")
    arguments.add_argument("--json", type=Path, help="where to write the figures")
    said = arguments.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with quantkeep.open(f"sqlite:///{folder}/tape.db") as keep:
            raw = raw_sqlite.Trades(folder / "tape.raw")
            figures += [*appends(keep, raw, said.rows), *reads(keep, raw)]
        figures += [*states(folder, 14, "10 KB"), *states(folder, 1_400, "1 MB"), *opening(folder)]
    for figure in figures:
        timing.show(figure)
    if said.json:
        said.json.parent.mkdir(parents=True, exist_ok=True)
        timing.write(figures, said.json, rows=said.rows)


if __name__ == "__main__":
    main()
