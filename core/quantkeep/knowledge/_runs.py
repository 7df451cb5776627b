"""Keeping runs and their iterations."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from quantkeep.batch import Receipt
from quantkeep.errors import AlreadyExists, InvalidValue
from quantkeep.knowledge._rules import Rules
from quantkeep.knowledge.records import Iteration, Run
from quantkeep.query import where
from quantkeep.store import PendingBatch

_ATTEMPTS = 20  # at the next number, against other writers of the same run


class Runs(Rules):
    """Runs and iterations."""

    def start_run(
        self,
        run: Run,
        *,
        created_at: datetime | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> UUID:
        """Record that a run has begun; its id, made unless it is given (KB-3).

        The same one again adds nothing. Imports give *created_at*, when it began.

        Raises:
            AlreadyExists: another run has this id.
        """
        known = run
        if run.run_id is None:
            known = run.replace(run_id=UUID(self._new_id("run", op_id, batch)))
        self._add(known, moving=("status",), created_at=created_at, op_id=op_id, batch=batch)
        return known.run_id

    def finish_run(
        self,
        run_id: UUID,
        status: Literal["DONE", "FAILED"] = "DONE",
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Record how a run ended; raises :class:`NotFound`."""
        return self._change(Run, run_id, changes={"status": status}, op_id=op_id, batch=batch)

    def start_iteration(
        self,
        iteration: Iteration,
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> int:
        """Record that an iteration has begun; its number, the run's next unless given (KB-4).

        Raises:
            InvalidValue: the number is not greater than the last one of the run; or none is given,
                but an operation id or batch, which must say the same when it is made again.
            InvalidReference: the run, or the constraint set that is applied, is not stored.
            AlreadyExists: another iteration of the run has this number.
        """
        if iteration.iteration_id is None:
            return self._start_next(iteration, op_id, batch)
        number = iteration.iteration_id
        if self._find(Iteration, iteration.run_id, number, batch=batch) is None:
            self._check_growing(iteration.run_id, number)
        self._add(iteration, moving=("ended_at", "summary"), op_id=op_id, batch=batch)
        return number

    def _start_next(
        self, iteration: Iteration, op_id: str | None, batch: PendingBatch | None
    ) -> int:
        if op_id is not None or batch is not None:
            raise _unnumbered("is required with op_id or batch, which must be the same again")
        for _ in range(_ATTEMPTS):
            number = self.last_iteration_id(iteration.run_id) + 1
            try:
                added = self._add(iteration.replace(iteration_id=number)).added
            except AlreadyExists:
                continue  # another writer took the number
            if added:
                return number  # and not another writer's, who said the same
        raise _unnumbered(f"was taken by other writers {_ATTEMPTS} times over; try again")

    def _check_growing(self, run_id: UUID, number: int) -> None:
        last = self.last_iteration_id(run_id)
        if number <= last:
            raise InvalidValue(
                f"is {number}, but the run is at {last}",
                record="Iteration", field="iteration_id", value=number,
                expected="a greater number: iterations of a run ascend",
            )  # fmt: skip

    def finish_iteration(
        self,
        run_id: UUID,
        iteration_id: int,
        *,
        ended_at: datetime,
        summary: dict[str, Any] | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Record how an iteration ended; raises :class:`NotFound`."""
        changes: dict[str, Any] = {"ended_at": ended_at}
        if summary is not None:
            changes["summary"] = summary
        return self._change(
            Iteration, run_id, iteration_id, changes=changes, op_id=op_id, batch=batch
        )

    # -- reading -----------------------------------------------------------------------------------

    def run(self, run_id: UUID) -> Run:
        """The run; raises :class:`NotFound`."""
        return self._fetch(Run, run_id)

    def runs(self, *, status: str | None = None, limit: int | None = None) -> list[Run]:
        """Runs, newest first."""
        return self.table(Run).list(*where(status=status), order=("-created_at",), limit=limit)

    def iteration(self, run_id: UUID, iteration_id: int) -> Iteration:
        """The iteration; raises :class:`NotFound`."""
        return self._fetch(Iteration, run_id, iteration_id)

    def iterations(
        self, run_id: UUID | None = None, *, constraint_set_id: str | None = None
    ) -> list[Iteration]:
        """Iterations in order, of one run, or those that applied a constraint set."""
        asked = where(run_id=run_id, constraint_set_id_applied=constraint_set_id)
        return self.table(Iteration).list(*asked)

    def last_iteration_id(self, run_id: UUID) -> int:
        """The greatest number of an iteration of the run; 0 if it has none."""
        last = self.table(Iteration).last(*where(run_id=run_id))
        return last.iteration_id if last else 0


def _unnumbered(said: str) -> InvalidValue:
    return InvalidValue(said, record="Iteration", field="iteration_id", expected="a number")
