#!/usr/bin/env python3
"""Measure quantkeep on Redis against redis-py doing the same durable work, in the same run.

    python bench/on_redis.py [--kind valkey] [--rows 1000000] [--json bench/results/redis.json]

The server is started here, with an append-only file that every write is synced to (``always``), on
the disk of the temporary folder; ``--fsync everysec`` is what most run. Ratios are ours / raw,
medians of interleaved pairs; targets as in ``on_sqlite.py``.
"""

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pyarrow as pa
import raw_redis
import samples
import workloads
from timing import Figure, race
from workloads import Bulk

import quantkeep
from quantkeep import Keep, arrow
from quantkeep.tape import Trade
from quantkeep_conformance import servers


def tape(keep: Keep, raw: raw_redis.Trades, rows: int) -> Iterator[Figure]:
    """Trades in, and out again as records: raw rows are made into trades by hand."""
    bulks = (
        Bulk(100, 40, raw.extend, 1.25),
        Bulk(10_000, 7, raw.extend, 1.25),
        Bulk(rows, 1, raw.extend, 1.25),
    )
    batches = workloads.Batches()
    yield from workloads.singles(keep, batches, raw.append, target=1.25, with_id=1.25)
    yield from workloads.bulks(keep, batches, bulks)
    yield from workloads.newest(keep, raw.newest)
    newest = keep.tape.latest(Trade, mode="paper")
    assert newest is not None
    since = newest.timestamp - timedelta(hours=8)
    yield from workloads.window(keep, raw.between, since, timedelta(hours=3))


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


def tables_with_ids(keep: Keep, raw: raw_redis.Chunks, rows: int) -> Iterator[Figure]:
    """As :func:`tables`, and no trade is to be added twice: both sides note every id."""
    made = [_table(rows, first, with_ids=True) for first in (0, 1 << 30)]
    yield race(
        f"append a table of {rows:,} trades with ids",
        lambda run: lambda: keep.tape.append_arrow(Trade, made[run + 1]),
        lambda run: lambda: raw.append_once(made[run + 1]),
        runs=1, rows=rows, target=1 / 0.85,
    )  # fmt: skip


def _table(count: int, first: int, *, with_ids: bool = False) -> pa.Table:
    """Trades as a backtest would hand them over, which has no ids."""
    wanted, portions = arrow.schema(Trade.collection), []
    for start in range(0, count, 50_000):
        trades = samples.trades(min(50_000, count - start), first + start)
        said = [(each if with_ids else each.replace(uid=None)).as_dict() for each in trades]
        portions.append(pa.Table.from_pylist(said, schema=wanted))
    return pa.concat_tables(portions).combine_chunks()


def states(server: str) -> Iterator[Figure]:
    for count, size in workloads.SIZES:
        with quantkeep.open(f"{server}?name=state{count}") as keep:
            raw = raw_redis.States(server)
            yield from workloads.states(keep, raw, count, size, everything=1.5)


def measured(server: str, rows: int) -> Iterator[Figure]:
    """Everything, in keeps of its own."""
    with quantkeep.open(f"{server}?name=tape") as keep:
        yield from tape(keep, raw_redis.Trades(server), rows)
    with quantkeep.open(f"{server}?name=tables") as keep:
        yield from tables(keep, raw_redis.Chunks(server), rows)
    with quantkeep.open(f"{server}?name=ids") as keep:
        yield from tables_with_ids(keep, raw_redis.Chunks(server), rows)
    yield from states(server)
    yield from workloads.opening(f"{server}?name=open", partial(raw_redis.reach, server))


def main() -> None:
    options = workloads.options(__doc__)
    options.add_argument("--kind", choices=("redis", "valkey"), default="redis")
    options.add_argument("--fsync", choices=("always", "everysec"), default="always")
    said = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"dir": folder, "appendfsync": said.fsync}
        with servers.redis(said.kind, settings, port=servers.free_port()) as server:
            figures = workloads.measured(measured(server.url, said.rows))
    workloads.written(figures, said, server=said.kind, appendfsync=said.fsync)


if __name__ == "__main__":
    main()
