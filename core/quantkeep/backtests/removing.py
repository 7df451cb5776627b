"""Removing results: a tombstone first, the files when the grace period is over (Z-54, BT-18)."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import attrs

from quantkeep import garbage
from quantkeep.backtests.listing import Listing
from quantkeep.backtests.part import Saved, TaskId, as_uuid, instant_of
from quantkeep.backtests.records import BacktestResult, BacktestTombstone
from quantkeep.batch import ABSENT, PRESENT, AtRevision, Receipt, Write
from quantkeep.columns import instant
from quantkeep.errors import Conflict, InvalidValue, NotFound
from quantkeep.failpoints import passing
from quantkeep.query import Query, Where
from quantkeep.sealing import stamped
from quantkeep.store import PendingBatch

GRACE: Final = timedelta(days=1)  # longer than any read or save takes


@attrs.frozen
class Removed:
    """A result that was, or with *dry_run* would be, removed (BT-18).

    Attributes:
        task_id: of the result.
        parquet_path: where its files stood in an export; ``None`` if it had none.
        created_at: when it was made.
    """

    task_id: UUID
    parquet_path: str | None
    created_at: datetime


@attrs.frozen
class Collected:
    """What a collection of garbage removed.

    Attributes:
        tombstones: results whose grace period was over.
        chunks: pieces of files that nothing refers to.
    """

    tombstones: tuple[UUID, ...]
    chunks: int


class Removing(Listing):
    """How results go."""

    def delete(
        self, task_id: TaskId, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> Receipt:
        """Delete a result: from the commit on, nobody finds it; its files go with :meth:`gc`.

        Who is reading it reads on. :meth:`restore` takes the deletion back until then.

        Raises:
            NotFound: it is not stored.
            Conflict: it was saved anew meanwhile.
        """
        if op_id is not None and batch is None:
            before = self._home.backend.outcome(op_id)
            if before is not None and self.get(task_id) is None:
                return before
        return self._commit(*self._deletion(self.fetch(task_id)), op_id=op_id, batch=batch)

    def _deletion(self, record: BacktestResult) -> list[Write]:
        assert record.envelope is not None
        tombstone = BacktestTombstone(
            task_id=record.task_id,
            parquet_path=record.parquet_path,
            content=record.as_dict(),
            created_at_then=record.envelope.created,
        )
        expect = AtRevision(record.envelope.revision)
        return [
            self._results.delete(record.task_id, expect=expect),
            self.table(BacktestTombstone).put(tombstone),
        ]

    def restore(
        self, task_id: TaskId, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> Saved:
        """Take a deletion back, as long as :meth:`gc` has not removed the files.

        Raises:
            NotFound: no such result was deleted, or its files are gone.
            AlreadyExists: another result was saved under the id meanwhile.
        """
        tombstones = self.table(BacktestTombstone)
        found = tombstones.get(as_uuid(task_id))
        if found is None:
            raise NotFound(f"backtest result {task_id} was not deleted, or its files are gone")
        record = BacktestResult(**found.content)
        put = self._results.put(record, ABSENT)
        put = attrs.evolve(put, row=stamped(put.row, instant(found.created_at_then)))
        forget = tombstones.delete(record.task_id, expect=PRESENT)
        receipt = self._commit(put, forget, op_id=op_id, batch=batch)
        return Saved(record.task_id, record, receipt)

    # -- retention ---------------------------------------------------------------------------------

    def cleanup(
        self, older_than: timedelta | datetime = timedelta(days=7), *, dry_run: bool = False
    ) -> list[Removed]:
        """Delete the results that were made before an instant; one made exactly then stays (BT-18).

        Args:
            older_than: an age by the store's clock, or an instant.
            dry_run: only say what would go.

        Returns:
            What was removed, oldest first. A result that was saved anew meanwhile stays.
        """
        bound = self._bound(older_than)
        asked = Query(where=(Where("created_at", "<", bound),), order=("created_at", "revision"))
        old = [*self._results.scan(asked)]
        return [_removed(record) for record in old if dry_run or self._deleted(record)]

    def _bound(self, older_than: timedelta | datetime) -> datetime:
        if isinstance(older_than, datetime):
            instant_of(older_than, "older_than")
            return older_than
        if older_than < timedelta():
            raise InvalidValue(
                f"is {older_than}", field="older_than", value=older_than, expected="an age"
            )
        return self._before(older_than)

    def _deleted(self, record: BacktestResult) -> bool:
        passing("backtests.cleanup.delete")
        try:
            self._commit(*self._deletion(record))
        except (Conflict, NotFound):
            return False  # saved anew, or deleted by somebody else
        return True

    def cleanup_old_results(self, days: float = 7, *, dry_run: bool = False) -> int:
        """How many results :meth:`cleanup` removed that are older than *days* (BT-19)."""
        return len(self.cleanup(timedelta(days=days), dry_run=dry_run))

    # -- garbage -----------------------------------------------------------------------------------

    def tombstones(self) -> list[BacktestTombstone]:
        """Results that were deleted and whose files are still there, oldest deletion first."""
        return self.table(BacktestTombstone).list(order=("updated_at", "revision"))

    def gc(self, *, grace: timedelta = GRACE, dry_run: bool = False) -> Collected:
        """Remove the files of deleted results, and what failed or killed saves left behind.

        Safe beside readers and writers: nothing goes that is younger than *grace*, which must be
        longer than any save or read takes.

        Args:
            grace: how long what nothing refers to is left alone.
            dry_run: only say what would go.
        """
        if grace < timedelta():
            raise InvalidValue(f"is {grace}", field="grace", value=grace, expected="a duration")
        bound = self._before(grace)
        buried = [t for t in self.tombstones() if t.envelope and t.envelope.updated_at < bound]
        if not dry_run:
            for tombstone in buried:
                self._forget(tombstone)
        passing("backtests.gc.sweep")
        chunks = garbage.collect(
            self._home.backend,
            staged_before=bound,
            dry_run=dry_run,
            passing_over={("backtest_tombstones", (str(t.task_id),)) for t in buried},
        )
        return Collected(tuple(t.task_id for t in buried), chunks)

    def _forget(self, tombstone: BacktestTombstone) -> None:
        assert tombstone.revision is not None
        delete = self.table(BacktestTombstone).delete(
            tombstone.task_id, expect=AtRevision(tombstone.revision)
        )
        passing("backtests.gc.tombstone")
        try:
            self._commit(delete)
        except (Conflict, NotFound):
            return  # restored, or deleted once more


def _removed(record: BacktestResult) -> Removed:
    assert record.envelope is not None
    return Removed(record.task_id, record.parquet_path, record.envelope.created_at)
