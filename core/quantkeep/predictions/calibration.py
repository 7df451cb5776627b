"""How far predictions were from what came: figures that the engine computes."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal

import attrs

from quantkeep.errors import InvalidQuery
from quantkeep.predictions.agents import AgentPrediction
from quantkeep.predictions.evaluations import AgentEvaluation
from quantkeep.predictions.figures import ROOM
from quantkeep.predictions.forecasts import Prediction
from quantkeep.predictions.part import Part
from quantkeep.predictions.results import PerformanceResult
from quantkeep.query import Condition, Exists, Measure, Per, Tally, Where, where
from quantkeep.table import Table

By = Literal["user", "agent", "layer", "regime", "month"]
_BY: Final = ("user", "agent", "layer", "regime", "month")
_OF_AGENTS: Final = ("agent", "layer")
_MISSING: Final = object()


@attrs.frozen(kw_only=True)
class Calibration:
    """Predicted against actual, over one group of results or of agents' evaluations.

    Returns are signed fractions. A positive error means that more came than was expected.

    Attributes:
        group: the group's values, in the order that was asked for.
        count: of those whose expected and actual return are both known.
        expected: mean expected return.
        actual: mean actual return.
        error: mean of actual - expected, the bias.
        absolute_error: mean distance between the two.
        accuracy: mean accuracy, from 0 to 1, where one was given.
    """

    group: tuple[Any, ...]
    count: int
    expected: Decimal | None
    actual: Decimal | None
    error: Decimal | None
    absolute_error: Decimal | None
    accuracy: Decimal | None


class Calibrations(Part):
    """Predicted against actual."""

    def calibration(
        self,
        user_id: str | None = None,
        *,
        by: Sequence[By] = (),
        since: date | None = None,
        until: date | None = None,
    ) -> list[Calibration]:
        """Predicted against actual by agent, regime, month ..., computed by the engine.

        Args:
            user_id: of one user only.
            by: any of ``"user"``, ``"agent"``, ``"layer"``, ``"regime"``, ``"month"``, in the order
                wanted. With agent or layer it is about the agents' evaluations, otherwise about
                results. The month is that of the prediction. The regime is the one predicted; an
                agent's is the one that it saw itself.
            since: predictions of this day and later.
            until: predictions of this day and earlier.

        Returns:
            One for each group that has anything to compare, by the group's values.

        Raises:
            InvalidQuery: *by* names something else.
        """
        unknown = [name for name in by if name not in _BY]
        if unknown:
            raise InvalidQuery(f"cannot group by {unknown[0]!r}: expected {', '.join(_BY)}")
        source = _OF_EVALUATIONS if set(by) & set(_OF_AGENTS) else _OF_RESULTS
        asked = [*where(user_id=user_id), *source.between(since, until)]
        found = [
            _calibration(by, groups, figures, regime)
            for regime, condition in self._regimes(source, by)
            for groups, figures in source.tallied(self.table(source.record), by, asked, condition)
        ]
        return sorted(found, key=lambda c: tuple((v is not None, v) for v in c.group))

    def _regimes(self, source: "_Source", by: Sequence[By]) -> Iterable[tuple[Any, list[Exists]]]:
        """Each regime, with the condition that a row belongs to a prediction of it.

        The regime stands with the prediction, not with its result: a semi-join for each of the
        handful of regimes lets the engine answer without a copy of it in every row.
        """
        if "regime" not in by:
            return [(_MISSING, [])]
        predicted = self.table(source.predicted)
        regimes = [row[0] for row in predicted.tally(Tally(by=("market_regime",)))]
        key = predicted.collection.key[0]
        return [
            (
                regime,
                [
                    Exists(
                        predicted.collection,
                        ((key, key),),
                        (Where("market_regime", "==", regime),),
                    )
                ],
            )
            for regime in regimes
        ]


@attrs.frozen(kw_only=True)
class _Source:
    """Where predicted and actual stand side by side."""

    record: Any
    predicted: Any  # the record that names the regime
    day: str
    error: str
    accuracy: str

    def between(self, since: date | None, until: date | None) -> list[Condition]:
        found: list[Condition] = [Where(self.error, "!=", None)]
        found += [Where(self.day, ">=", since)] if since else []
        found += [Where(self.day, "<=", until)] if until else []
        return found

    def tallied(
        self,
        table: Table[Any],
        by: Sequence[By],
        asked: Sequence[Condition],
        more: Sequence[Condition],
    ) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Values of the groups that are columns, and the figures of each that has rows."""
        columns = {"user": "user_id", "agent": "agent_name", "layer": "layer"}
        groups = tuple(
            Per(self.day, "month") if name == "month" else columns[name]
            for name in by
            if name != "regime"
        )
        measures = (
            Measure("count"),
            Measure("mean", "actual_return"),
            Measure("mean", self.error),
            Measure("mean_abs", self.error),
            Measure("mean", self.accuracy),
        )
        tally = Tally(by=groups, measures=measures, where=(*asked, *more))
        width = len(groups)
        return [(row[:width], row[width:]) for row in table.tally(tally) if row[width]]


_OF_RESULTS: Final = _Source(
    record=PerformanceResult,
    predicted=Prediction,
    day="start_date",
    error="return_error",
    accuracy="prediction_accuracy",
)
_OF_EVALUATIONS: Final = _Source(
    record=AgentEvaluation,
    predicted=AgentPrediction,
    day="prediction_date",
    error="return_prediction_error",
    accuracy="accuracy_score",
)


def _calibration(
    by: Sequence[By], groups: tuple[Any, ...], figures: tuple[Any, ...], regime: Any
) -> Calibration:
    values = iter(groups)
    count, actual, error, absolute, accuracy = figures
    return Calibration(
        group=tuple(regime if name == "regime" else next(values) for name in by),
        count=count,
        expected=None if actual is None else ROOM.subtract(actual, error),
        actual=actual,
        error=error,
        absolute_error=absolute,
        accuracy=accuracy,
    )
