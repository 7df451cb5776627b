"""What iterations gave, from a few tallies that are each about all of them."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import attrs

from quantkeep.knowledge._figures import Best, Measured, MetricFigures
from quantkeep.knowledge.answers import Figures
from quantkeep.knowledge.records import Backtest, Failure, Score
from quantkeep.query import Condition, Measure, Query, Tally, Where
from quantkeep.records import Record

IterationKey = tuple[UUID, int]
Within = tuple[Condition, ...]


@attrs.define
class Outcome:
    """What one iteration gave, in parts that can be added up."""

    backtests: dict[str, int] = attrs.field(factory=dict)
    failures: dict[str, int] = attrs.field(factory=dict)
    passed: int = 0
    measured: int = 0
    total: float = 0.0
    best: float | None = None


@attrs.define
class Outcomes:
    """The outcome of each iteration, of those that were asked for."""

    best: Best
    of: dict[IterationKey, Outcome]

    def together(self, iterations: Sequence[IterationKey], median: float | None = None) -> Figures:
        """The figures of some of them."""
        found = [self.of[key] for key in iterations]
        measured = sum(each.measured for each in found)
        return Figures(
            iterations=tuple((str(run_id), number) for run_id, number in sorted(iterations)),
            backtests=_added(each.backtests for each in found),
            measured=measured,
            mean=sum(each.total for each in found) / measured if measured else None,
            median=median,
            best=self._best([each.best for each in found if each.best is not None]),
            passed=sum(each.passed for each in found),
            failures=_added(each.failures for each in found),
        )

    def _best(self, values: Sequence[float]) -> float | None:
        if not values:
            return None
        return max(values) if self.best == "greatest" else min(values)


class IterationOutcomes(MetricFigures):
    """Figures of iterations."""

    def _outcomes(self, iterations: Iterable[IterationKey], metric: str) -> Outcomes:
        """What each of *iterations* gave: four tallies for each run, however many they are."""
        measured = self._measured_by(metric)
        found = {key: Outcome() for key in iterations}
        for run_id, within in _by_run(found):
            for number, status, count in self._counts(Backtest, "status", within):
                found[run_id, number].backtests[status] = count
            for number, category, count in self._counts(Failure, "category", within):
                found[run_id, number].failures[category] = count
            for number, passed, count in self._counts(Score, "passed", within):
                found[run_id, number].passed += count if passed else 0
            self._measure(
                measured, within, {n: o for (run, n), o in found.items() if run == run_id}
            )
        return Outcomes(measured.best, found)

    def _counts(self, record: type[Record], by: str, within: Within) -> list[tuple[Any, ...]]:
        return self.table(record).tally(Tally(by=("iteration_id", by), where=within))

    def _measure(self, by: Measured, within: Within, found: Mapping[int, Outcome]) -> None:
        best = Measure("max" if by.best == "greatest" else "min", by.column)
        tally = Tally(
            by=("iteration_id",),
            measures=(Measure("count"), Measure("sum", by.column), best),
            where=(*within, *by.where),
        )
        for number, *figures in self.table(by.record).tally(tally):
            outcome = found[number]
            outcome.measured, outcome.total, outcome.best = figures

    def _median(self, iterations: Iterable[IterationKey], metric: str) -> float | None:
        """The one figure that engines are not asked for: it is worked out from the values."""
        by = self._measured_by(metric)
        values = [
            getattr(row, by.column)
            for _, within in _by_run(iterations)
            for row in self.table(by.record).scan(Query(where=(*within, *by.where)))
        ]
        return statistics.median(values) if values else None

    def _pruned_by(
        self, constraint_id: str, iterations: Iterable[IterationKey]
    ) -> dict[IterationKey, int]:
        """How many backtests each of *iterations* left out because of the constraint."""
        violated = Where("violated_constraints", "contains", constraint_id)
        return {
            (run_id, number): count
            for run_id, within in _by_run(iterations)
            for number, count in self.table(Backtest).tally(
                Tally(by=("iteration_id",), where=(*within, violated))
            )
        }


def _by_run(iterations: Iterable[IterationKey]) -> Iterator[tuple[UUID, Within]]:
    """Each run, with the condition that a row is of one of its *iterations*."""
    by_run: dict[UUID, list[int]] = {}
    for run_id, number in iterations:
        by_run.setdefault(run_id, []).append(number)
    for run_id, numbers in by_run.items():
        among = Where("iteration_id", "in", tuple(numbers))
        yield run_id, (Where("run_id", "==", run_id), among)


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    added: dict[str, int] = {}
    for each in counts:
        for label, count in each.items():
            added[label] = added.get(label, 0) + count
    return added
