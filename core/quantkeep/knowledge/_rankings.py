"""Top-N: strategies by any metric, failures by tag or category, templates by promotion."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import attrs

from quantkeep.knowledge._figures import Best, MetricFigures
from quantkeep.knowledge.answers import PromotedTemplate, RankedStrategy, RepeatFailure
from quantkeep.knowledge.records import (
    Backtest,
    Failure,
    FailureTag,
    PromotionRecord,
    Score,
)
from quantkeep.query import Condition, Exists, Measure, Query, Tally, Where, where


class Rankings(MetricFigures):
    """Questions that are answered by the first few of many."""

    def top_strategies(
        self,
        top: int = 10,
        *,
        by: str = "score_total",
        best: Best | None = None,
        run_id: UUID | None = None,
        passed: bool | None = None,
        data_version: str | None = None,
        engine_mode: str | None = None,
    ) -> list[RankedStrategy]:
        """The *top* strategies, each once, by its best backtest; best first (KB-17).

        Backtests without the metric, or with NaN, do not rank. Ties go by backtest id.

        Args:
            top: how many.
            by: ``score_total``, a field of :class:`Metrics`, or any name in ``Metrics.details``.
            best: which end is best; the least for drawdown and volatility, else the greatest.
            run_id: only of this run.
            passed: only backtests whose score passed, or did not.
            data_version: only on this data.
            engine_mode: only in this mode.

        Raises:
            InvalidQuery: no stored backtest has the metric *by*; says which there are.
        """
        measured = self._measured_by(by, best)
        conditions: tuple[Condition, ...] = (*measured.where, *where(run_id=run_id))
        if passed is not None:
            conditions = (*conditions, self._with_score(passed))
        about = where(data_version=data_version, engine_mode=engine_mode)
        if about:
            conditions = (*conditions, self._of_backtests(about))
        order = measured.column if measured.best == "least" else f"-{measured.column}"
        query = Query(where=conditions, order=(order,), limit=max(2 * top, 20))
        ranked = self._distinct(self.table(measured.record), query, measured.column, top)
        if not ranked:
            self._known(by)
        return ranked

    def _with_score(self, passed: bool) -> Exists:
        scores = self.table(Score).collection
        return Exists(scores, (("backtest_id", "backtest_id"),), (Where("passed", "==", passed),))

    def _of_backtests(self, about: tuple[Where, ...]) -> Exists:
        backtests = self.table(Backtest).collection
        return Exists(backtests, (("backtest_id", "backtest_id"),), about)

    def _distinct(self, table: Any, query: Query, column: str, top: int) -> list[RankedStrategy]:
        """The first *top* strategies in the order of *query*; reads on only while it must."""
        found: dict[str, RankedStrategy] = {}
        for row in _pages(table, query):
            if len(found) == top:
                break
            if row.strategy_id not in found:
                value = getattr(row, column)
                found[row.strategy_id] = RankedStrategy(row.strategy_id, value, row.backtest_id)
        return [*found.values()]

    def repeat_failures(
        self,
        top: int = 10,
        *,
        by: Literal["tag", "category"] = "tag",
        at_least: int = 1,
        category: str | None = None,
        run_id: UUID | None = None,
        states: Sequence[str] | None = None,
        since: datetime | None = None,
    ) -> list[RepeatFailure]:
        """The *top* tags or categories that failures have most often, most often first (KB-21).

        Args:
            top: how many.
            by: count tags, or categories.
            at_least: leave out what occurred less often.
            category: only failures of this category.
            run_id: only of this run.
            states: only failures in one of these states.
            since: only failures noted at this instant or later.
        """
        asked: tuple[Condition, ...] = where(category=category, run_id=run_id)
        if since is not None:
            asked = (*asked, Where("created_at", ">=", since))
        if states is not None:
            asked = (*asked, self._in_states(by, states))
        tally = Tally(
            by=(by,),
            measures=(Measure("count"), Measure("min", "created_at"), Measure("max", "created_at")),
            where=asked,
            order_by=0,
            limit=top,
        )
        counted = self.table(FailureTag if by == "tag" else Failure).tally(tally)
        return [RepeatFailure(*row) for row in counted if row[1] >= at_least]

    def _in_states(self, by: str, states: Sequence[str]) -> Condition:
        wanted = Where("state", "in", tuple(states))
        if by == "category":
            return wanted
        failures = self.table(Failure).collection
        return Exists(failures, (("failure_id", "failure_id"),), (wanted,))

    def promoted_templates(
        self, top: int = 10, *, to_tier: str | None = None, run_id: UUID | None = None
    ) -> list[PromotedTemplate]:
        """Templates whose strategies were promoted most often, by tier (KB-21)."""
        asked = where(decision="PROMOTE", to_tier=to_tier, run_id=run_id)
        tally = Tally(
            by=("template_id", "to_tier"),
            measures=(Measure("count"), Measure("max", "timestamp")),
            where=(*asked, Where("template_id", "!=", None)),
            order_by=0,
            limit=top,
        )
        return [PromotedTemplate(*row) for row in self.table(PromotionRecord).tally(tally)]


def _pages(table: Any, query: Query) -> Iterator[Any]:
    while True:
        rows, cursor = table.page(query)
        yield from rows
        if cursor is None:
            return
        query = attrs.evolve(query, after=cursor)
