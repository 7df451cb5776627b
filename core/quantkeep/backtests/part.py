"""What the parts of the backtest store share."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import attrs

from quantkeep.backtests.records import BacktestResult
from quantkeep.backtests.schemas import ResultSchema, restored
from quantkeep.batch import Receipt
from quantkeep.blobs import Blobs
from quantkeep.columns import microseconds
from quantkeep.errors import InvalidValue, NotFound
from quantkeep.store import Store
from quantkeep.table import Table

TaskId = UUID | str


@attrs.frozen
class Saved:
    """What a saving call did.

    Attributes:
        task_id: what it is stored under.
        record: as it is stored; without its envelope.
        receipt: of the commit; empty if it joined a batch that is not committed yet.
    """

    task_id: UUID
    record: BacktestResult
    receipt: Receipt


CHUNK_BYTES: Final = 512 * 1024  # no more than a column of a row group, which is read alone


class Part(Store):
    """Base of the parts that :class:`quantkeep.backtests.BacktestStore` consists of."""

    @property
    def _results(self) -> Table[BacktestResult]:
        return self.table(BacktestResult)

    @property
    def _blobs(self) -> Blobs:
        return Blobs(self._home.backend, chunk_bytes=CHUNK_BYTES)

    def get(self, task_id: TaskId) -> BacktestResult | None:
        """What is known of the result beside its tables; ``None`` if it is not stored."""
        return self._results.get(as_uuid(task_id))

    def fetch(self, task_id: TaskId) -> BacktestResult:
        """As :meth:`get`; raises :class:`NotFound`."""
        found = self.get(task_id)
        if found is None:
            raise NotFound(f"backtest result {task_id} is not stored")
        return found

    def _with_tables(self, task_id: TaskId) -> BacktestResult:
        found = self.fetch(task_id)
        if not found.has_tables:
            raise NotFound(f"backtest result {task_id} has no tables: it is {found.status}")
        return found


def as_uuid(task_id: TaskId) -> UUID:
    """The id as a UUID; raises :class:`InvalidValue`."""
    if isinstance(task_id, UUID):
        return task_id
    try:
        return UUID(task_id)
    except (ValueError, AttributeError, TypeError):
        raise InvalidValue(
            f"is {task_id!r}", record="BacktestResult", field="task_id", value=task_id,
            expected="a UUID, or the text of one",
        ) from None  # fmt: skip


def schema_of(record: BacktestResult) -> ResultSchema:
    """The schema that a result's tables were written with (BT-24)."""
    version: Any = record.metadata.get("schema_version", "1.0")
    files: Mapping[str, Any] = record.files or {}
    return restored(version, files.get("added", {}))


def instant_of(moment: datetime | None, field: str) -> int | None:
    """Microseconds of a bound; raises :class:`InvalidValue` for a naive one."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise InvalidValue(
            f"is {moment!r}", field=field, value=moment,
            expected="an aware datetime: .replace(tzinfo=UTC) if it is UTC",
        )  # fmt: skip
    return microseconds(moment.astimezone(UTC))
