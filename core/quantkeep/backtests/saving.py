"""Saving results: tables first, then the one commit that makes them visible (Z-54)."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import attrs

from quantkeep.backtests.encodings import COMPACT, Encoding
from quantkeep.backtests.part import Part, Saved, TaskId, as_uuid
from quantkeep.backtests.records import BacktestResult
from quantkeep.backtests.schemas import SIGNALS, TABLES, V1, ResultSchema
from quantkeep.batch import ANYTHING, AtRevision, Expectation, Put, Receipt
from quantkeep.errors import Conflict
from quantkeep.failpoints import passing
from quantkeep.sealing import stamped
from quantkeep.store import PendingBatch

if TYPE_CHECKING:
    from quantkeep.backtests._incoming import Incoming


class Saving(Part):
    """How results come in."""

    def save_result(
        self,
        result: Mapping[str, Any],
        *,
        task_id: TaskId | None = None,
        encoding: Encoding = COMPACT,
        schema: ResultSchema = V1,
        created_at: datetime | None = None,
        expect: Expectation = ANYTHING,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved:
        """Store a result whole, in place of what is stored under its id (BT-13).

        Readers see the old result, or none, until the commit; if anything fails, they go on seeing
        it. What was staged by then is removed by :meth:`gc`.

        Args:
            result: the original JSON (Z-50), as a dict; or its metadata fields (``strategy``,
                ``start_date``, ``end_date``, ...) and any of ``symbol_summary``,
                ``symbol_signals`` and ``performance_curve``: each a pyarrow table, batch or
                reader, a frame of pandas or polars, anything with ``__arrow_c_stream__``, or an
                iterable of record batches. Readers are read once, in bounded memory.
            task_id: the id, unless the result says it; new if neither does.
            encoding: how the tables are kept; see ``docs/backtest-encoding.md``.
            schema: a later version of the tables, with more columns.
            created_at: when it was made, for import and copy alone (X-7).
            expect: what must hold of what is stored under the id.
            op_id: makes the commit idempotent.
            batch: a batch of the keep to join.

        Raises:
            InvalidValue: a value, column or count does not fit; names it. Nothing is changed.
            TooLarge: a row group or document is.
            Conflict: *expect* does not hold.
        """
        from quantkeep.backtests import _incoming

        incoming = _incoming.understood(result, task_id, schema)
        return self._publish(
            incoming, encoding, schema, created_at, expect=expect, op_id=op_id, batch=batch
        )

    def _publish(
        self,
        incoming: "Incoming",
        encoding: Encoding,
        schema: ResultSchema,
        created_at: datetime | None = None,
        *,
        expect: Expectation = ANYTHING,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved:
        """Stage the tables, then commit the record that refers to them."""
        from quantkeep.backtests import _incoming

        self._results.seal(incoming.draft())
        files = self._staged(incoming, encoding, schema)
        passing("backtests.save.staged")
        made = {"compression": encoding.codec, "schema_version": schema.version}
        record = _incoming.published(incoming, files, made)
        put = self._put(record, expect, created_at)
        passing("backtests.save.commit")
        receipt = self._commit(put, op_id=op_id, batch=batch)
        passing("backtests.save.committed")
        return Saved(record.task_id, record, receipt)

    def _staged(
        self, incoming: "Incoming", encoding: Encoding, schema: ResultSchema
    ) -> dict[str, Any]:
        """The tables' files, staged; what the record says of them."""
        from quantkeep.backtests import _remainder, _sources, _writer
        from quantkeep.backtests._stored import REMAINDER

        files: dict[str, Any] = {}
        if incoming.rests:
            stored = _remainder.stage(incoming.rests, self._home.hosts, self._blobs)
            files[REMAINDER] = stored.as_document()
        for name in TABLES:
            table = incoming.tables[name]
            stored = _writer.staged(schema[name], table.batches, encoding, self._blobs)
            said = {"given": _sources.remembered(table.given), **table.said}
            files[name] = attrs.evolve(stored, **said).as_document()
            passing(f"backtests.save.{name}")
        incoming.finish(files[SIGNALS]["row_count"])
        added = {name: more for name in TABLES if (more := schema.added(name))}
        return {**files, "added": added} if added else files

    def _put(
        self, record: BacktestResult, expect: Expectation, created_at: datetime | None = None
    ) -> Put:
        put = self._results.put(record, expect)
        if created_at is None:
            return put
        return attrs.evolve(put, row=stamped(put.row, created_at))

    # -- results without tables --------------------------------------------------------------------

    def save_running(
        self,
        *,
        strategy: str,
        symbols: Sequence[str],
        start_date: date,
        end_date: date,
        timeframe: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        status: str = "running",
        error: str | None = None,
        task_id: TaskId | None = None,
        created_at: datetime | None = None,
        expect: Expectation = ANYTHING,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved:
        """Store that a backtest was started: path, size and count are null until it ends (Z-53).

        Args:
            strategy: its name, 1 to 100 characters.
            symbols: what it trades.
            start_date: of the data.
            end_date: of the data, not before *start_date*.
            timeframe: such as ``"1h"``.
            metadata: whatever is to be remembered.
            status: another one, for a run that ended without tables.
            error: why it failed.
            task_id: its id; new if left out.
            created_at: when it was started, for import and copy alone (X-7).
            expect: what must hold of what is stored under the id.
            op_id: makes the commit idempotent.
            batch: a batch of the keep to join.

        Raises:
            InvalidValue: a value does not fit; names the field.
            Conflict: *expect* does not hold, or the id has tables already.
        """
        chosen = uuid4() if task_id is None else as_uuid(task_id)
        record = BacktestResult(
            task_id=chosen,
            strategy=strategy,
            symbols=list(symbols),
            start_date=start_date,
            end_date=end_date,
            timeframe=timeframe,
            status=status,
            metadata=dict(metadata or {}),
            error=error,
        )
        known = self.get(chosen)
        if known is not None and known.has_tables:
            raise Conflict(
                f"backtest result {chosen} is {known.status} and has tables: give a new run an id "
                "of its own, or delete this one first"
            )
        put = self._put(record, expect, created_at)
        return Saved(chosen, record, self._commit(put, op_id=op_id, batch=batch))

    def fail(
        self,
        task_id: TaskId,
        *,
        error: str | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Mark a running backtest as failed.

        Raises:
            NotFound: it is not stored.
            Conflict: it is not running any more.
        """
        return self._end(task_id, "failed", error, op_id, batch)

    def cancel(
        self, task_id: TaskId, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> Receipt:
        """Mark a running backtest as cancelled; raises as :meth:`fail` does."""
        return self._end(task_id, "cancelled", None, op_id, batch)

    def _end(
        self,
        task_id: TaskId,
        status: str,
        error: str | None,
        op_id: str | None,
        batch: PendingBatch | None,
    ) -> Receipt:
        known = self.fetch(task_id)
        if op_id is not None and batch is None:
            before = self._home.backend.outcome(op_id)
            if before is not None and known.status == status:
                return before
        if known.status != "running":
            raise Conflict(f"backtest result {known.task_id} is {known.status}, not running")
        assert known.revision is not None
        ended = known.replace(status=status, error=error)
        put = self._results.put(ended, AtRevision(known.revision))
        return self._commit(put, op_id=op_id, batch=batch)
