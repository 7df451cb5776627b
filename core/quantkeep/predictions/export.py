"""The prediction store as files that people read (MARA-36, Z-23), and back.

    data/portfolios/marv_2025-01-17_current.json
    data/predictions/marv_2025-01-17_prediction.json
    outputs/reports/2025-01-17_marv_growth_report.md                the text itself
    outputs/portfolios/2025-01-17_marv_growth_recommendation.json
    outputs/logs/2025-01-17_marv_growth_execution.log               for people; not read back
    data/{collection}/{key}.json                                    everything else

A file holds the record's fields and its stamps. Numbers stand as they are stored, digit for digit.
"""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from quantkeep.collection import Collection, StoredRow
from quantkeep.errors import Corrupt
from quantkeep.predictions.executions import ExecutionLog
from quantkeep.predictions.files import parsed, rendered
from quantkeep.predictions.forecasts import Prediction
from quantkeep.predictions.originals import Inserted, Original
from quantkeep.predictions.part import numbered
from quantkeep.predictions.portfolios import Portfolio
from quantkeep.predictions.store import PredictionStore
from quantkeep.query import Query, where
from quantkeep.records import Record
from quantkeep.table import Table

REPORT: Final = "report_file"  # where the text of a prediction's report is, beside the fields
_LONGEST: Final = 150  # file systems end at 255 bytes


def write_files(
    store: PredictionStore, folder: str | Path, *, user_id: str | None = None
) -> list[Path]:
    """Write what is stored, of one user or of all, under *folder*; existing files are replaced.

    Files of records that are no longer stored are left alone: export into a new folder, or into
    one that mirrors this store.

    Returns:
        The files written.

    Raises:
        Corrupt: a record does not match its digest.
    """
    return [*_Export(store, Path(folder)).write(user_id)]


def read_files(store: PredictionStore, folder: str | Path) -> Inserted:
    """Store what :func:`write_files` wrote, in one commit; what is stored already adds nothing.

    Raises:
        Corrupt: a file is not what :func:`write_files` writes; names it.
        InvalidValue: a value does not fit its field.
        AlreadyExists: other content is stored under a record's key.
    """
    root = Path(folder)
    found = (
        _original(store, record, path, root)
        for record in store.records
        for path in sorted((root / "data" / record.collection.name).glob("*.json"))
    )
    return store.insert(found)


class _Export:
    """One export: which names are taken, and what is written where."""

    def __init__(self, store: PredictionStore, root: Path) -> None:
        self.store = store
        self.root = root
        self.taken: set[str] = set()

    def write(self, user_id: str | None) -> Iterator[Path]:
        for record in self.store.records:
            table: Table[Any] = self.store.table(record)
            of_user = user_id if "user_id" in table.collection.places else None
            for stored in table.backend.scan(table.collection, Query(where=where(user_id=of_user))):
                yield from self._record(table, stored)

    def _record(self, table: Table[Any], stored: StoredRow) -> Iterator[Path]:
        record, collection = table.load(stored), table.collection
        extra: dict[str, str] = {}
        if isinstance(record, Prediction):
            if record.report_markdown is not None:
                extra[REPORT] = self._name("outputs/reports", f"{_flow_name(record)}_report", ".md")
                yield self._put(extra[REPORT], record.report_markdown)
            yield self._recommendation(record, collection, stored)
        if isinstance(record, ExecutionLog):
            name = f"{record.execution_date.date()}_{record.user_id}_{record.flow}_execution"
            yield self._put(self._name("outputs/logs", name, ".log"), _log_text(record))
        file = self._name(f"data/{collection.name}", _natural_name(record, collection), ".json")
        left_out = {"report_markdown"} if extra else set()
        yield self._put(file, rendered(collection, stored, without=left_out, extra=extra))

    def _recommendation(
        self, prediction: Prediction, collection: Collection, stored: StoredRow
    ) -> Path:
        """What the flow recommends, as a file of its own; the prediction holds it too."""
        wanted = {"prediction_id", "recommended_strategy", "target_allocation"}
        wanted |= {name for name in collection.names if name.startswith(("expected_", "rebal"))}
        without = set(collection.names) - wanted
        name = self._name("outputs/portfolios", f"{_flow_name(prediction)}_recommendation", ".json")
        return self._put(name, rendered(collection, stored, without=without, stamps=False))

    def _name(self, folder: str, name: str, suffix: str) -> str:
        """A file name that nothing else in this export has."""
        number = 1
        while (path := f"{folder}/{_safe(numbered(name, number))}{suffix}") in self.taken:
            number += 1
        self.taken.add(path)
        return path

    def _put(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())  # bytes: the text's own line ends
        return path


def _original(store: PredictionStore, record: type[Record], path: Path, root: Path) -> Original:
    table: Table[Any] = store.table(record)
    fields, stamps, extra = parsed(table.collection, path, table.hosts)
    if REPORT in extra:
        fields["report_markdown"] = _report(root, str(extra[REPORT]), path)
    cls = table.collection.record or record
    return Original(cls(**fields), **stamps)


def _report(root: Path, name: str, path: Path) -> str:
    file = (root / name).resolve()
    if not file.is_relative_to(root.resolve()) or not file.is_file():
        raise Corrupt(f"{path}: its {REPORT} {name!r} is not there", locator=str(path))
    return file.read_bytes().decode()


def _natural_name(record: Record, collection: Collection) -> str:
    """What the record is called among files: readable, and its user in it (Z-23)."""
    if isinstance(record, Portfolio):
        name = f"{record.user_id}_{record.snapshot_date}_{record.portfolio_type}"
        return numbered(name, record.sequence)
    key = str(getattr(record, collection.key[0]))
    return f"{key}_prediction" if isinstance(record, Prediction) else key


def _flow_name(prediction: Prediction) -> str:
    name = f"{prediction.prediction_date}_{prediction.user_id}_{prediction.flow}"
    return numbered(name, prediction.sequence)


def _safe(name: str) -> str:
    """*name* as every file system takes it; a long one is cut, and told apart by its digest."""
    safe = quote(name, safe=" @+,=")
    safe = safe.replace(".", "%2E", 1) if safe.startswith(".") else safe
    if len(safe) <= _LONGEST:
        return safe
    return f"{safe[:_LONGEST]}~{blake2b(name.encode(), digest_size=8).hexdigest()}"


def _log_text(log: ExecutionLog) -> str:
    took = "" if log.execution_time_seconds is None else f" after {log.execution_time_seconds} s"
    lines = [f"{log.execution_date.isoformat()} {log.flow} for {log.user_id}: {log.status}{took}"]
    lines += [f"layer completed: {layer}" for layer in log.layers_completed or ()]
    lines += [f"error: {log.error_message}"] if log.error_message else []
    return "\n".join(lines) + "\n"
