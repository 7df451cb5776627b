"""Parquet: every column in its Arrow type (see :mod:`quantkeep.arrow`), written in row groups."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quantkeep.cli.listing import Listing
from quantkeep.columns import Column, Kind, Row

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS: Final = 10_000  # of a row group: what is in memory at once


def write(listing: Listing, place: Path) -> None:
    """Write *listing* to the file *place*."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from quantkeep.arrow import arrow_type

    fields = [pa.field(c.name, arrow_type(c), metadata=_said(c)) for c in listing.columns]
    schema = pa.schema(fields)
    rows = iter(listing.rows)
    with pq.ParquetWriter(place, schema, compression="zstd") as writer:
        while chunk := [*islice(rows, _ROWS)]:
            writer.write_table(_table(listing.columns, chunk, schema))


def _said(column: Column) -> dict[str, str]:
    return {"quantkeep.kind": column.kind.value, "quantkeep.doc": column.doc}


def _table(columns: Sequence[Column], rows: Sequence[Row], schema: "pa.Schema") -> Any:
    import pyarrow as pa

    # what is stored otherwise than Arrow spells it is cast, exactly
    storage = {Kind.TIMESTAMP: pa.int64, Kind.DATE: pa.string, Kind.DECIMAL: pa.string}
    arrays = []
    for column, wanted, cells in zip(columns, schema.types, zip(*rows, strict=True), strict=True):
        first = storage[column.kind]() if column.kind in storage else wanted
        arrays.append(pa.array(cells, first).cast(wanted))
    return pa.Table.from_arrays(arrays, schema=schema)
