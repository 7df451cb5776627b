"""What a JSON result said that no column holds, kept object by object beside the tables (Z-50)."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from quantkeep import documents
from quantkeep.backtests import _budget
from quantkeep.backtests._budget import reading
from quantkeep.backtests._lists import Rest
from quantkeep.backtests._stored import REMAINDER, StoredFile
from quantkeep.backtests._writer import Tagging
from quantkeep.blobs import Blobs
from quantkeep.errors import Corrupt, InvalidValue
from quantkeep.hosts import Hosts

_ROWS: Final = 10_000


class Place(NamedTuple):
    """Where an object stood: in the list *of* the symbol at that place of ``symbols``."""

    symbol: int
    of: str  # "symbols" itself, "signals" or "performance_curve"


Rests = dict[Place, dict[int, Rest]]


def schema() -> pa.Schema:
    """Of the file: a row for each object, with the fields as a canonical document."""
    return pa.schema(
        [
            pa.field("symbol", pa.int32()),
            pa.field("list", pa.string()),
            pa.field("row", pa.int32()),
            pa.field("fields", pa.string()),
            pa.field("absent", pa.string()),
        ]
    )


def stage(rests: Rests, hosts: Hosts, blobs: Blobs) -> StoredFile:
    """Stage the file.

    Raises:
        InvalidValue: a field holds what no document can; names it.
    """
    with blobs.create() as blob:
        sink = Tagging(blob)
        rows = write(rests, hosts, sink)
    return StoredFile(rows=rows, etag=sink.etag, blob=blob.ref)


def write(rests: Rests, hosts: Hosts, sink: Any) -> int:
    """Write the file to *sink*; its rows."""
    rows, written = _rows(rests, hosts), 0
    with pq.ParquetWriter(
        sink, schema(), compression="zstd", compression_level=9, store_schema=False,
        write_statistics=False,
    ) as writer:  # fmt: skip
        while chunk := [*islice(rows, _ROWS)]:
            columns = zip(*chunk, strict=True)
            arrays = [pa.array(c, t) for c, t in zip(columns, schema().types, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema()))
            written += len(chunk)
    return written


def _rows(rests: Rests, hosts: Hosts) -> Iterator[tuple[Any, ...]]:
    for place in sorted(rests):
        for row, rest in sorted(rests[place].items()):
            fields = _encoded(rest, place, row, hosts) if rest.fields else None
            absent = json.dumps(sorted(rest.absent)) if rest.absent else None
            yield place.symbol, place.of, row, fields, absent


def _encoded(rest: Rest, place: Place, row: int, hosts: Hosts) -> str:
    try:
        return documents.encode(rest.fields, hosts)
    except InvalidValue as error:
        raise error.within("BacktestResult", named(place, row)) from None


def named(place: Place, row: int) -> str:
    """What an object is called in errors: ``symbols[0].signals[12]``."""
    if place.of == "symbols":
        return f"symbols[{row}]"
    return f"symbols[{place.symbol}].{place.of}[{row}]"


def load(stored: StoredFile | None, hosts: Hosts, blobs: Blobs) -> Rests:
    """What :func:`stage` was given; raises :class:`Corrupt`."""
    return {} if stored is None else read(blobs.open(stored.blob), hosts)


def read(source: Any, hosts: Hosts) -> Rests:
    """What :func:`write` was given."""
    rests: Rests = {}
    with reading(REMAINDER):
        file = pq.ParquetFile(source, pre_buffer=False)
    if not file.schema_arrow.equals(schema()):
        raise Corrupt(f"the remainder has another schema: {file.schema_arrow}")
    for place in range(file.metadata.num_row_groups):
        _budget.check_row_group(file, place, schema().names, REMAINDER)
        with reading(REMAINDER):
            columns: Mapping[str, Any] = file.read_row_group(place).to_pydict()
        for symbol, of, row, fields, absent in zip(*columns.values(), strict=True):
            rest = Rest(
                documents.decode(fields, hosts) if fields else {},
                json.loads(absent) if absent else [],
            )
            rests.setdefault(Place(symbol, of), {})[row] = rest
    return rests
