"""What somebody would write by hand on pyarrow: a synced Parquet file for each append."""

import os
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from quantkeep import arrow
from quantkeep.tape import Trade

SCHEMA = arrow.schema(Trade.collection)
_take = attrgetter(*SCHEMA.names)
_CHUNK = 10_000
_REPEATING = [
    "account", "mode", "symbol", "side", "action", "exec_type", "entry_reason", "regime"
]  # fmt: skip


def table(trades: Iterable[Trade]) -> pa.Table:
    """*trades*, column by column."""
    waiting, parts = iter(trades), list[pa.Table]()
    while rows := [_take(trade) for trade in islice(waiting, _CHUNK)]:
        columns = zip(*rows, strict=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
        parts.append(pa.Table.from_arrays(arrays, schema=SCHEMA))
    return pa.concat_tables(parts)


class Trades:
    """A folder of Parquet files, in the order of their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._number = 0

    def append(self, trade: Trade) -> None:
        """A file of one row."""
        self.write(table([trade]))

    def extend(self, trades: Iterable[Trade]) -> None:
        """A file of all of them."""
        self.write(table(trades))

    def write(self, rows: pa.Table) -> None:
        """A file that lasts, or none: synced, renamed, and its folder synced."""
        self._number += 1
        path = self.folder / f"{self._number:08}.parquet"
        temporary = self.folder / f".{uuid.uuid4().hex}"
        pq.write_table(
            rows, temporary, compression="zstd", row_group_size=16_384, use_dictionary=_REPEATING
        )
        _sync(temporary, os.O_RDONLY)
        temporary.rename(path)
        _sync(self.folder, os.O_RDONLY)

    def read(self) -> pa.Table:
        """Everything."""
        return ds.dataset(self.folder, format="parquet").to_table()

    def between(self, symbol: str, since: datetime, until: datetime) -> pa.Table:
        """One symbol in a span of time."""
        at = ds.field("timestamp")
        wanted = (ds.field("symbol") == symbol) & (at >= since) & (at < until)
        return ds.dataset(self.folder, format="parquet").to_table(filter=wanted)

    def newest(self, count: int) -> pa.Table:
        """The last rows of the newest file that has so many."""
        rows = 0
        tables: list[pa.Table] = []
        for path in sorted(self.folder.glob("*.parquet"), reverse=True):
            file = pq.ParquetFile(path)
            group = file.num_row_groups - 1
            tables.append(file.read_row_group(group))
            rows += tables[-1].num_rows
            if rows >= count:
                break
        return pa.concat_tables(reversed(tables)).slice(max(rows - count, 0))

    def batches(self) -> Iterator[Any]:
        """Everything, in bounded memory."""
        return iter(ds.dataset(self.folder, format="parquet").to_batches())


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
