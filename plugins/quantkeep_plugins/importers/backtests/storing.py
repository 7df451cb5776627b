"""Storing what was read, once: the same again adds nothing, other content is refused."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import attrs

from quantkeep import Keep
from quantkeep.backtests import BacktestResult, BacktestStore
from quantkeep.errors import AlreadyExists
from quantkeep_plugins.importers.source import about


@attrs.frozen(kw_only=True)
class Imported:
    """The outcome of an import.

    Attributes:
        kind: of the source.
        read: results of the source, by status.
        added: results that are new; 0 the second time.
        notes: what the source did not say, and what was taken instead.
    """

    kind: str
    read: Mapping[str, int]
    added: int
    notes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Result:
    """One result of a source.

    Attributes:
        original: in the shape of Z-50; of a run without tables, its metadata alone.
        has_tables: whether there are tables.
        created_at: when it was made, if the source says.
        folder: where its directory of Parquet files is, instead.
        notes: what was taken that the source does not say.
    """

    original: dict[str, Any] = attrs.field(factory=dict)
    has_tables: bool = True
    created_at: datetime | None = None
    folder: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How errors call it."""
        return str(self.folder or self.original.get("task_id"))


def store(results: Iterable[Result], keep: Keep, kind: str) -> Imported:
    """Store *results*, each with a commit of its own.

    Raises:
        AlreadyExists: another result is stored under an id.
        InvalidValue: something does not fit.
    """
    read: Counter[str] = Counter()
    notes: dict[str, None] = {}
    added = 0
    for result in results:
        with about(result.name):
            new, status = _stored(keep, result)
        read[status] += 1
        added += new
        notes.update(dict.fromkeys(result.notes))
    return Imported(kind=kind, read=dict(read), added=added, notes=tuple(notes))


def _stored(keep: Keep, result: Result) -> tuple[bool, str]:
    """Whether it is new, and its status."""
    backtests = keep.backtests
    if result.folder is not None:
        return _from_folder(keep, result.folder)
    if not result.has_tables:
        return _without_tables(backtests, result)
    task_id = result.original["task_id"]
    known = backtests.get(task_id)
    if known is None:
        saved = backtests.save_result(result.original, created_at=result.created_at)
        return True, saved.record.status
    if not known.has_tables or not same(backtests.get_result(task_id), result.original):
        raise _taken(task_id)
    return False, known.status


def _from_folder(keep: Keep, folder: Path) -> tuple[bool, str]:
    """What is staged is compared before it is committed."""
    batch = keep.batch()
    saved = keep.backtests.import_folder(folder, batch=batch)
    known = keep.backtests.get(saved.task_id)
    collection = keep.table(BacktestResult).collection
    row = batch.row(collection, collection.canonical_key((saved.task_id,)))
    if known is None:
        batch.commit()
    elif row is None or known.envelope is None or known.envelope.digest != row.digest:
        raise _taken(saved.task_id)
    return known is None, saved.record.status


def _without_tables(backtests: BacktestStore, result: Result) -> tuple[bool, str]:
    said = {**result.original, "task_id": UUID(result.original["task_id"])}
    known = backtests.get(said["task_id"])
    if known is None:
        backtests.save_running(**said, created_at=result.created_at)
        return True, said["status"]
    if known != BacktestResult(**said):
        raise _taken(said["task_id"])
    return False, known.status


def _taken(task_id: object) -> AlreadyExists:
    return AlreadyExists(
        f"backtest result {task_id} is stored already, with other content: delete it first, or "
        "import into another keep"
    )


# -- what sources share ----------------------------------------------------------------------------


def task_id(*parts: str) -> str:
    """An id that follows from what the source says, for sources without UUIDs."""
    return str(uuid5(NAMESPACE_URL, "quantkeep:backtests/" + "/".join(parts)))


def day(moment: str) -> str:
    """The date of an ISO text."""
    return datetime.fromisoformat(moment).date().isoformat()


def span(moments: Iterable[str]) -> tuple[str, str]:
    """First and last date of ISO texts."""
    days = sorted(map(day, moments))
    return (days[0], days[-1]) if days else (date.min.isoformat(), date.min.isoformat())


def same(found: Any, said: Any) -> bool:
    """Equal in value and type; NaN is NaN, and -0.0 is not 0.0."""
    if type(found) is not type(said):
        return False
    if isinstance(found, dict):
        return found.keys() == said.keys() and all(same(v, said[k]) for k, v in found.items())
    if isinstance(found, list):
        return len(found) == len(said) and all(map(same, found, said))
    if isinstance(found, float):
        equal = found == said or (math.isnan(found) and math.isnan(said))
        return equal and math.copysign(1, found) == math.copysign(1, said)
    return bool(found == said)


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """*rows* by their timestamp; where that moves any, each keeps its ``place`` in the source."""
    ordered = sorted(rows, key=lambda row: datetime.fromisoformat(row["timestamp"]))
    if ordered == rows:
        return rows
    places = {id(row): place for place, row in enumerate(rows)}
    return [{**row, "place": places[id(row)]} for row in ordered]
