#!/usr/bin/env python3
"""Measure quantkeep on PostgreSQL against psycopg doing the same durable work, in the same run.

    python bench/on_postgresql.py [--rows 200000] [--json bench/results/postgresql.json]

A server of its own is started. Ratios are ours / raw, medians of interleaved pairs.
"""

import argparse
import copy
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import raw_postgresql
import samples
import timing
from timing import Figure, Work, race

import quantkeep
from quantkeep import Keep
from quantkeep.tape import Trade
from quantkeep_conformance import servers

Prepare = Callable[[int], Work]


def appends(keep: Keep, raw: raw_postgresql.Trades, rows: int) -> Iterator[Figure]:
    """One by one, by the hundred, by ten thousand, and all at once."""
    made = iter(range(0, 1 << 40, 1 << 20))

    def fresh(count: int) -> list[Trade]:
        return samples.trades(count, next(made))

    singles = fresh(2_000)
    yield race(
        "append 1 trade / prepared insert",
        lambda run: lambda: keep.tape.append(singles[run]),
        lambda run: lambda: raw.append(singles[run]),
        runs=400, rows=1, target=1.4,
    )  # fmt: skip
    with_id = [t.replace(uid=f"op-{n}") for n, t in enumerate(singles)]
    yield race(
        "append 1 trade with an operation id / insert",
        lambda run: lambda: keep.tape.append(with_id[run], op_id=f"op-{run}"),
        lambda run: lambda: raw.append(with_id[run]),
        runs=400, rows=1, target=1.6,
    )  # fmt: skip
    ways = [
        (100, 30, "executemany", raw.executemany, 1 / 0.85),
        (100, 30, "COPY BINARY", raw.copy, 1 / 0.8),
        (10_000, 5, "executemany", raw.executemany, 1 / 0.8),
        (10_000, 5, "COPY BINARY", raw.copy, 1 / 0.8),
        (10_000, 5, "COPY to staging", raw.copy_idempotent, 1 / 0.8),
        (rows, 1, "COPY BINARY", raw.copy, 1 / 0.8),
    ]
    for count, runs, name, by_hand, target in ways:
        batches = [fresh(count) for _ in range(runs + timing.warm_ups(runs))]

        def ours(run: int, batches: list[list[Trade]] = batches) -> Work:
            return lambda: keep.tape.append(batches[run])

        def theirs(
            run: int,
            batches: list[list[Trade]] = batches,
            by_hand: Callable[[list[Trade]], None] = by_hand,
        ) -> Work:
            return lambda: by_hand(batches[run])

        path = f"append {count:,} trades / {name}"
        yield race(path, ours, theirs, runs=runs, rows=count, target=target)


def reads(keep: Keep, raw: raw_postgresql.Trades, rows: int) -> Iterator[Figure]:
    """As records on both sides: raw rows are made into trades by hand."""
    yield race(
        "newest 100 trades",
        lambda run: lambda: keep.tape.trades(mode="paper", account="default", limit=100),
        lambda run: lambda: raw.newest(100),
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
        lambda run: lambda: raw.between("BTC/USDT", since, until),
        runs=15, rows=found, target=1.3,
    )  # fmt: skip
    table = keep.table(Trade)
    yield race(
        "all trades, streamed",
        lambda run: lambda: sum(1 for _ in table.scan()),
        lambda run: raw.every,
        runs=1, rows=rows, target=1.3,
    )  # fmt: skip


def states(url: str, count: int, size: str) -> Iterator[Figure]:
    """One position changed and saved; all of it saved; loaded again."""
    keep = quantkeep.open(f"{url}?schema=state_{count}")
    raw = raw_postgresql.States(url, f"raw_state_{count}")
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

    def ours(run: int) -> Work:
        key, position = change(run)

        def save() -> None:
            session["positions"][key] = position
            session["engine"]["tick"] = run
            session.save()

        return save

    def by_hand(run: int) -> Work:
        key, position = change(run)
        changed = [("positions", key, json.dumps(position)), ("engine", "tick", json.dumps(run))]
        return lambda: raw.save(changed)

    path = f"save {size} state, one position changed"
    yield race(path, ours, by_hand, runs=200, rows=1, target=1.5)

    def changed_all(run: int) -> dict[str, dict[str, object]]:
        return {key: {**copy.deepcopy(p), "mark_price": run / 3} for key, p in held.items()}

    def whole(run: int) -> Work:
        positions = changed_all(run)

        def save() -> None:
            session["positions"] = positions
            session.save()

        return save

    def whole_by_hand(run: int) -> Work:
        positions = changed_all(run)
        return lambda: raw.save(("positions", key, json.dumps(p)) for key, p in positions.items())

    path = f"save {size} state, everything changed"
    yield race(path, whole, whole_by_hand, runs=10, rows=count, target=1.3)
    session.stop()

    def resumed(run: int) -> Work:
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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=200_000, help="of the largest append")
    arguments.add_argument("--json", type=Path, help="where to write the figures")
    said = arguments.parse_args()
    figures: list[Figure] = []
    with servers.postgresql({"max_wal_size": "4GB"}) as server:
        with quantkeep.open(f"{server.url}?schema=tape") as keep:
            version = keep.backend.health().facts["server_version"]
            raw = raw_postgresql.Trades(server.url, "raw_tape")
            for figure in (*appends(keep, raw, said.rows), *reads(keep, raw, said.rows)):
                timing.show(figure)
                figures.append(figure)
        for count, size in ((14, "10 KB"), (1_400, "1 MB")):
            for figure in states(server.url, count, size):
                timing.show(figure)
                figures.append(figure)
    if said.json:
        said.json.parent.mkdir(parents=True, exist_ok=True)
        timing.write(figures, said.json, rows=said.rows, postgresql=version)


if __name__ == "__main__":
    main()
