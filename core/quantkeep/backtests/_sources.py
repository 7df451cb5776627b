"""A table as a caller has it: Arrow data of any make, brought into the schema batch by batch."""

import base64
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs
import pyarrow as pa

from quantkeep._arrow_columns import scalars
from quantkeep.backtests._checks import RECORD
from quantkeep.backtests.schemas import TableSchema, arrow_type
from quantkeep.columns import Column
from quantkeep.errors import InvalidValue

_ROWS: Final = 100_000  # of a batch


@attrs.frozen
class Source:
    """Rows in the schema, and the Arrow schema they had.

    Attributes:
        batches: to be iterated once.
        given: how the caller's table spelled its columns; ``None``: as the schema does.
        is_whole: all of it is in memory already.
    """

    batches: Iterable[Any]
    given: Any | None
    is_whole: bool


def source(table: TableSchema, rows: Any) -> Source:
    """*rows* (Arrow, a frame, or an iterable of batches) as batches of the schema.

    Raises:
        InvalidValue: no Arrow data; a column is missing, unknown, given twice or of a type that
            does not become the schema's without loss. Names table and column.
    """
    if rows is None:
        return Source([], None, is_whole=True)
    schema, batches, is_whole = _opened(table, rows)
    _check_names(table, schema.names)
    given = None if schema.equals(table.arrow, check_metadata=True) else schema
    canonical = (_canonical(table, batch) for batch in batches)
    return Source([*canonical] if is_whole else canonical, given, is_whole)


def _opened(table: TableSchema, rows: Any) -> tuple[Any, Iterator[Any], bool]:
    if _is_pandas(rows):
        rows = _from_pandas(table, rows)
    if isinstance(rows, pa.RecordBatch):
        rows = pa.Table.from_batches([rows])
    if isinstance(rows, pa.Table):
        return rows.schema, iter(rows.to_batches(max_chunksize=_ROWS)), True
    if isinstance(rows, pa.RecordBatchReader):  # as it is: a detour would cost errors their type
        return rows.schema, _read(table, rows), False
    if hasattr(rows, "__arrow_c_stream__"):
        return _stream(table, rows)
    if isinstance(rows, Iterable) and not isinstance(rows, str | bytes | dict):
        return _segments(table, rows)
    raise InvalidValue(
        f"cannot be read from {type(rows).__name__}", record=RECORD, field=table.name, value=rows,
        expected="an Arrow source (__arrow_c_stream__): pyarrow, pandas, polars, DuckDB ...",
    )  # fmt: skip


