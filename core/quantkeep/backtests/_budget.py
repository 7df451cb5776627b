"""Refusing what would not fit into memory before any of it is allocated (bombs).

A Parquet file of 200 kB can hold 400 MB: a dictionary of one value, repeated. What its footer says
of sizes need not be true, so the rows that it declares are multiplied by the width of their types.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.errors import Corrupt, QuantkeepError, TooLarge

ROW_GROUP_BYTES: Final = 256 * 2**20
TABLE_BYTES: Final = 4 * 2**30
_TEXT_BYTES: Final = 16  # an index, an offset and a short text; long ones are looked at when read
_WIDTHS: Final = {"INT32": 4, "INT64": 8, "DOUBLE": 8, "FLOAT": 4, "BOOLEAN": 1}


def check_row_group(
    file: Any, place: int, columns: Sequence[str], table: str, *, most: int = ROW_GROUP_BYTES
) -> None:
    """Refuse a row group that would take more than *most* bytes.

    Raises:
        TooLarge: names the table, and what to do.
    """
    group = file.metadata.row_group(place)
    places = {name: place for place, name in enumerate(file.schema_arrow.names)}
    bytes_ = sum(_declared(group, places[name]) for name in columns)
    if bytes_ > most:
        raise TooLarge(
            f"row group {place + 1} declares {group.num_rows:,} rows, {bytes_:,} bytes",
            record="BacktestResult", field=table, value=bytes_,
            expected=f"at most {most:,} bytes; write it anew in smaller row groups",
        )  # fmt: skip


def check_table(rows: int, columns: Sequence[Any], table: str, *, most: int = TABLE_BYTES) -> None:
    """Refuse to hold *rows* of *columns* (Arrow fields) in memory at once, beyond *most* bytes."""
    width = sum(_width(field.type) for field in columns)
    if rows * width > most:
        raise TooLarge(
            f"{rows:,} rows of {width} bytes", record="BacktestResult", field=table,
            value=rows * width,
            expected=f"at most {most:,} bytes at once; read() and scan() stream in bounded memory",
        )  # fmt: skip


def _declared(group: Any, place: int) -> int:
    """The more of what the footer says, and of what the rows come to."""
    column = group.column(place)
    width = _WIDTHS.get(column.physical_type, _TEXT_BYTES)
    declared: int = max(group.num_rows * width, column.total_uncompressed_size)
    return declared


def _width(kind: Any) -> int:
    try:
        width: int = max(kind.bit_width // 8, 1)
    except ValueError:  # text has none
        width = _TEXT_BYTES
    return width


def read_group(file: Any, place: int, columns: Sequence[str], table: str) -> Any:
    """Columns of one row group as a table, if they fit; *file* reads texts as dictionaries.

    Raises:
        TooLarge: they declare more than :data:`ROW_GROUP_BYTES`, or their texts come to more.
        Corrupt: they cannot be read.
    """
    check_row_group(file, place, columns, table)
    with reading(table):
        found = file.read_row_group(place, columns=list(columns))
        for number, field in enumerate(found.schema):
            if pa.types.is_dictionary(field.type):
                plain = _texts(found.column(number), f"{table}.{field.name}")
                found = found.set_column(number, field.name, plain)
    return found


def _texts(column: Any, name: str) -> Any:
    """A dictionary of texts written out; one long text, often repeated, is a bomb."""
    if sum(_longest(chunk) * len(chunk) for chunk in column.chunks) > ROW_GROUP_BYTES:
        _check_texts(column, name)
    return column.cast(column.type.value_type)


def _longest(chunk: Any) -> int:
    return pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0


def _check_texts(column: Any, name: str) -> None:
    """Add up what they come to, row by row."""
    size = sum(
        pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
        for chunk in column.chunks
    )
    if size > ROW_GROUP_BYTES:
        raise TooLarge(
            f"holds {size:,} bytes of text in one row group", record="BacktestResult", field=name,
            value=size, expected=f"at most {ROW_GROUP_BYTES:,}",
        )  # fmt: skip


@contextmanager
def reading(table: str) -> Iterator[None]:
    """What Arrow complains of while reading is damage; what we complain of stays what it is."""
    try:
        yield
    except QuantkeepError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise Corrupt(f"{table} cannot be read as Parquet: {error}", locator=table) from None
