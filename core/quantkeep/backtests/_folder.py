"""The directory of one result, as other programs read it (BT-9, BT-10).

{task_id}/symbol_summary.parquet     every column, as the schema says it
{task_id}/symbol_signals.parquet
{task_id}/performance_curve.parquet
{task_id}/metadata.json              schema_version, compression, parquet_files, created_at,
                                     task_id; "result" and "original" are this library's
{task_id}/remainder.parquet          if the JSON said what no column holds
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from quantkeep import documents
from quantkeep.backtests import _budget, _remainder
from quantkeep.backtests._budget import reading
from quantkeep.backtests._plan import Plan, planned
from quantkeep.backtests._remainder import Rests
from quantkeep.backtests._stored import REMAINDER
from quantkeep.backtests._writer import Tagging
from quantkeep.backtests.encodings import Encoding
from quantkeep.backtests.schemas import TABLES, V1, ResultSchema, TableSchema, restored
from quantkeep.errors import (
    AlreadyExists,
    Corrupt,
    Invalid,
    NotFound,
    PermissionDenied,
    QuantkeepError,
    StoreFull,
    TooLarge,
    Unavailable,
    scrubbed,
)
from quantkeep.failpoints import passing
from quantkeep.hosts import Hosts

METADATA: Final = "metadata.json"
_METADATA_BYTES: Final = 64 * 2**20
_FIELDS: Final = ("strategy", "symbols", "timeframe", "status", "error", "metadata")


@contextmanager
def told(what: Path) -> Iterator[None]:
    """What goes wrong with a file, as a typed error."""
    try:
        yield
    except OSError as error:
        if isinstance(error, QuantkeepError):
            raise
        kind = {errno.ENOSPC: StoreFull, errno.EACCES: PermissionDenied, errno.ENOENT: NotFound}
        said = f"{what}: {error.strerror or error}"
        raise kind.get(error.errno or 0, Unavailable)(said) from scrubbed(error)


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Where to write so that *folder* appears whole or not at all; raises AlreadyExists."""
    if folder.exists():
        raise AlreadyExists(f"{folder} is there already: remove it, or export somewhere else")
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        with told(part):
            part.mkdir(parents=True)
        yield part
        with told(folder):
            part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


# -- writing ---------------------------------------------------------------------------------------


def write_table(
    place: Path, table: TableSchema, batches: Any, encoding: Encoding
) -> dict[str, Any]:
    """One table as one file; what ``metadata.json`` says of it.

    Args:
        place: the directory.
        table: its schema; every column of it is written.
        batches: the rows.
        encoding: without columns left out or kept otherwise.
    """
    rest = iter(batches)
    first = next(rest, None)
    plan = Plan(table) if first is None else planned(table, first, encoding)
    path, rows = place / f"{table.name}.parquet", 0
    with told(path), path.open("wb") as file:
        sink = Tagging(file)
        with pq.ParquetWriter(sink, plan.schema, **plan.writer_options(encoding)) as writer:
            for batch in () if first is None else chain([first], rest):
                writer.write_batch(batch, row_group_size=encoding.row_group_rows)
                rows += len(batch)
    passing(f"backtests.export.{table.name}")
    return {"row_count": rows, "file_size_bytes": sink.tell(), "etag": sink.etag}


def write_remainder(place: Path, rests: Rests, hosts: Hosts) -> dict[str, Any]:
    """What no column holds; what ``metadata.json`` says of it."""
    path = place / f"{REMAINDER}.parquet"
    with told(path), path.open("wb") as file:
        sink = Tagging(file)
        rows = _remainder.write(rests, hosts, sink)
    return {"row_count": rows, "file_size_bytes": sink.tell(), "etag": sink.etag}


