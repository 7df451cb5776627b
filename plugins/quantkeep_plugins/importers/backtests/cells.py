"""Cells of CSV files and columns of Parquet files, as plain values."""

import csv
import gzip
import io
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from quantkeep import Corrupt, InvalidValue, NotFound

_INTEGER: Final = re.compile(r"[+-]?\d{1,18}")
_MOST_BYTES: Final = 2**30


def rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, gzipped or not, cells as they are written.

    Raises:
        NotFound: there is no such file.
        InvalidValue: it cannot be read, or unfolds to more than a gigabyte.
    """
    yield from csv.DictReader(io.StringIO(_text(path)))


def _text(path: Path) -> str:
    if not path.exists():
        raise NotFound(f"there is no {path}")
    try:
        opened: Any = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rb") as file:
            content: bytes = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InvalidValue(f"{path} unfolds to more than {_MOST_BYTES:,} bytes")
        return content.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{path} cannot be read: {error}", expected="CSV in UTF-8") from None


def plain(cell: str) -> Any:
    """What a cell says: an integer, a float (``inf`` and ``nan`` too), text; ``None`` if blank."""
    if not cell:
        return None
    if _INTEGER.fullmatch(cell):
        return int(cell)
    try:
        return float(cell)
    except ValueError:
        return cell


def columns(path: Path) -> dict[str, list[Any]]:
    """The columns of a Parquet file as plain values; instants as ISO text.

    Raises:
        NotFound: there is no such file.
        Corrupt: it is no Parquet.
        InvalidValue: an instant is finer than a microsecond.
    """
    if not path.exists():
        raise NotFound(f"there is no {path}")
    try:
        table = pq.read_table(path)
    except (OSError, ValueError) as error:
        raise Corrupt(f"{path} cannot be read as Parquet: {error}", locator=str(path)) from None
    return {name: [*map(_plain, _micros(table[name]).to_pylist())] for name in table.schema.names}


def _micros(column: Any) -> Any:
    """Nanoseconds, which Arrow gives out as pandas has them, in microseconds."""
    kind = column.type
    if getattr(kind, "unit", None) != "ns":
        return column
    wider = pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.duration("us")
    try:
        return column.cast(wider)
    except pa.ArrowInvalid as error:
        raise InvalidValue(f"is finer than a microsecond: {error}", field="timestamp") from None


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
