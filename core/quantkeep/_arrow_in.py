"""From Arrow tables to sealed rows.

Columns are converted and checked whole, before anything is written; what is left to do for each
row is its tuple and its digest.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import attrs
import pyarrow as pa

from quantkeep import derived, documents
from quantkeep._arrow_checks import check
from quantkeep._arrow_columns import scalars
from quantkeep._arrow_schema import scalar_type
from quantkeep.ahead import ahead
from quantkeep.collection import Collection, SealedRow
from quantkeep.columns import Column, Kind
from quantkeep.errors import InvalidValue
from quantkeep.hosts import Hosts
from quantkeep.query import ENVELOPE_COLUMNS

T = TypeVar("T")
CHUNK_ROWS: Final = 10_000
_LONG: Final = 50_000  # rows: from here on, a column is worth a thread


class ArrowRows:
    """Sealed rows of a table, made anew each time they are iterated; ``len()`` counts them.

    Attributes:
        table: the columns of the collection in order, each in the Arrow type whose Python values
            are its canonical scalars (timestamps as int64, decimals and dates as text).
    """

    def __init__(self, collection: Collection, table: pa.Table) -> None:
        self._collection = collection
        self.table = table

    def __len__(self) -> int:
        rows: int = self.table.num_rows
        return rows

    def parts(self) -> Iterator[pa.Table]:
        """The table, whole."""
        yield self.table

    def __iter__(self) -> Iterator[SealedRow]:
        seal = self._collection.sealer.seal_row
        for batch in self.table.to_batches(max_chunksize=CHUNK_ROWS):
            yield from map(seal, zip(*[c.to_pylist() for c in batch.columns], strict=True))


def rows(collection: Collection, source: Any, hosts: Hosts) -> ArrowRows:
    """The rows of *source*, converted, completed and checked, ready to be appended.

    A column that is missing takes the record's default, or null; what the record derives from
    other columns is derived. A reader that can be read only once is read here, into Arrow memory:
    give a larger source in portions.

    Args:
        collection: whose rows these are to be.
        source: anything with ``__arrow_c_stream__``: pyarrow tables, batches and readers, frames
            of pandas and polars, relations of DuckDB. NaN and null are kept apart; in pandas, only
            nullable types (``Float64``, ``convert_dtypes()``) have nulls among their floats.
        hosts: the types that defaults may hold.

    Raises:
        InvalidValue: a column is missing, unknown, or of a type that does not widen to the
            collection's without loss; a value does not fit. Names the column and the first row.
    """
    given = _table(source, collection)
    _check_names(given.column_names, collection)
    said = [column for column in collection.columns if column.name in given.column_names]
    made = _made(said, given, collection)
    defaults = _Defaults(collection, hosts, given.num_rows)
    arrays = {c.name: made[c.name] if c.name in made else defaults(c) for c in collection.columns}
    table = derived.fill(collection, pa.table(arrays))
    check_all(collection, table)
    return ArrowRows(collection, table)


def _made(columns: Sequence[Column], given: pa.Table, collection: Collection) -> dict[str, Any]:
    def scalars_of(column: Column) -> Any:
        return scalars(column, given.column(column.name), collection.name)

    return dict(zip([c.name for c in columns], _each(scalars_of, columns, given), strict=True))


def check_all(collection: Collection, table: pa.Table) -> None:
    """Hold every value of *table*, canonical columns, to what its column demands.

    Raises:
        InvalidValue, TooLarge: names the first column that has a bad value, its row and the value.
    """

    def checked(column: Column) -> None:
        check(column, table.column(column.name), collection)

    deque(_each(checked, collection.columns, table), maxlen=0)


def _each(work: Callable[[Column], T], columns: Sequence[Column], table: pa.Table) -> Iterator[T]:
    """What *work* gives for each of *columns* of *table*; threads, if it is a long one."""
    return ahead(work, columns) if table.num_rows > _LONG else map(work, columns)


# -- sources -------------------------------------------------------------------------------------


def _table(source: Any, collection: Collection) -> pa.Table:
    if isinstance(source, pa.Table):
        return source
    if not hasattr(source, "__arrow_c_stream__") and not isinstance(source, pa.RecordBatch):
        raise InvalidValue(
            f"cannot be read from {type(source).__name__}",
            record=collection.name, value=source,
            expected="an Arrow source (__arrow_c_stream__): pyarrow, pandas, polars, DuckDB ...; "
            "records go to append()",
        )  # fmt: skip
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(source, pandas.DataFrame):
        return _from_pandas(source)
    if isinstance(source, pa.RecordBatch):
        return pa.Table.from_batches([source])
    return pa.table(source)


def _from_pandas(frame: Any) -> pa.Table:
    """What pandas itself does turns the NaNs of NumPy floats into nulls; here they stay NaN."""
    table = pa.Table.from_pandas(frame)
    for place, field in enumerate(table.schema):
        if pa.types.is_floating(field.type) and table.column(place).null_count:
            values = frame.iloc[:, place] if place < frame.shape[1] else None
            if values is not None and not hasattr(values.dtype, "na_value"):
                exact = pa.array(values.to_numpy(), from_pandas=False)
                table = table.set_column(place, field.name, exact)
    return table


def _check_names(names: list[str], collection: Collection) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidValue("is given twice", record=collection.name, field=name)
        if name in collection.places:
            continue
        said = f"is no column of {collection.name}"
        if name in ENVELOPE_COLUMNS:
            said = "is given by the store"
        raise InvalidValue(
            said, record=collection.name, field=name,
            expected=f"drop it; the columns are {', '.join(collection.names)}",
        )  # fmt: skip


# -- columns that are not given -------------------------------------------------------------------


class _Defaults:
    """What the record's class says of a field that is left out; without a class, null."""

    def __init__(self, collection: Collection, hosts: Hosts, count: int) -> None:
        fields = attrs.fields(collection.record) if collection.record else ()
        self._defaults = {field.name: field.default for field in fields}
        self._record = collection.record_name
        self._hosts = hosts
        self._count = count

    def __call__(self, column: Column) -> pa.ChunkedArray:
        default = self._defaults.get(column.name)
        make = getattr(default, "factory", None)  # of a field without a default: it refuses
        if make is None:
            values = [self._scalar(column, default)] * self._count
        else:
            made = [make() for _ in range(self._count or 1)][: self._count]
            values = [self._scalar(column, value) for value in made]
        return pa.chunked_array([pa.array(values, scalar_type(column.kind))])

    def _scalar(self, column: Column, value: Any) -> Any:
        if value is None:
            return None
        if column.kind is Kind.DOCUMENT:
            return documents.encode(value, self._hosts, path=column.name)
        return column.canonical(value, record=self._record)
