#!/usr/bin/env python3
"""Measure how backtest results are best written as Parquet, and publish the tables.

    python bench/backtest_encoding.py [--data FOLDER] [--write docs/backtest-encoding.md]

FOLDER has recorded runs (default: QUANTKEEP_REAL_DATA); without it only made-up results are
measured.
"""

import argparse
import io
import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
import results
from encoding_layouts import (
    LAYOUTS,
    Sample,
    as_given,
    fastest,
    ours,
    sampled,
    stored_size,
)

import quantkeep
from quantkeep.backtests import COMPACT, CURVE, SIGNALS, V1, Encoding, Tables
from quantkeep.columns import Kind

BEGIN, END = "<!-- figures: written by bench/backtest_encoding.py -->", "<!-- end of figures -->"

# -- tables of figures -----------------------------------------------------------------------------


def layouts(sample: Sample) -> Iterator[str]:
    """Every layout of one sample."""
    yield f"\n### {sample.name}: {sample.json / 1e6:,.1f} MB of JSON, {sample.rows:,} rows\n"
    yield "| layout | MB | saved | JSON / Parquet | write, ms | read, ms |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, layout in LAYOUTS.items():
        cost = layout(sample)
        saved = 100 * (1 - cost.bytes / sample.json)
        yield (
            f"| {name} | {cost.bytes / 1e6:.2f} | {saved:.1f} % | {sample.json / cost.bytes:.1f} "
            f"| {cost.write * 1e3:,.0f} | {cost.read * 1e3:,.0f} |"
        )


def by_column(samples: list[Sample]) -> Iterator[str]:
    """Bytes of each column alone, under each encoding."""
    for sample in samples:
        yield f"\n### Columns of {sample.name}, kB with zstd 3\n"
        yield "| column | dictionary | plain | byte-split | delta | as decimal | left out |"
        yield "|---|---:|---:|---:|---:|---:|---:|"
        for table in (SIGNALS, CURVE):
            for column in V1[table].columns:
                found = [_column(t, table, column.name, column.kind) for t in sample.tables]
                sums = [_sum(each) for each in zip(*found, strict=True)]
                left = _left_out(sample, table, column.name)
                cells = " | ".join("" if n is None else f"{n / 1e3:,.1f}" for n in sums)
                yield f"| {table}.{column.name} | {cells} | {left} |"


def _sum(sizes: Iterable[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if known else None


def _column(tables: Tables, table: str, name: str, kind: Kind) -> list[int | None]:
    from quantkeep.backtests import _decimals

    array = getattr(tables, table)[name].combine_chunks()
    integers = kind in (Kind.INTEGER, Kind.TIMESTAMP)
    digits = _decimals.digits_of(array) if kind is Kind.REAL and len(array) else None
    decimals = None if digits is None else _decimals.to_decimals(array, digits)
    split = "BYTE_STREAM_SPLIT" if kind is Kind.REAL else None
    return [
        _bytes(array, None),
        _bytes(array, "PLAIN"),
        _bytes(array, split) if split else None,
        _bytes(array, "DELTA_BINARY_PACKED") if integers else None,
        None if decimals is None else _bytes(decimals, "DELTA_BINARY_PACKED"),
    ]


def _bytes(array: Any, encoding: str | None) -> int:
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"x": array}), sink, compression="zstd", compression_level=3,
        use_dictionary=encoding is None, column_encoding=encoding and {"x": encoding},
        write_statistics=False, store_schema=False, store_decimal_as_integer=True,
    )  # fmt: skip
    return sink.tell()


def _left_out(sample: Sample, table: str, name: str) -> str:
    """In how many of the results the column follows from others."""
    with quantkeep.open("memory://") as keep:
        records = [keep.backtests.save_result(each).record for each in as_given(sample)]
    files = [(record.files or {})[table] for record in records]
    count = sum(any(r["column"] == name for r in file.get("rules", ())) for file in files)
    return f"{count} of {len(files)}" if count else ""


def groups(sample: Sample) -> Iterator[str]:
    """Row groups: size, whole reads, and one symbol out of many."""
    yield f"\n### Row groups, {sample.name}\n"
    yield "| rows | MB | write, ms | read, ms | one symbol of 20, ms |"
    yield "|---:|---:|---:|---:|---:|"
    for rows in (10_000, 30_000, 100_000, 300_000, 1_000_000):
        with quantkeep.open("memory://") as keep:
            store, given = keep.backtests, [*as_given(sample)]
            encoding = Encoding(row_group_rows=rows)
            write = fastest(lambda: [store.save_result(e, encoding=encoding) for e in given])  # noqa: B023
            read = fastest(lambda: [store.tables(e["task_id"]) for e in given])  # noqa: B023
            one = fastest(
                lambda: [
                    store.read(e["task_id"], SIGNALS, symbols=["S07/USDT"]).read_all()  # noqa: B023
                    for e in given  # noqa: B023
                ]
            )
            size = sum(stored_size(store, each["task_id"]) for each in given)
        yield (
            f"| {rows:,} | {size / 1e6:.2f} | {write * 1e3:,.0f} | {read * 1e3:,.0f} "
            f"| {one * 1e3:,.1f} |"
        )


def order(sample: Sample) -> Iterator[str]:
    """Rows by symbol, then time, against rows by time alone."""
    yield f"\n### Order of rows, {sample.name}\n"
    yield "| order | MB | read, ms |"
    yield "|---|---:|---:|"
    for name, keys in (
        ("symbol, time", ("symbol", "timestamp")),
        ("time, symbol", ("timestamp", "symbol")),
    ):
        sort = [(key, "ascending") for key in keys]
        turned = [
            attrs.evolve(t, **{n: getattr(t, n).sort_by(sort) for n in (SIGNALS, CURVE)})
            for t in sample.tables
        ]
        cost = ours(COMPACT)(attrs.evolve(sample, tables=turned))
        yield f"| {name} | {cost.bytes / 1e6:.2f} | {cost.read * 1e3:,.0f} |"


# -- all of it -------------------------------------------------------------------------------------


def figures(data: Path | None) -> Iterator[str]:
    """The whole section."""
    machine = f"{platform.python_implementation()} {platform.python_version()}"
    where = f"{machine}, {os.cpu_count()} cores, on `memory://`"
    yield f"\npyarrow {pa.__version__}, {where}; the best of three runs.\n"
    recorded = []
    if data is not None:
        recorded = [
            sampled("Real curves, backtesting.py (181 results)", results.backtesting(data)),
            sampled("Real curves, vectorbt (10 results)", results.portfolios(data)),
        ]
    hundred = sampled("Rounded to 2 to 4 decimals", [results.rounded(400_000, 80_000)])
    stepped = sampled("Steps, rounded", [results.steps(20_000, 80_000)])
    full = sampled("Every digit, random walk", [results.full(100_000, 100_000)])
    yield "## Whole results"
    for sample in (*recorded, hundred, stepped, full):
        yield from layouts(sample)
    yield "\n## Column by column"
    yield from by_column([*recorded[:1], hundred, full])
    yield "\n## Row groups and order"
    yield from groups(hundred)
    yield from order(hundred)
    yield ""


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("QUANTKEEP_REAL_DATA"))
    parser.add_argument("--write", type=Path, help="replace the figures in this page")
    arguments = parser.parse_args()
    lines = []
    for line in figures(arguments.data and Path(arguments.data)):
        print(line, flush=True)
        lines.append(line)
    if arguments.write:
        page = arguments.write.read_text(encoding="utf-8")
        head, _, rest = page.partition(BEGIN)
        tail = rest.partition(END)[2]
        text = "\n".join(lines)
        arguments.write.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
