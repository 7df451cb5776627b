"""From the original JSON to Parquet files and back, without a keep (BT-15).

converters.json_to_parquet(result, "out/run-7")
converters.parquet_to_json("out/run-7")
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pyarrow as pa

from quantkeep.backtests import _folder, _incoming
from quantkeep.backtests._originals import Spellings, put_together
from quantkeep.backtests._stored import REMAINDER
from quantkeep.backtests.encodings import STANDARD, Encoding
from quantkeep.backtests.part import as_uuid
from quantkeep.backtests.schemas import SIGNALS, TABLES, V1
from quantkeep.hosts import Hosts


def json_to_parquet(
    result: Mapping[str, Any], folder: str | os.PathLike[str], *, encoding: Encoding = STANDARD
) -> Path:
    """Write a result's three tables and ``metadata.json`` to *folder* (BT-9, BT-10).

    Args:
        result: the original JSON (Z-50), or metadata and tables, as ``save_result`` takes it.
        folder: appears whole or not at all.
        encoding: of the files; every column is written, as the schema says it.

    Returns:
        The folder.

    Raises:
        InvalidValue: a value, column or count does not fit; names it.
        AlreadyExists: the folder is there.
    """
    incoming = _incoming.understood(result, None, V1)
    incoming.draft()
    hosts, plain = Hosts(), attrs.evolve(encoding, decimals=False, derive=False)
    with _folder.appearing(Path(folder)) as place:
        written = {
            name: _folder.write_table(place, V1[name], incoming.tables[name].batches, plain)
            for name in TABLES
        }
        incoming.finish(written[SIGNALS]["row_count"])
        if incoming.rests:
            written[REMAINDER] = _folder.write_remainder(place, incoming.rests, hosts)
        metadata = _folder.metadata_of(
            incoming.task_id, incoming.fields, V1, plain, written,
            created_at=datetime.now(UTC), other=incoming.other,
            spelled={name: table.said for name, table in incoming.tables.items()},
        )  # fmt: skip
        _folder.write_metadata(place, metadata, hosts)
    return Path(folder)


def parquet_to_json(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The original JSON of a folder that :func:`json_to_parquet` or an export wrote.

    Raises:
        NotFound: a file is missing.
        InvalidValue, Corrupt: a table is not of the schema, or not as ``metadata.json`` says.
        TooLarge: a table would not fit into memory.
    """
    place, hosts = Path(folder), Hosts()
    said = _folder.read_metadata(place, hosts)
    original, schema = said.get("original", {}), _folder.schema_in(said)
    counts = said.get("parquet_files", {})
    tables = {name: _folder.table_in(place, name, counts.get(name)) for name in TABLES}
    result = {"task_id": said.get("task_id"), **said.get("result", {}), **tables}
    incoming = _incoming.understood(result, None, schema)
    incoming.restore_spelling(original)
    whole = {name: _whole(incoming.tables[name].batches, schema[name].arrow) for name in TABLES}
    incoming.finish(whole[SIGNALS].num_rows)
    spellings = {
        name: Spellings.remembered(table.said.get("forms", ()), table.said.get("form_of", ()))
        for name, table in incoming.tables.items()
    }
    rests = _folder.remainder_in(place, hosts)
    symbols = put_together(whole, spellings, rests, incoming.fields["symbols"], schema)
    return _incoming.original_of(
        as_uuid(incoming.task_id), incoming.fields, incoming.other, symbols
    )


def _whole(batches: Any, schema: pa.Schema) -> Any:
    found = pa.Table.from_batches(batches, schema=schema).combine_chunks().to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], schema=schema)
