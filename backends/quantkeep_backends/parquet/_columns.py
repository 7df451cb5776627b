"""Columns of canonical scalars, and the columns of a file: the types that every reader knows.

A file has the Arrow types of :mod:`quantkeep.arrow`, behind them the store's own columns. Canonical
columns are those whose Python values are canonical scalars (instants as integers, decimals and
dates as text), which is what rows are made of.
"""

from collections.abc import Container, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep import arrow
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Kind, plain_decimal
from quantkeep_backends.parquet._packed import (
    is_packed,
    is_single,
    plain_schema,
    repeated,
    unpacked,
)

STAMPS: Final = ("revision", "created_at", "updated_at", "schema_version")
INNER: Final = ("_revision", "_created_at", "_updated_at", "_schema_version")  # no record's are
_INSTANT: Final = pa.timestamp("us", tz="UTC")
_STAMP_TYPES: Final = (pa.int64(), _INSTANT, _INSTANT, pa.int32())


def file_schema(collection: Collection) -> pa.Schema:
    """The schema of a file of *collection*: its columns, and the store's own behind them.

    The store's own are called :data:`INNER` in memory; see :func:`outer` for files.
    """
    fields = [*arrow.schema(collection)]
    for name, type_ in zip(INNER, _STAMP_TYPES, strict=True):
        fields.append(pa.field(name, type_, nullable=False))
    return pa.schema(fields, {"quantkeep.collection": collection.name})


def stamp_names(collection: Collection) -> list[str]:
    """What files call the store's own columns: they give way to those of *collection*."""
    return [_free(name, collection.places) for name in STAMPS]


def outer(collection: Collection, schema: pa.Schema) -> pa.Schema:
    """*schema*, as of :func:`file_schema`, with the names that files have."""
    names = [*collection.names, *stamp_names(collection)]
    fields = [f.with_name(name) for f, name in zip(schema, names, strict=True)]
    return pa.schema(fields, schema.metadata)


def inner_names(names: Sequence[str]) -> list[str]:
    """The names of a file's columns, with :data:`INNER` for the store's own, which are the last.

    A record may have got a column since that is called as one of these is in the file.
    """
    return [*names[: -len(INNER)], *INNER]


def _free(name: str, taken: Container[str]) -> str:
    while name in taken:
        name += "_"
    return name


# -- to files --------------------------------------------------------------------------------------


def file_table(collection: Collection, canonical: pa.Table, stamps: Sequence[Any]) -> pa.Table:
    """The table of a file: canonical columns in the types of a file, and *stamps* behind them."""
    schema = file_schema(collection)
    arrays = [
        _to_file(column.kind, canonical.column(place), schema.field(place).type)
        for place, column in enumerate(collection.columns)
    ]
    made = [
        stamp if isinstance(stamp, pa.Array | pa.ChunkedArray) else pa.array(stamp, pa.int64())
        for stamp in stamps
    ]
    stamped = [m.cast(t) for m, t in zip(made, _STAMP_TYPES, strict=True)]
    return pa.Table.from_arrays([*arrays, *stamped], schema=schema)


def table_of(collection: Collection, rows: Sequence[StoredRow]) -> pa.Table:
    """The table of a file that holds *rows*."""
    canonical = arrow.canonical_table(collection, (row.values for row in rows))
    stamps = [[getattr(row, name) for row in rows] for name in STAMPS]
    return file_table(collection, canonical, stamps)


def _to_file(kind: Kind, values: Any, wanted: Any) -> Any:
    if kind is Kind.DATE:
        values = values.cast(pa.string())
    return values if values.type == wanted else values.cast(wanted)


def permuted(table: pa.Table, places: Any) -> pa.Table:
    """The rows of *table* at *places*, all of them or some; without dictionaries."""
    columns = [_taken(values, places) for values in table.columns]
    return pa.Table.from_arrays(columns, schema=plain_schema(table.schema))


def _taken(values: Any, places: Any) -> Any:
    if values.null_count == len(values):
        return unpacked(values.slice(0, len(places)))
    if not is_packed(values):
        return pc.take(one(values), places, boundscheck=False)
    if is_single(values):
        return repeated(values.slice(0, len(places)))
    whole = one(values.unify_dictionaries())
    return whole.dictionary.take(pc.take(whole.indices, places, boundscheck=False))


# -- from files ------------------------------------------------------------------------------------


def arranged(collection: Collection, table: pa.Table) -> pa.Table:
    """*table*, of an older file perhaps, with the columns of *collection* and the stamps.

    What the file does not have is null: columns are only ever added that may be (Z-3).
    """
    schema = file_schema(collection)
    if table.schema.equals(schema):
        return table
    arrays = [
        table.column(field.name)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def stored_rows(collection: Collection, table: pa.Table) -> list[StoredRow]:
    """The rows of a file's table; their digests are those of what was read, which has been proved
    by the checksum of its file.
    """
    table = arranged(collection, table)
    columns = [
        scalars(column.kind, table.column(place)) for place, column in enumerate(collection.columns)
    ]
    width = len(columns)
    stamps = [
        canonical(Kind.TIMESTAMP if n in (1, 2) else Kind.INTEGER, table.column(width + n))
        for n in range(len(STAMPS))
    ]
    digest = collection.digest
    return [
        StoredRow(values, revision, created_at, updated_at, version, digest(values))
        for values, revision, created_at, updated_at, version in zip(
            zip(*columns, strict=True), *[stamp.to_pylist() for stamp in stamps], strict=True
        )
    ]


def keys_of(collection: Collection, table: pa.Table) -> Iterator[Key]:
    """The key of each row of a log's table."""
    columns = [scalars(collection.column(n).kind, table.column(n)) for n in collection.stream]
    revisions = table.column(INNER[0]).to_pylist()
    return zip(*columns, revisions, strict=True)


def scalars(kind: Kind, values: Any) -> list[Any]:
    """The canonical scalars of a file's column."""
    found: list[Any] = canonical(kind, values).to_pylist()
    return found


def canonical(kind: Kind, values: Any) -> Any:
    """A file's column as a canonical one."""
    if kind is Kind.TIMESTAMP:
        return values.cast(pa.int64())
    if kind is Kind.DATE:
        return values.cast(pa.string())
    if kind is Kind.DECIMAL and pa.types.is_decimal(values.type):
        return _plain_decimals(values)
    return values


def is_constant(values: Any) -> bool:
    """Whether all of *values* are the same, or null."""
    if values.null_count or not len(values):
        return bool(values.null_count == len(values))
    return values[0] == values[-1] and bool(pc.all(pc.equal(values, values[0])).as_py())


def _plain_decimals(values: Any) -> Any:
    """Decimals as canonical text: plain notation, no trailing zeros."""
    texts = values.cast(pa.string())
    scientific = pc.fill_null(pc.match_substring(texts, "E"), False)  # Arrow writes 0 as 0E-18
    odd = [plain_decimal(Decimal(text)) for text in texts.filter(scientific).to_pylist()]
    if values.type.scale > 0:
        texts = pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), ".")
    if not odd:
        return texts
    plain = pa.array(odd, pa.string())
    return pc.replace_with_mask(one(texts), one(scientific), plain)


def one(values: Any) -> Any:
    """A single array: where to put what is computed by row."""
    if not isinstance(values, pa.ChunkedArray):
        return values
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
