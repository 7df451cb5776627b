"""The Arrow type of every column."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa

from quantkeep.collection import Collection
from quantkeep.columns import Column, Kind
from quantkeep.query import ENVELOPE_COLUMNS

ENVELOPE: Final = ("revision",)  # what reads carry beside the record's own columns

_TYPES: Final[dict[Kind, Callable[[], Any]]] = {
    Kind.TEXT: pa.string,
    Kind.INTEGER: pa.int64,
    Kind.REAL: pa.float64,
    Kind.BOOLEAN: pa.bool_,
    Kind.TIMESTAMP: lambda: pa.timestamp("us", tz="UTC"),
    Kind.DATE: pa.date32,
    # Not arrow.uuid: DuckDB, polars and pandas show text, and bytes for the extension.
    Kind.UUID: pa.string,
    Kind.BINARY: pa.binary,
    Kind.DOCUMENT: pa.string,
}


def arrow_type(column: Column) -> Any:
    """The Arrow type that *column* is read as."""
    if column.kind is not Kind.DECIMAL:
        return _TYPES[column.kind]()
    if column.precision > 76:  # beyond what Arrow's decimals hold
        return pa.string()
    wide = column.precision > 38
    return (pa.decimal256 if wide else pa.decimal128)(column.precision, column.scale)


def schema(collection: Collection, *, envelope: Sequence[str] = ()) -> pa.Schema:
    """The Arrow schema of *collection*, a field for each column in order.

    Args:
        collection: whose rows.
        envelope: the store's own columns to put behind them: ``revision``, ``created_at``,
            ``updated_at``. Reads carry ``revision``.
    """
    columns = (*collection.columns, *(ENVELOPE_COLUMNS[name] for name in envelope))
    fields = [_field(column) for column in columns]
    return pa.schema(fields, {"quantkeep.collection": collection.name})


def _field(column: Column) -> pa.Field:
    said = {"quantkeep.kind": column.kind.value}
    if column.doc:
        said["quantkeep.doc"] = column.doc
    return pa.field(column.name, arrow_type(column), nullable=column.nullable, metadata=said)


_SCALARS: Final = {
    Kind.INTEGER: pa.int64(),
    Kind.TIMESTAMP: pa.int64(),
    Kind.REAL: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.BINARY: pa.binary(),
}


def scalar_type(kind: Kind) -> Any:
    """The Arrow type whose Python values are the canonical scalars of columns of *kind*."""
    return _SCALARS.get(kind, pa.string())