def write_metadata(place: Path, said: Mapping[str, Any], hosts: Hosts) -> None:
    """``metadata.json``; what JSON has no word for is tagged as in :mod:`quantkeep.documents`."""
    plain = json.loads(documents.encode(said, hosts, limit=_METADATA_BYTES))
    path = place / METADATA
    with told(path), path.open("w", encoding="utf-8") as file:
        json.dump(plain, file, indent=2, ensure_ascii=False)
        file.write("\n")


def metadata_of(
    task_id: UUID,
    fields: Mapping[str, Any],
    schema: ResultSchema,
    encoding: Encoding,
    written: Mapping[str, Any],
    *,
    created_at: datetime,
    other: Mapping[str, Any],
    spelled: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """What ``metadata.json`` says (BT-10); ``result`` and ``original`` are for the way back."""
    original = {
        "other": other,
        "added": {name: more for name in TABLES if (more := schema.added(name))},
        "tables": {name: said for name, said in spelled.items() if said},
    }
    return {
        "schema_version": schema.version,
        "compression": encoding.codec,
        "parquet_files": dict(written),
        "created_at": created_at.isoformat().replace("+00:00", "Z"),
        "task_id": str(task_id),
        "result": {
            **{name: fields.get(name) for name in _FIELDS},
            "start_date": fields["start_date"].isoformat(),
            "end_date": fields["end_date"].isoformat(),
        },
        "original": {name: value for name, value in original.items() if value},
    }


# -- reading ---------------------------------------------------------------------------------------


def schema_in(said: Mapping[str, Any]) -> ResultSchema:
    """The version of the tables that ``metadata.json`` speaks of (BT-24)."""
    return restored(
        said.get("schema_version", V1.version), said.get("original", {}).get("added", {})
    )


def read_metadata(place: Path, hosts: Hosts) -> dict[str, Any]:
    """``metadata.json`` of a directory.

    Raises:
        NotFound: there is none.
        Corrupt: it is none.
    """
    path = place / METADATA
    with told(path):
        if path.stat().st_size > _METADATA_BYTES:
            raise TooLarge(f"{path} is too large to be the metadata of a result")
        text = path.read_text(encoding="utf-8", errors="strict")
    try:
        said = documents.decode(text, hosts)
    except (Corrupt, Invalid, ValueError) as error:
        raise Corrupt(f"{path} cannot be read: {error}", locator=str(path)) from None
    if not isinstance(said, dict):
        raise Corrupt(f"{path} is no object", locator=str(path))
    return said


def table_in(place: Path, name: str, said: Mapping[str, Any] | None) -> "pa.RecordBatchReader":
    """One table's file, row group by row group, none of them larger than fits (BT-21).

    Args:
        place: the directory.
        name: of the table.
        said: what ``metadata.json`` says of it.

    Raises:
        NotFound: there is no such file.
        Corrupt: it is no Parquet, or has another count of rows than is said.
        TooLarge: while reading: a row group does not fit into memory.
    """
    path = place / f"{name}.parquet"
    with told(path), reading(name):
        if not path.is_file():
            raise NotFound(f"{path} is not there")
        schema = pq.read_schema(path)
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        file = pq.ParquetFile(path, read_dictionary=texts, pre_buffer=False)
    rows, known = file.metadata.num_rows, (said or {}).get("row_count")
    if known is not None and known != rows:
        raise Corrupt(f"{path} has {rows} rows, {METADATA} says {known}", locator=str(path))
    return pa.RecordBatchReader.from_batches(schema.remove_metadata(), _groups(file, schema, name))


def _groups(file: Any, schema: Any, name: str) -> Iterator[Any]:
    with file:
        for place in range(file.metadata.num_row_groups):
            table = _budget.read_group(file, place, schema.names, name)
            yield from table.cast(schema.remove_metadata()).to_batches()


def remainder_in(place: Path, hosts: Hosts) -> Rests:
    """What no column holds, if the directory has any."""
    path = place / f"{REMAINDER}.parquet"
    if not path.exists():
        return {}
    with told(path), path.open("rb") as file:
        return _remainder.read(file, hosts)
