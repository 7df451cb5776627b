"""Where a metric is kept, and what a group of iterations gave: small queries, put together."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, Final, Literal
from uuid import UUID

import attrs

from quantkeep.columns import Kind
from quantkeep.errors import InvalidQuery
from quantkeep.knowledge._rules import Rules
from quantkeep.knowledge.answers import Figures
from quantkeep.knowledge.records import (
    Backtest,
    Failure,
    Metrics,
    MetricValue,
    Score,
)
from quantkeep.query import Condition, Measure, Query, Tally, Where
from quantkeep.records import Record

Best = Literal["greatest", "least"]

LEAST_IS_BEST: Final = ("max_drawdown_net", "volatility")


@attrs.frozen
class Measured:
    """Where a metric is: a column of a table, under conditions that pick its numbers."""

    record: type[Record]
    column: str
    where: tuple[Condition, ...]
    best: Best


class MetricFigures(Rules):
    """Metrics by name, and figures of iterations."""

    def _measured_by(self, metric: str, best: Best | None = None) -> Measured:
        """Where *metric* is: ``score_total``, a field of metrics, or a name of its details."""
        if metric == "score_total":
            return Measured(Score, metric, (_is_number(metric),), best or "greatest")
        columns = self.table(Metrics).collection.columns
        if any(c.name == metric and c.kind in (Kind.REAL, Kind.INTEGER) for c in columns):
            default: Best = "least" if metric in LEAST_IS_BEST else "greatest"
            return Measured(Metrics, metric, (_is_number(metric, columns),), best or default)
        named = (Where("name", "==", metric), _is_number("value"))
        return Measured(MetricValue, "value", named, best or "greatest")

    def metric_names(self) -> list[str]:
        """Every metric that strategies can be ranked by."""
        columns = self.table(Metrics).collection.columns
        fields = [c.name for c in columns if c.kind is Kind.REAL or c.name == "trades"]
        named = self.table(MetricValue).tally(Tally(by=("name",)))
        return ["score_total", *fields, *(name for name, _ in named)]

    def _known(self, metric: str) -> None:
        """Refuse a metric that no backtest has; raises :class:`InvalidQuery`."""
        names = self.metric_names()
        if metric not in names:
            raise InvalidQuery(f"no metric {metric!r}; there are {', '.join(names)}")

    def _figures(
        self, iterations: Sequence[tuple[UUID, int]], metric: str, *, median: bool = False
    ) -> Figures:
        """What *iterations*, (run, number), gave; a few tallies for each run."""
        by_run: dict[UUID, list[int]] = {}
        for run_id, number in iterations:
            by_run.setdefault(run_id, []).append(number)
        wheres = [_of(run_id, numbers) for run_id, numbers in by_run.items()]
        measured = self._measured_by(metric)
        counted = [self._one(measured, where) for where in wheres]
        return Figures(
            iterations=tuple((str(run_id), number) for run_id, number in sorted(iterations)),
            backtests=self._counts(Backtest, "status", wheres),
            measured=sum(count for count, _, _ in counted),
            mean=_mean([(count, total) for count, total, _ in counted]),
            median=self._median(measured, wheres) if median else None,
            best=_best([best for _, _, best in counted], measured.best),
            passed=sum(self._passed(where) for where in wheres),
            failures=self._counts(Failure, "category", wheres),
        )

    def _one(
        self, measured: Measured, where: tuple[Condition, ...]
    ) -> tuple[int, float | None, float | None]:
        best = "max" if measured.best == "greatest" else "min"
        column = measured.column
        measures = (Measure("count"), Measure("sum", column), Measure(best, column))  # type: ignore[arg-type]  # one of two
        tally = Tally(measures=measures, where=(*where, *measured.where))
        count, total, extreme = self.table(measured.record).tally(tally)[0]
        return count, total, extreme

    def _median(self, measured: Measured, wheres: Sequence[tuple[Condition, ...]]) -> float | None:
        """The one figure that engines are not asked for: it is worked out from the values."""
        table = self.table(measured.record)
        found = [
            getattr(row, measured.column)
            for where in wheres
            for row in table.scan(Query(where=(*where, *measured.where)))
        ]
        return statistics.median(found) if found else None

    def _counts(
        self, record: type[Record], by: str, wheres: Sequence[tuple[Condition, ...]]
    ) -> dict[str, int]:
        counts: dict[str, int] = {}
        for where in wheres:
            for label, count in self.table(record).tally(Tally(by=(by,), where=where)):
                counts[label] = counts.get(label, 0) + count
        return counts

    def _passed(self, where: tuple[Condition, ...]) -> int:
        return self.table(Score).count(*where, Where("passed", "==", True))


def _of(run_id: UUID, numbers: Sequence[int]) -> tuple[Condition, ...]:
    return Where("run_id", "==", run_id), Where("iteration_id", "in", tuple(numbers))


def _is_number(column: str, columns: Any = ()) -> Where:
    """Passes over absent values, and NaN, which is greater than every number."""
    if any(c.name == column and c.kind is Kind.INTEGER for c in columns):
        return Where(column, "!=", None)
    return Where(column, "<=", math.inf)


def _mean(parts: Sequence[tuple[int, float | None]]) -> float | None:
    count = sum(n for n, _ in parts)
    totals = [total for _, total in parts if total is not None]
    return sum(totals) / count if count else None


def _best(values: Sequence[float | None], best: Best) -> float | None:
    present = [value for value in values if value is not None]
    if not present:
        return None
    return max(present) if best == "greatest" else min(present)
