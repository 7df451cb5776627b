"""Runs of the flows that predict."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from quantkeep.batch import Receipt, Write
from quantkeep.predictions.part import Part, Saved, at, natural_id, numbered, unchanged
from quantkeep.predictions.shapes import check_list
from quantkeep.query import where
from quantkeep.records import Record, field, record
from quantkeep.store import PendingBatch

RUNNING, COMPLETED, FAILED = "running", "completed", "failed"


@record(
    "execution_logs",
    key=("log_id",),
    stream=("user_id",),
    indexes=[("user_id", "execution_date"), ("status",)],
)
class ExecutionLog(Record):
    """One run of a flow (MARA-13)."""

    log_id: str
    user_id: str = field(references="users")
    flow: str
    execution_date: datetime = field(doc="when it started, UTC")
    status: str = field(choices=(RUNNING, COMPLETED, FAILED), extensible=True)
    layers_completed: list[Any] | None = field(
        default=None, doc='in order: ["portfolio_input", "data", "macro"]'
    )
    error_message: str | None = None
    execution_time_seconds: int | None = field(default=None, between=(0, 2**62), doc="seconds")

    def __attrs_post_init__(self) -> None:
        check_list(type(self).__name__, "layers_completed", self.layers_completed)


class Executions(Part):
    """The execution logs of a prediction store."""

    def start_execution(
        self,
        *,
        user_id: str,
        flow: str,
        execution_date: datetime,
        log_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved[ExecutionLog]:
        """Store that a flow has started; the same start again adds nothing (MARA-13).

        Args:
            user_id: for whom; must be stored.
            flow: the flow.
            execution_date: when it started, aware.
            log_id: left out, ``{user}/{flow}/{time}``.
            extra: fields that your own extension of the record adds.
            op_id: makes the commit idempotent (Z-10).
            batch: joins a batch of the keep; nothing is written before it ends.

        Raises:
            InvalidReference: there is no such user.
            AlreadyExists: *log_id* is another run's, or of this one, which has gone on since.
        """
        said = {
            "user_id": user_id,
            "flow": flow,
            "execution_date": execution_date,
            "status": RUNNING,
        }
        base = natural_id(user_id, flow, str(execution_date))

        def make(number: int) -> ExecutionLog:
            name = log_id or numbered(base, number)
            return self._new(ExecutionLog, {**said, "log_id": name}, extra or {})

        if log_id is not None:
            return self._save(make(1), op_id=op_id, batch=batch)
        return self._save_numbered(make, op_id=op_id, batch=batch)

    def update_execution(
        self,
        log_id: str,
        *,
        status: str | None = None,
        layers_completed: Sequence[str] = (),
        error_message: str | None = None,
        execution_time_seconds: int | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved[ExecutionLog]:
        """Store how far a run has come: what is left out stays as it is.

        Args:
            log_id: the run.
            status: ``"running"``, ``"completed"`` or ``"failed"``.
            layers_completed: further layers; each is remembered once, in the order they came.
            error_message: why it failed.
            execution_time_seconds: how long it took.
            op_id: makes the commit idempotent (Z-10).
            batch: joins a batch of the keep; nothing is written before it ends.

        Raises:
            NotFound: there is no such run.
        """
        said = {
            "status": status,
            "error_message": error_message,
            "execution_time_seconds": execution_time_seconds,
        }
        changes = {name: value for name, value in said.items() if value is not None}

        def decide(before: Receipt | None) -> tuple[list[Write], ExecutionLog]:
            known = self._fetch(ExecutionLog, log_id, batch=batch)
            layers = [*dict.fromkeys([*(known.layers_completed or ()), *layers_completed])]
            new = known.replace(**changes, layers_completed=layers or known.layers_completed)
            if before is not None or new == known:
                return [], known
            return [self.table(ExecutionLog).put(new, at(known))], new

        new, receipt = self._change(decide, op_id=op_id, batch=batch)
        written = receipt.outcomes or batch
        return Saved(log_id, new, receipt if written else unchanged(new))

    def execution(self, log_id: str) -> ExecutionLog | None:
        """The run known by its id."""
        return self.table(ExecutionLog).get(log_id)

    def executions(
        self, user_id: str, *, status: str | None = None, limit: int = 10
    ) -> list[ExecutionLog]:
        """The newest *limit* runs, oldest of them first (Z-38)."""
        order = ("execution_date", "revision")
        asked = where(user_id=user_id, status=status)
        return self.table(ExecutionLog).list(*asked, order=order, limit=limit, take="last")
