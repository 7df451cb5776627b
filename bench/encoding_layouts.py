"""Ways to write backtest results as Parquet, and what each of them takes."""

import gc
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
import pyarrow.parquet as pq
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
        write = fastest(lambda: _keep(files, _raw_files(sample.tables, options)))
        read = fastest(lambda: [pq.read_table(io.BytesIO(file)) for file in files])
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
            given = [*as_given(sample)]
            write = fastest(lambda: [store.save_result(each, encoding=encoding) for each in given])
            read = fastest(lambda: [store.tables(each["task_id"]) for each in given])
            size = sum(stored_size(store, each["task_id"]) for each in given)
        return Cost(size, write, read)

    return measure


def as_given(sample: Sample) -> Iterator[dict[str, Any]]:
    """Each result as metadata and tables."""
    for original, tables in zip(sample.originals, sample.tables, strict=True):
        said = {name: value for name, value in original.items() if name != "symbols"}
        yield {**said, **{name: getattr(tables, name) for name in TABLES}}


def stored_size(store: BacktestStore, task_id: str) -> int:
    """Bytes of a result's files, and of what its record says of them."""
    record = store.fetch(task_id)
    assert record.file_size is not None
    return record.file_size + len(documents.encode(record.files, Hosts()))


def fastest(work: Callable[[], object], runs: int = 3) -> float:
    """Seconds of the fastest of a few runs."""
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
