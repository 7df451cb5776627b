"""Results as directories of Parquet files, for other programs and for other keeps (BT-9, BT-10)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from quantkeep.backtests.encodings import COMPACT, STANDARD, Encoding
from quantkeep.backtests.part import Saved, TaskId, schema_of
from quantkeep.backtests.reading import Reading, files_of
from quantkeep.backtests.records import BacktestResult, path_of
from quantkeep.backtests.saving import Saving
from quantkeep.backtests.schemas import TABLES
from quantkeep.store import PendingBatch


class Exchange(Reading, Saving):
    """How results leave as files, and come back."""

    def export(
        self, task_id: TaskId, folder: str | os.PathLike[str], *, encoding: Encoding = STANDARD
    ) -> Path:
        """Write a result to ``folder/backtests/{task_id}/``, which appears whole or not at all.

        The files have every column of BT-6 ... BT-8 as it says, for DuckDB, polars, Spark and the
        like; what the original JSON said beside them goes into ``metadata.json`` and
        ``remainder.parquet``, so that :meth:`import_folder` gives it back.

        Returns:
            The directory.

        Raises:
            NotFound: the result is not stored, or has no tables.
            AlreadyExists: the directory is there.
            StoreFull, PermissionDenied, Unavailable: it cannot be written.
        """
        from quantkeep.backtests import _folder, _remainder
        from quantkeep.backtests._stored import REMAINDER

        record = self._with_tables(task_id)
        schema, files, hosts = schema_of(record), files_of(record), self._home.hosts
        plain = attrs.evolve(encoding, decimals=False, derive=False)
        with _folder.appearing(Path(folder) / path_of(record.task_id)) as place:
            written = {}
            for name in TABLES:
                batches = self._opened(record, schema[name]).batches()
                written[name] = _folder.write_table(place, schema[name], batches, plain)
            if REMAINDER in files:
                rests = _remainder.load(files[REMAINDER], hosts, self._blobs)
                written[REMAINDER] = _folder.write_remainder(place, rests, hosts)
            _folder.write_metadata(place, _metadata(record, plain, written), hosts)
        return Path(folder) / path_of(record.task_id)

    def import_folder(
        self,
        folder: str | os.PathLike[str],
        *,
        encoding: Encoding = COMPACT,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
        **fields: Any,
    ) -> Saved:
        """Store the result in a directory, as :meth:`export` or the program it comes from wrote it.

        Its ``created_at`` is kept if the result is new here (X-7).

        Args:
            folder: the directory of one result, with ``metadata.json``.
            encoding: how the tables are kept.
            fields: what ``metadata.json`` does not say: ``strategy``, ``start_date``, ``end_date``,
                ``timeframe`` ...
            op_id: makes the commit idempotent.
            batch: a batch of the keep to join.

        Raises:
            NotFound: a file is missing.
            InvalidValue: a table or field does not fit; names it.
            TooLarge: a row group would not fit into memory.
            Corrupt: a file is damaged, or its rows are not those that ``metadata.json`` counts.
        """
        from quantkeep.backtests import _folder, _incoming

        place = Path(folder)
        said = _folder.read_metadata(place, self._home.hosts)
        original: Mapping[str, Any] = said.get("original", {})
        schema = _folder.schema_in(said)
        counts = said.get("parquet_files", {})
        result = {
            "task_id": said.get("task_id"),
            **said.get("result", {}),
            **fields,
            **{name: _folder.table_in(place, name, counts.get(name)) for name in TABLES},
        }
        incoming = _incoming.understood(result, None, schema)
        incoming.restore_spelling(original)
        incoming.rests = _folder.remainder_in(place, self._home.hosts)
        created_at = _incoming.moment(said.get("created_at"))
        return self._publish(incoming, encoding, schema, created_at, op_id=op_id, batch=batch)


def _metadata(
    record: BacktestResult, encoding: Encoding, written: Mapping[str, Any]
) -> dict[str, Any]:
    from quantkeep.backtests import _folder

    assert record.envelope is not None
    files = files_of(record)
    spelled = {
        name: {key: v for key in ("forms", "form_of", "given") if (v := getattr(files[name], key))}
        for name in TABLES
    }
    return _folder.metadata_of(
        record.task_id,
        record.as_dict(),
        schema_of(record),
        encoding,
        written,
        created_at=record.envelope.created_at,
        other=record.other or {},
        spelled=spelled,
    )
