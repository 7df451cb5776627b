#!/usr/bin/env python3
"""Measure how backtest results are best written as Parquet, and publish the tables.

    python bench/backtest_encoding.py [--data FOLDER] [--write docs/backtest-encoding.md]

FOLDER has recorded runs (default: QUANTKEEP_REAL_DATA); without it only made-up results are
measured.
"""

import argparse
import gc
import io
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
import results
from results import Original

import quantkeep
from quantkeep import documents
from quantkeep.backtests import (
    COMPACT,
    CURVE,
    SIGNALS,
    SNAPPY,
    STANDARD,
    TABLES,
    V1,
    BacktestStore,
    Encoding,
    Tables,
)
from quantkeep.columns import Kind
from quantkeep.hosts import Hosts

BEGIN, END = "<!-- figures: written by bench/backtest_encoding.py -->", "<!-- end of figures -->"


@attrs.frozen
class Cost:
    """What a layout takes: bytes, and seconds to write and to read back into Arrow."""

    bytes: int
    write: float
    read: float


@attrs.frozen
class Sample:
    """Results to be written."""

    name: str
    originals: list[Original]
    tables: list[Tables]
    json: int

    @property
    def rows(self) -> int:
        """Of signals and curves."""
        return sum(
            len(getattr(tables, name)) for tables in self.tables for name in (SIGNALS, CURVE)
        )


def sampled(name: str, originals: list[Original]) -> Sample:
    """The tables of *originals*, and the size of their compact JSON."""
    size = sum(len(json.dumps(each, separators=(",", ":"))) for each in originals)
    with quantkeep.open("memory://") as keep:
        tables = [
            keep.backtests.tables(keep.backtests.save_result(each).task_id) for each in originals
        ]
    return Sample(name, originals, tables, size)


# -- layouts ---------------------------------------------------------------------------------------

Layout = Callable[[Sample], Cost]


def raw(**options: Any) -> Layout:
    """What pyarrow writes, told *options*; ``floats`` is the encoding of all floats."""

    def measure(sample: Sample) -> Cost:
        files: list[bytes] = []
        write = _best(lambda: _keep(files, _raw_files(sample.tables, options)))
        read = _best(lambda: [pq.read_table(io.BytesIO(file)) for file in files])
        return Cost(sum(map(len, files)), write, read)

    return measure


def _raw_files(tables: Iterable[Tables], options: dict[str, Any]) -> Iterator[bytes]:
    for each in tables:
        for name in TABLES:
            sink = io.BytesIO()
            pq.write_table(getattr(each, name), sink, **_for_table(name, options))
            yield sink.getvalue()


def _for_table(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """``floats=ENCODING`` is spelled out for the columns of a table, integers become deltas."""
    if "floats" not in options:
        return options
    plain = {key: value for key, value in options.items() if key != "floats"}
    encodings, dictionary = {}, []
    for column in V1[name].columns:
        if column.kind in (Kind.INTEGER, Kind.TIMESTAMP):
            encodings[column.name] = "DELTA_BINARY_PACKED"
        elif column.kind is Kind.REAL and options["floats"] != "dictionary":
            encodings[column.name] = options["floats"]
        else:
            dictionary.append(column.name)
    return {**plain, "use_dictionary": dictionary, "column_encoding": encodings}


def _keep(files: list[bytes], made: Iterator[bytes]) -> None:
    files[:] = made


def ours(encoding: Encoding) -> Layout:
    """This store, checks and digests included; its records' share counts too."""

    def measure(sample: Sample) -> Cost:
        with quantkeep.open("memory://") as keep:
            store = keep.backtests
            given = [*_given(sample)]
            write = _best(lambda: [store.save_result(each, encoding=encoding) for each in given])
            read = _best(lambda: [store.tables(each["task_id"]) for each in given])
            size = sum(_size(store, each["task_id"]) for each in given)
        return Cost(size, write, read)

    return measure


def _given(sample: Sample) -> Iterator[dict[str, Any]]:
    for original, tables in zip(sample.originals, sample.tables, strict=True):
        said = {name: value for name, value in original.items() if name != "symbols"}
        yield {**said, **{name: getattr(tables, name) for name in TABLES}}


def _size(store: BacktestStore, task_id: str) -> int:
    record = store.fetch(task_id)
    assert record.file_size is not None
    return record.file_size + len(documents.encode(record.files, Hosts()))


def _best(work: Callable[[], object], runs: int = 3) -> float:
    seconds = []
    for _ in range(runs):
        gc.collect()
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


ZSTD = {"compression": "zstd", "compression_level": 3, "row_group_size": 100_000}

LAYOUTS: dict[str, Layout] = {
    "Snappy, 10,000 rows (the design)": raw(compression="snappy", row_group_size=10_000),
    "Snappy, 100,000 rows": raw(compression="snappy", row_group_size=100_000),
    "zstd 3": raw(**ZSTD),
    "zstd 19": raw(**{**ZSTD, "compression_level": 19}),
    "zstd 3, deltas, floats in dictionaries": raw(floats="dictionary", **ZSTD),
    "zstd 3, deltas, floats byte-split": raw(floats="BYTE_STREAM_SPLIT", **ZSTD),
    "zstd 3, deltas, floats plain": raw(floats="PLAIN", **ZSTD),
    "**export**: chosen by column": ours(STANDARD),
    "keep without leaving columns out": ours(Encoding(derive=False)),
    "**keep** (the default)": ours(COMPACT),
    "keep, zstd 9": ours(Encoding(level=9)),
    "keep, zstd 19": ours(Encoding(level=19)),
    "keep, Snappy as in the design": ours(SNAPPY),
}


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
        records = [keep.backtests.save_result(each).record for each in _given(sample)]
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
            store, given = keep.backtests, [*_given(sample)]
            encoding = Encoding(row_group_rows=rows)
            write = _best(lambda: [store.save_result(e, encoding=encoding) for e in given])  # noqa: B023
            read = _best(lambda: [store.tables(e["task_id"]) for e in given])  # noqa: B023
            one = _best(
                lambda: [
                    store.read(e["task_id"], SIGNALS, symbols=["S07/USDT"]).read_all()  # noqa: B023
                    for e in given  # noqa: B023
                ]
            )
            size = sum(_size(store, each["task_id"]) for each in given)
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
