"""Keeping what backtests gave: metrics, scores, robustness cases, reports."""

import math
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from quantkeep.batch import Receipt
from quantkeep.collection import Reference
from quantkeep.contract import dangling
from quantkeep.errors import InvalidValue
from quantkeep.knowledge._rules import Rules
from quantkeep.knowledge.records import (
    Backtest,
    Metrics,
    MetricValue,
    Report,
    RobustnessCase,
    Score,
)
from quantkeep.query import where
from quantkeep.store import PendingBatch


class Results(Rules):
    """Metrics, scores, robustness cases and reports."""

    def save_metrics(
        self,
        backtest_id: str,
        metrics: Metrics,
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Store what a backtest measured (KB-7, KB-29). The same again adds nothing.

        The numbers of ``metrics.details`` are kept by name too, so that
        :meth:`top_strategies` ranks by any of them.

        Raises:
            InvalidReference: the backtest is not stored.
            InvalidValue: the metrics echo another contract than the backtest's (KB-23).
            AlreadyExists: other metrics are stored for this backtest.
        """
        backtest = self._referred(Metrics, Backtest, backtest_id, batch=batch)
        if metrics.calc_contract_hash != backtest.calc_contract_hash:
            raise InvalidValue(
                f"is {metrics.calc_contract_hash!r}: computed under another contract than backtest "
                f"{backtest_id!r}",
                record="Metrics", field="calc_contract_hash", value=metrics.calc_contract_hash,
                expected=f"the backtest's, {backtest.calc_contract_hash!r}",
            )  # fmt: skip
        placed = metrics.replace(**_place(backtest))
        values = [self._put(value) for value in _values(placed)]
        return self._add(placed, *values, op_id=op_id, batch=batch)

    def save_score(
        self,
        backtest_id: str,
        score: Score,
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Store what a policy made of a backtest's metrics (KB-8, KB-30).

        The same again adds nothing; :meth:`rescore` replaces.

        Raises:
            InvalidReference: there are no metrics for this backtest (KB-24).
            AlreadyExists: another score is stored for it.
        """
        placed = score.replace(**_place(self._measured(backtest_id, batch)))
        return self._add(placed, op_id=op_id, batch=batch)

    def rescore(
        self,
        backtest_id: str,
        score: Score,
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Put *score* in place of the one that is stored, as after a change of policy.

        Raises:
            InvalidReference: there are no metrics for this backtest.
        """
        placed = score.replace(**_place(self._measured(backtest_id, batch)))
        return self._commit(self._put(placed), op_id=op_id, batch=batch)

    def _measured(self, backtest_id: str, batch: PendingBatch | None) -> Metrics:
        metrics = self._find(Metrics, backtest_id, batch=batch)
        if metrics is None:
            reference = Reference(("backtest_id",), "metrics")
            raise dangling(Score.collection, reference, (backtest_id,))
        return metrics

    def save_robustness_cases(
        self,
        backtest_id: str,
        cases: Iterable[RobustnessCase],
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Store how a backtest stood up to stress, in place of cases of the same ids (KB-13).

        Raises:
            InvalidReference: the backtest is not stored.
        """
        backtest = self._referred(RobustnessCase, Backtest, backtest_id, batch=batch)
        puts = [self._put(case.replace(**_place(backtest))) for case in cases]
        return self._commit(*puts, op_id=op_id, batch=batch)

    def save_report(
        self, report: Report, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> str:
        """Store where a report is; its id, made unless it is given (KB-14).

        Raises:
            InvalidReference: the run or the backtest is not stored.
            AlreadyExists: another report is stored under its id.
        """
        report_id = report.report_id or self._new_id("report", op_id, batch)
        self._add(report.replace(report_id=report_id), op_id=op_id, batch=batch)
        return report_id

    # -- reading -----------------------------------------------------------------------------------

    def metrics(self, backtest_id: str) -> Metrics:
        """The metrics of the backtest; raises :class:`NotFound`."""
        return self._fetch(Metrics, backtest_id)

    def score(self, backtest_id: str) -> Score:
        """The score of the backtest; raises :class:`NotFound`."""
        return self._fetch(Score, backtest_id)

    def robustness_cases(
        self, backtest_id: str, *, passed: bool | None = None
    ) -> list[RobustnessCase]:
        """The cases of a backtest, by id."""
        return self.table(RobustnessCase).list(*where(backtest_id=backtest_id, passed=passed))

    def reports(
        self, *, run_id: UUID | None = None, backtest_id: str | None = None
    ) -> list[Report]:
        """Reports, newest first."""
        asked = where(run_id=run_id, backtest_id=backtest_id)
        return self.table(Report).list(*asked, order=("-created_at",))


def _place(of: Backtest | Metrics) -> dict[str, Any]:
    """Where a result belongs; its rows repeat it, so that engines group without joins."""
    return {
        "backtest_id": of.backtest_id,
        "run_id": of.run_id,
        "iteration_id": of.iteration_id,
        "strategy_id": of.strategy_id,
    }


def _values(metrics: Metrics) -> list[MetricValue]:
    """The numbers of the details by name; what is no number cannot rank."""
    place, named = _place(metrics), (metrics.details or {}).items()
    numbers = ((name, value) for name, value in named if type(value) in (int, float))
    return [MetricValue(name=name, value=_real(value), **place) for name, value in numbers]


def _real(number: float) -> float:
    """The nearest float: the details keep the number itself."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)
