"""Keeping backtests: each once, unless a rerun is asked for (Z-60, Z-64)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from quantkeep.batch import Receipt
from quantkeep.errors import AlreadyExists, InvalidValue
from quantkeep.knowledge._rules import Rules
from quantkeep.knowledge.records import Backtest
from quantkeep.knowledge.strategy_ids import content_hash
from quantkeep.query import where
from quantkeep.store import PendingBatch

REPRODUCIBLE_BY: Final = (
    "strategy_id",
    "engine_mode",
    "engine_version",
    "data_version",
    "universe_version",
    "period_start",
    "period_end",
    "bar_interval",
    "model_versions",
    "calc_contract_hash",
)  # Z-60: two backtests that agree in these must give the same result


def reproducibility_key(backtest: Backtest) -> str:
    """The hash of everything that a backtest's result follows from (KB-2)."""
    named = {name: getattr(backtest, name) for name in REPRODUCIBLE_BY}
    return content_hash(named, "reproducibility_key")


class Backtests(Rules):
    """Backtests."""

    def insert_backtest(
        self,
        backtest: Backtest,
        *,
        rerun: bool = False,
        created_at: datetime | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> str:
        """Store a backtest; its id, made unless it is given (KB-6, KB-28).

        The same one saved twice gives the first id. Same means reproducible by the same things
        (:data:`REPRODUCIBLE_BY`) and equal in every other field too. With *rerun* it is kept beside
        an earlier one like it. Imports give *created_at*, when it was made where it comes from.

        Raises:
            AlreadyExists: an earlier one differs, and *rerun* is false; names the fields.
            InvalidReference: its iteration or its strategy is not stored.
        """
        known = self._keyed(backtest)
        if known.backtest_id is not None:
            stored = self._find(Backtest, known.backtest_id, batch=batch)
            if stored is not None and not self._replays(batch):
                self._check_same(known.replace(rerun_mark=stored.rerun_mark), stored)
                return known.backtest_id
        if not rerun and not self._replays(batch):
            first = self._first_like(known)
            if first is not None:
                return first
        return self._store_backtest(known, rerun, created_at, op_id, batch)

    def _keyed(self, backtest: Backtest) -> Backtest:
        """*backtest* with what follows from it."""
        contract_hash = content_hash(backtest.calc_contract, "calc_contract")
        if backtest.calc_contract_hash not in (None, contract_hash):
            raise InvalidValue(
                f"is {backtest.calc_contract_hash!r}",
                record="Backtest", field="calc_contract_hash", value=backtest.calc_contract_hash,
                expected=f"the hash of calc_contract, {contract_hash}, or none: it is filled in",
            )  # fmt: skip
        hashed = backtest.replace(calc_contract_hash=contract_hash)
        return hashed.replace(reproducibility_key=reproducibility_key(hashed), rerun_mark="")

    def _first_like(self, backtest: Backtest) -> str | None:
        """The id of the equal backtest that is stored; ``None`` if nothing like it is.

        Raises:
            AlreadyExists: there is one like it, but it differs.
        """
        alike = self.reruns(backtest.reproducibility_key)
        if not alike:
            return None
        differing = [self._differing(_named_as(backtest, other), other) for other in alike]
        if () in differing:
            return alike[differing.index(())].backtest_id
        raise AlreadyExists(
            f"backtests {alike[0].backtest_id!r} is of the same strategy, data, engine and "
            f"contract, with another {', '.join(differing[0])}: change that one, or say rerun=True "
            "to keep both"
        )

    def _store_backtest(
        self,
        backtest: Backtest,
        rerun: bool,
        created_at: datetime | None,
        op_id: str | None,
        batch: PendingBatch | None,
    ) -> str:
        backtest_id = backtest.backtest_id or self._new_id("backtest", op_id, batch)
        marked = backtest.replace(backtest_id=backtest_id, rerun_mark=backtest_id if rerun else "")
        try:
            self._add(marked, created_at=created_at, op_id=op_id, batch=batch)
        except AlreadyExists:
            first = None if rerun else self._first_like(marked)  # another writer was first
            if first is None:
                raise
            return first
        return backtest_id

    def update_backtest(
        self,
        backtest_id: str,
        *,
        status: str | None = None,
        error_code: str | None = None,
        artifacts_dir: str | None = None,
        artifact_ref: str | None = None,
        violated_constraints: Sequence[str] | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Record how a backtest went on; what is ``None`` stays as it is.

        What makes it reproducible cannot be changed.

        Raises:
            NotFound: it is not stored.
            Conflict: another writer changed it meanwhile.
        """
        said: dict[str, Any] = {
            "status": status,
            "error_code": error_code,
            "artifacts_dir": artifacts_dir,
            "artifact_ref": artifact_ref,
            "violated_constraints": violated_constraints and list(violated_constraints),
        }
        changes = {name: value for name, value in said.items() if value is not None}
        return self._change(Backtest, backtest_id, changes=changes, op_id=op_id, batch=batch)

    # -- reading -----------------------------------------------------------------------------------

    def backtest(self, backtest_id: str) -> Backtest:
        """The backtest; raises :class:`NotFound`."""
        return self._fetch(Backtest, backtest_id)

    def backtests(
        self,
        *,
        run_id: UUID | None = None,
        iteration_id: int | None = None,
        strategy_id: str | None = None,
        data_version: str | None = None,
        engine_mode: str | None = None,
        status: str | None = None,
        limit: int | None = None,
    ) -> list[Backtest]:
        """Backtests, newest first: of one run by revision, of several by ``created_at``."""
        asked = where(
            run_id=run_id,
            iteration_id=iteration_id,
            strategy_id=strategy_id,
            data_version=data_version,
            engine_mode=engine_mode,
            status=status,
        )
        newest = "-revision" if run_id is not None else "-created_at"
        return self.table(Backtest).list(*asked, order=(newest,), limit=limit)

    def reruns(self, reproducibility_key: str) -> list[Backtest]:
        """All backtests that are reproducible by the same things, oldest first."""
        alike = where(reproducibility_key=reproducibility_key)
        return self.table(Backtest).list(*alike, order=("rerun_mark", "created_at"))


def _named_as(backtest: Backtest, other: Backtest) -> Backtest:
    """*backtest* under the id of *other*, unless it brought its own."""
    return backtest.replace(backtest_id=other.backtest_id, rerun_mark=other.rerun_mark)
