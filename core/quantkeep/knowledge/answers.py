"""What the knowledge store answers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from quantkeep.knowledge.records import (
    Constraint,
    ConstraintProvenance,
    ConstraintSet,
    Failure,
    Iteration,
)


@attrs.frozen
class RepeatFailure:
    """A tag or category, and how often failures had it."""

    label: str
    count: int
    first_at: datetime
    last_at: datetime


@attrs.frozen
class RankedStrategy:
    """A strategy by its best backtest.

    Attributes:
        value: of the metric asked for, in that backtest.
    """

    strategy_id: str
    value: float
    backtest_id: str


@attrs.frozen
class PromotedTemplate:
    """How often strategies of a template were promoted to a tier, and the last time."""

    template_id: str
    to_tier: str
    count: int
    last_at: datetime


@attrs.frozen(kw_only=True)
class Figures:
    """What a group of iterations gave.

    Attributes:
        iterations: their numbers by run, ascending.
        backtests: how many, by status.
        measured: backtests that have the metric asked for, as a number.
        mean: of the metric over those; ``None`` without any.
        median: of the metric over those, by which one absurd backtest does not decide;
            only :meth:`KnowledgeStore.effectiveness` works it out.
        best: the greatest (of drawdown and volatility: the least).
        passed: scores that passed.
        failures: how many, by category.
    """

    iterations: tuple[tuple[str, int], ...]
    backtests: Mapping[str, int]
    measured: int
    mean: float | None
    best: float | None
    passed: int
    failures: Mapping[str, int]
    median: float | None = None


@attrs.frozen(kw_only=True)
class Effectiveness:
    """The iterations under a constraint set, beside those just before them.

    Attributes:
        before: under the set that each run had applied before, or under none.
        after: under the set asked about.
    """

    constraint_set_id: str
    metric: str
    before: Figures
    after: Figures

    @property
    def change(self) -> float | None:
        """Mean of the metric after, less before; ``None`` where one of them is missing."""
        return _difference(self.before.mean, self.after.mean)

    @property
    def median_change(self) -> float | None:
        """Median of the metric after, less before; ``None`` where one of them is missing."""
        return _difference(self.before.median, self.after.median)


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


@attrs.frozen(kw_only=True)
class AppliedIn:
    """An iteration that applied a constraint, and what it gave.

    Attributes:
        pruned_by_it: backtests left out because of this constraint.
    """

    iteration: Iteration
    figures: Figures
    pruned_by_it: int


@attrs.frozen(kw_only=True)
class DrawnConstraint:
    """A constraint that a failure led to.

    Attributes:
        constraint: as the set says it that first had it.
        carried_by: ids of the sets that have it, that one first.
        applied_in: iterations that applied one of those sets.
    """

    provenance: ConstraintProvenance
    constraint: Constraint
    carried_by: tuple[str, ...]
    applied_in: tuple[AppliedIn, ...]


@attrs.frozen(kw_only=True)
class FailureLineage:
    """What became of a failure: failure, constraint, sets, iterations, their results."""

    failure: Failure
    constraints: tuple[DrawnConstraint, ...]


@attrs.frozen(kw_only=True)
class SetLineage:
    """Where a constraint set comes from, and what came of it.

    Attributes:
        chain: the set, its base, and so on to the first.
        constraints: of the set, each with the failures it was drawn from.
        applied_in: iterations that applied the set, with what they gave.
    """

    chain: tuple[ConstraintSet, ...]
    constraints: tuple[tuple[Constraint, tuple[ConstraintProvenance, ...]], ...]
    applied_in: tuple[tuple[Iteration, Figures], ...]


@attrs.frozen
class Change:
    """A figure in two backtests."""

    before: Any
    after: Any

    @property
    def delta(self) -> float | None:
        """The later less the earlier; ``None`` unless both are numbers."""
        numbers = (int, float)
        if type(self.before) in numbers and type(self.after) in numbers:
            difference: float = self.after - self.before
            return difference
        return None


@attrs.frozen(kw_only=True)
class Comparison:
    """Two backtests of one strategy: under what they differ, and in which figures (Z-65).

    Attributes:
        versions: of data, engine, models ...: those that differ.
        metrics: figures that differ, by name; the source's own names where there is no field.
        scores: ``score_total``, ``passed`` and ``policy_version``, where they differ.
    """

    strategy_id: str
    before: str
    after: str
    versions: Mapping[str, Change]
    metrics: Mapping[str, Change]
    scores: Mapping[str, Change]
