#!/usr/bin/env python3
"""Measure quantkeep on PostgreSQL against psycopg doing the same durable work, in the same run.

    python bench/on_postgresql.py [--rows 200000] [--json bench/results/postgresql.json]

A server of its own is started. Ratios are ours / raw, medians of interleaved pairs.
"""

from collections.abc import Iterator
from datetime import timedelta

import raw_postgresql
import samples
import workloads
from timing import Figure, race
from workloads import Bulk

import quantkeep
from quantkeep import Keep
from quantkeep.tape import Trade
from quantkeep_conformance import servers


def tape(keep: Keep, raw: raw_postgresql.Trades, rows: int) -> Iterator[Figure]:
    """Trades in, and out again as records: raw rows are made into trades by hand."""
    bulks = (
        Bulk(100, 30, raw.executemany, 1 / 0.85, " / executemany"),
        Bulk(100, 30, raw.copy, 1 / 0.8, " / COPY BINARY"),
        Bulk(10_000, 5, raw.executemany, 1 / 0.8, " / executemany"),
        Bulk(10_000, 5, raw.copy, 1 / 0.8, " / COPY BINARY"),
        Bulk(10_000, 5, raw.copy_idempotent, 1 / 0.8, " / COPY to staging"),
        Bulk(rows, 1, raw.copy, 1 / 0.8, " / COPY BINARY"),
    )
    since = samples.START + timedelta(minutes=10)
    batches = workloads.Batches()
    yield from workloads.singles(
        keep, batches, raw.append, target=1.4, with_id=1.6, way=" / prepared insert"
    )
    yield from workloads.bulks(keep, batches, bulks)
    raw.analyse()
    yield from workloads.newest(keep, raw.newest)
    yield from workloads.window(keep, raw.between, since, timedelta(hours=6))
    yield streamed(keep, raw, rows)


def streamed(keep: Keep, raw: raw_postgresql.Trades, rows: int) -> Figure:
    """All of them, by a cursor of the server on both sides."""
    table = keep.table(Trade)
    return race(
        "all trades, streamed",
        lambda run: lambda: sum(1 for _ in table.scan()),
        lambda run: raw.every,
        runs=1, rows=rows, target=1.3,
    )  # fmt: skip


def states(url: str) -> Iterator[Figure]:
    for count, size in workloads.SIZES:
        raw = raw_postgresql.States(url, f"raw_state_{count}")
        with quantkeep.open(f"{url}?schema=state_{count}") as keep:
            yield from workloads.states(keep, raw, count, size)


def main() -> None:
    said = workloads.options(__doc__, rows=200_000).parse_args()
    with servers.postgresql({"max_wal_size": "4GB"}) as server:
        with quantkeep.open(f"{server.url}?schema=tape") as keep:
            version = keep.backend.health().facts["server_version"]
            raw = raw_postgresql.Trades(server.url, "raw_tape")
            figures = workloads.measured(tape(keep, raw, said.rows))
        figures += workloads.measured(states(server.url))
    workloads.written(figures, said, postgresql=version)


if __name__ == "__main__":
    main()
