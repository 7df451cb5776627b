#!/usr/bin/env python3
"""Measure quantkeep on Redis against redis-py doing the same durable work, in the same run.

    python bench/on_redis.py [--kind valkey] [--rows 1000000] [--json bench/results/redis.json]

The server is started here, with an append-only file that every write is synced to (``always``), on
the disk of the temporary folder; ``--fsync everysec`` is what most run. Ratios are ours / raw,
medians of interleaved pairs; targets as in ``on_sqlite.py``.
"""

import argparse
import copy
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import raw_redis
import samples
import timing
from timing import Figure, race

import quantkeep
from quantkeep import Keep, arrow
from quantkeep.tape import Trade
from quantkeep_conformance import servers


def appends(keep: Keep, raw: raw_redis.Trades, rows: int) -> Iterator[Figure]:
    """One by one, by the hundred, by ten thousand, and all at once."""
    made = iter(range(0, 1 << 40, 1 << 20))

    def fresh(count: int) -> list[Trade]:
        return samples.trades(count, next(made))

    singles = fresh(2_000)
    yield race(
        "append 1 trade",
        lambda run: lambda: keep.tape.append(singles[run]),
        lambda run: lambda: raw.append(singles[run]),
        runs=400, rows=1, target=1.25,
    )  # fmt: skip
    with_id = [t.replace(uid=f"op-{n}") for n, t in enumerate(singles)]
    yield race(
        "append 1 trade with an operation id",
        lambda run: lambda: keep.tape.append(with_id[run], op_id=f"op-{run}"),
        lambda run: lambda: raw.append(with_id[run]),
        runs=400, rows=1, target=1.25,
    )  # fmt: skip
    for count, runs in ((100, 40), (10_000, 7), (rows, 1)):
        batches = [fresh(count) for _ in range(runs + timing.warm_ups(runs))]
        yield race(
            f"append {count:,} trades",
            lambda run, batches=batches: lambda: keep.tape.append(batches[run]),  # type: ignore[misc]
            lambda run, batches=batches: lambda: raw.extend(batches[run]),  # type: ignore[misc]
            runs=runs, rows=count, target=1.25,
        )  # fmt: skip


def reads(keep: Keep, raw: raw_redis.Trades) -> Iterator[Figure]:
    """As records on both sides: raw rows are made into trades by hand."""
    yield race(
        "newest 100 trades",
        lambda run: lambda: keep.tape.trades(mode="paper", account="default", limit=100),
        lambda run: lambda: [*map(raw_redis.trade, raw.newest(100))],
        runs=50, rows=100, target=1.3,
    )  # fmt: skip
    newest = keep.tape.latest(Trade, mode="paper")
    assert newest is not None
    since, until = newest.timestamp - timedelta(hours=8), newest.timestamp - timedelta(hours=5)
    found = len(keep.tape.trades(mode="paper", symbol="BTC/USDT", since=since, until=until))
    yield race(
        f"one symbol, three hours ({found:,} trades)",
        lambda run: lambda: keep.tape.trades(
            mode="paper", symbol="BTC/USDT", since=since, until=until
        ),
        lambda run: lambda: [*map(raw_redis.trade, raw.between("BTC/USDT", since, until))],
        runs=15, rows=found, target=1.3,
    )  # fmt: skip


def tables(keep: Keep, raw: raw_redis.Chunks, rows: int) -> Iterator[Figure]:
    """From Arrow and to Arrow: packed chunks on both sides, ours with digests and statistics."""
    made = [_table(rows // 4, first) for first in range(0, 5 << 20, 1 << 20)]
    yield race(
        f"append a table of {rows // 4:,} trades",
        lambda run: lambda: keep.tape.append_arrow(Trade, made[run + 1]),
        lambda run: lambda: raw.append(made[run + 1]),
        runs=3, rows=rows // 4, target=1 / 0.85,
    )  # fmt: skip
    stored = keep.tape.sizes()["trades"]
    yield race(
        f"read {stored:,} trades as Arrow",
        lambda run: lambda: sum(b.num_rows for b in keep.tape.arrow(Trade)),
        lambda run: raw.read,
        runs=3, rows=stored, target=1 / 0.85,
    )  # fmt: skip


def _table(count: int, first: int) -> pa.Table:
    """Trades without ids, as a backtest would hand them over."""
    trades = [each.replace(uid=None) for each in samples.trades(count, first)]
    wanted = arrow.schema(Trade.collection)
    return pa.Table.from_pylist([each.as_dict() for each in trades], schema=wanted)


def states(server: str, count: int, size: str) -> Iterator[Figure]:
    """One position changed and saved; all of it saved; loaded again."""
    keep, raw = quantkeep.open(f"{server}?name=state{count}"), raw_redis.States(server)
    session = keep.sessions.start("bench", mode="paper")
    session.snapshot_every = None
    held = samples.positions(count)
    session["positions"] = samples.positions(count)
    session["engine"] = {"tick": 0}
    session.save()
    raw.save(held.items())

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
        changed = change(run)
        return lambda: raw.save([changed, ("tick", run)])

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
        return lambda: raw.save(positions.items())

    yield race(
        f"save {size} state, everything changed",
        whole, whole_by_hand, runs=10, rows=count, target=1.5,
    )  # fmt: skip
    session.stop()

    def resume() -> None:
        again = keep.sessions.resume("bench")
        assert len(again["positions"]) == count
        again.close()

    yield race(
        f"resume {size} state",
        lambda run: resume,
        lambda run: raw.load,
        runs=10,
        rows=count,
        target=3.0,
    )
    keep.close()


def opening(server: str) -> Iterator[Figure]:
    """An existing keep, in a process that has imported what it needs."""
    url = f"{server}?name=open"
    quantkeep.open(url).close()

    def connect() -> None:
        raw_redis.Trades(server).client.ping()

    yield race(
        "open an existing keep",
        lambda run: lambda: quantkeep.open(url).close(),
        lambda run: connect,
        runs=20, rows=0, target=20.0,
    )  # fmt: skip


def measured(server: str, rows: int) -> Iterator[Figure]:
    """Everything, in keeps of its own."""
    with quantkeep.open(f"{server}?name=tape") as keep:
        raw = raw_redis.Trades(server)
        yield from appends(keep, raw, rows)
        yield from reads(keep, raw)
    with quantkeep.open(f"{server}?name=tables") as keep:
        yield from tables(keep, raw_redis.Chunks(server), rows)
    yield from states(server, 14, "10 KB")
    yield from states(server, 1_400, "1 MB")
    yield from opening(server)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000, help="of the largest append")
    arguments.add_argument("--kind", choices=("redis", "valkey"), default="redis")
    arguments.add_argument("--fsync", choices=("always", "everysec"), default="always")
    arguments.add_argument("--json", type=Path, help="where to write the figures")
    said = arguments.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = {"dir": folder, "appendfsync": said.fsync}
        with servers.redis(said.kind, settings, port=servers.free_port()) as server:
            for figure in measured(server.url, said.rows):
                timing.show(figure)
                figures.append(figure)
    if said.json:
        said.json.parent.mkdir(parents=True, exist_ok=True)
        timing.write(figures, said.json, rows=said.rows, server=said.kind, appendfsync=said.fsync)


if __name__ == "__main__":
    main()