def _stream(table: TableSchema, rows: Any) -> tuple[Any, Iterator[Any], bool]:
    try:
        reader = pa.RecordBatchReader.from_stream(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise _unreadable(table, error) from None
    return reader.schema, _read(table, reader), False


def _read(table: TableSchema, reader: Any) -> Iterator[Any]:
    with reader:
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except pa.ArrowException as error:
                raise _unreadable(table, error) from None
            yield from _sliced(batch)


def _sliced(batch: Any) -> Iterator[Any]:
    for start in range(0, len(batch), _ROWS):
        yield batch.slice(start, _ROWS)


def _segments(table: TableSchema, segments: Iterable[Any]) -> tuple[Any, Iterator[Any], bool]:
    """Batches or tables one after the other; all must have the schema of the first."""
    parts = iter(segments)
    first = next(parts, None)
    schema = table.arrow if first is None else _schema_of(table, first, 0)
    return schema, _drifting(table, schema, first, parts), False


def _drifting(table: TableSchema, schema: Any, first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    place = 0
    part = first
    while part is not None:
        found = _schema_of(table, part, place)
        if not found.equals(schema):
            raise InvalidValue(
                f"has another schema in segment {place}: {_difference(schema, found)}",
                record=RECORD, field=table.name, value=place,
                expected="one schema for all segments; cast them first",
            )  # fmt: skip
        batches = [part] if isinstance(part, pa.RecordBatch) else part.to_batches()
        for batch in batches:
            yield from _sliced(batch)
        part = next(rest, None)
        place += 1


def _schema_of(table: TableSchema, part: Any, place: int) -> Any:
    if not isinstance(part, pa.RecordBatch | pa.Table):
        raise InvalidValue(
            f"has a {type(part).__name__} as segment {place}", record=RECORD, field=table.name,
            value=part, expected="record batches or tables of pyarrow",
        )  # fmt: skip
    return part.schema


def _difference(schema: Any, found: Any) -> str:
    if schema.names != found.names:
        return f"columns {', '.join(found.names)}"
    name = next(n for n in schema.names if schema.field(n) != found.field(n))
    return f"{name} is {found.field(name).type}, not {schema.field(name).type}"


# -- pandas ----------------------------------------------------------------------------------------


def _is_pandas(rows: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(rows, pandas.DataFrame)


def _from_pandas(table: TableSchema, frame: Any) -> Any:
    """NaN stays NaN, and a cell that Arrow refuses, such as a tuple, is named by its column."""
    labels = [label for label in frame.columns if not isinstance(label, str)]
    if labels:
        raise InvalidValue(
            f"has the column label {labels[0]!r} ({type(labels[0]).__name__})", record=RECORD,
            field=table.name, value=labels[0],
            expected="labels of text; flatten them: "
            'frame.columns = ["_".join(map(str, label)) for label in frame.columns]',
        )  # fmt: skip
    try:
        found = pa.Table.from_pandas(frame)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _refused_cell(table, frame, error) from None
    return _with_nans(found, frame)


def _refused_cell(table: TableSchema, frame: Any, error: Exception) -> InvalidValue:
    for name in frame.columns:
        try:
            pa.array(frame[name], from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as cause:
            return InvalidValue(
                f"cannot be read as Arrow: {str(cause)[:150]}", record=RECORD,
                field=f"{table.name}.{name}", value=frame[name].iloc[0] if len(frame) else None,
                expected="one plain type in the whole column: text, floats, integers or instants",
            )  # fmt: skip
    return _unreadable(table, error)


def _with_nans(table: Any, frame: Any) -> Any:
    """What pandas itself does turns the NaNs of NumPy floats into nulls."""
    for place, field in enumerate(table.schema):
        if pa.types.is_floating(field.type) and table.column(place).null_count:
            values = frame.iloc[:, place] if place < frame.shape[1] else None
            if values is not None and not hasattr(values.dtype, "na_value"):
                exact = pa.array(values.to_numpy(), from_pandas=False)
                table = table.set_column(place, field.name, exact)
    return table


def _unreadable(table: TableSchema, error: Exception) -> InvalidValue:
    return InvalidValue(
        f"cannot be read as Arrow: {str(error)[:150]}", record=RECORD, field=table.name,
        expected=f"the columns {', '.join(table.names)}",
    )  # fmt: skip


# -- columns ---------------------------------------------------------------------------------------


def _check_names(table: TableSchema, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1 or name not in table.places:
            said = "is given twice" if name in table.places else "is no column of this table"
            raise InvalidValue(
                said, record=RECORD, field=f"{table.name}.{name}", value=name,
                expected=f"exactly {', '.join(table.names)}",
            )  # fmt: skip
    missing = [column for column in table.columns if column.name not in names]
    if missing:
        others = ", ".join(column.name for column in missing[1:])
        raise InvalidValue(
            f"is missing, and so are {others}" if others else "is missing", record=RECORD,
            field=f"{table.name}.{missing[0].name}",
            expected=f"a column of {arrow_type(missing[0])}; of nulls, if there are no values",
        )  # fmt: skip


def _canonical(table: TableSchema, batch: Any) -> Any:
    if batch.schema.equals(table.arrow):
        return batch
    arrays = [_column(column, batch.column(column.name), table) for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.arrow)


def _column(column: Column, array: Any, table: TableSchema) -> Any:
    wanted = arrow_type(column)
    if array.type.equals(wanted):
        return array
    try:
        found = scalars(_taking_nulls(column), _zoned(pa.chunked_array([array])), table.name)
    except InvalidValue as error:
        place = (error.record or "").removeprefix(table.name)
        gaps = pa.types.is_integer(wanted) and pa.types.is_floating(array.type)
        raise InvalidValue(
            error.message, record=RECORD, field=f"{table.name}{place}.{column.name}",
            value=error.value, expected=_with_gaps(column, wanted) if gaps else error.expected,
        ) from None  # fmt: skip
    return _narrowed(found, wanted, column, table)


def _with_gaps(column: Column, wanted: Any) -> str:
    return (
        f"{wanted}: floats are not rounded here; where pandas made them of integers with gaps, "
        f'frame.astype({{"{column.name}": "{str(wanted).capitalize()}"}})'
    )


def _taking_nulls(column: Column) -> Column:
    return attrs.evolve(column, nullable=True, choices=(), between=None)


def _zoned(column: Any) -> Any:
    """An instant without a zone means UTC (Z-52)."""
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        return column.cast(pa.timestamp(column.type.unit, "UTC"))
    return column


def _narrowed(column: Any, wanted: Any, said: Column, table: TableSchema) -> Any:
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    try:
        return whole.cast(wanted)
    except pa.ArrowInvalid as error:
        raise InvalidValue(
            str(error)[:150], record=RECORD, field=f"{table.name}.{said.name}",
            expected=f"what fits {wanted}",
        ) from None  # fmt: skip


# -- as it was given -------------------------------------------------------------------------------


def remembered(schema: Any | None) -> str | None:
    """The text that a schema is kept as."""
    return None if schema is None else base64.b64encode(schema.serialize()).decode()


def as_given(table: TableSchema, found: Any, given: str | None) -> Any:
    """*found*, a table of the schema, with the columns and types that it was given in."""
    if given is None:
        return found
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(given)))
    arrays = [_given(found[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _given(column: Any, wanted: Any) -> Any:
    if pa.types.is_timestamp(wanted) and wanted.tz is not None:
        column = column.cast(pa.timestamp("us", "UTC"))
    if pa.types.is_dictionary(wanted):
        column = column.cast(wanted.value_type).dictionary_encode()
    return column.cast(wanted)
