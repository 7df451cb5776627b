"""How predictions turned out."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Required, TypedDict, Unpack

from quantkeep.errors import InvalidValue
from quantkeep.predictions.figures import ROOM, ratio, share
from quantkeep.predictions.forecasts import CHRONOLOGICAL, Prediction
from quantkeep.predictions.part import Part, Saved
from quantkeep.predictions.shapes import check_mapping, check_sign
from quantkeep.query import Condition, Exists, where
from quantkeep.records import Record, field, record
from quantkeep.store import PendingBatch

# Sources subtract floats; their errors differ from the exact one by a few units in the 17th digit.
_SAME_ERROR: Final = Decimal("1e-12")


@record(
    "performance_results",
    key=("result_id",),
    stream=("user_id",),
    immutable=True,
    indexes=[("user_id", "start_date")],
)
class PerformanceResult(Record):
    """How a prediction turned out (MARA-9). Signed fractions, as in the prediction (Z-24)."""

    result_id: str
    prediction_id: str = field(references="predictions", index=True)
    user_id: str = field(references="users")
    start_date: date
    end_date: date
    actual_return: Decimal | None = ratio("fraction, signed")
    actual_volatility: Decimal | None = ratio("fraction per year, not negative")
    actual_sharpe: Decimal | None = ratio("ratio, signed")
    actual_max_dd: Decimal | None = ratio("fraction, not positive")
    return_error: Decimal | None = ratio("actual - expected return (MARA-33)")
    prediction_accuracy: Decimal | None = share("from 0 to 1")
    sector_performance: dict[str, Any] | None = field(default=None, doc="{sector: fraction}")
    agent_attribution: dict[str, Any] | None = field(
        default=None, doc='{agent: {"accuracy": 0 to 1, "impact": fraction}} (MARA-11)'
    )
    metadata: dict[str, Any] | None = field(default=None, doc="what else the analysis found")
    analyzed_at: datetime | None = field(
        default=None, doc="when the analysis was made; if not said, the envelope's created_at"
    )

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        check_mapping(name, "sector_performance", self.sector_performance)
        check_mapping(name, "agent_attribution", self.agent_attribution)
        for agent, score in (self.agent_attribution or {}).items():
            check_mapping(name, f"agent_attribution[{agent!r}]", score)
        check_sign(name, "actual_volatility", self.actual_volatility, "negative")
        check_sign(name, "actual_max_dd", self.actual_max_dd, "positive")
        if type(self.end_date) is type(self.start_date) and self.end_date < self.start_date:
            raise InvalidValue(
                f"{self.end_date} is before start_date {self.start_date}",
                record=name, field="end_date", value=self.end_date, expected="a later day",
            )  # fmt: skip


class Figures(TypedDict, total=False):
    """What an analysis found; every call that stores a result takes these."""

    end_date: Required[date]
    actual_return: Decimal | None
    actual_volatility: Decimal | None
    actual_sharpe: Decimal | None
    actual_max_dd: Decimal | None
    prediction_accuracy: Decimal | None
    sector_performance: dict[str, Any] | None
    agent_attribution: dict[str, Any] | None
    metadata: dict[str, Any] | None
    analyzed_at: datetime | None


class Results(Part):
    """The performance results of a prediction store."""

    def save_result(
        self,
        prediction_id: str,
        *,
        result_id: str | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
        **figures: Unpack[Figures],
    ) -> Saved[PerformanceResult]:
        """Store how a prediction turned out; the same again adds nothing (MARA-22, MARA-29).

        User and start date are the prediction's, and ``return_error`` is ``actual_return`` minus
        its ``expected_return``, exactly (Z-20, MARA-33). A prediction may have several results
        (Z-22). To update the agents in the same commit, see :meth:`retrospect`.

        Args:
            prediction_id: the prediction; must be stored.
            result_id: left out, ``result_{prediction}``, with ``_r2``, ``_r3`` ... after it for
                further results.
            **figures: ``end_date``, the day the analysis reaches to, is required.
            op_id: makes the commit idempotent (Z-10).
            batch: joins a batch of the keep; nothing is written before it ends.

        Raises:
            InvalidValue: a figure does not fit its field; an accuracy outside 0 to 1.
            InvalidReference: there is no such prediction.
            AlreadyExists: other content is stored under *result_id*.
        """
        prediction = self._referred(PerformanceResult, Prediction, prediction_id, batch=batch)
        if result_id is not None:
            result = self._result(prediction, result_id, figures)
            return self._save(result, op_id=op_id, batch=batch)

        def make(number: int) -> PerformanceResult:
            return self._result(prediction, result_name(prediction_id, number), figures)

        return self._save_numbered(make, op_id=op_id, batch=batch)

    def _result(
        self, prediction: Prediction, result_id: str, figures: Figures
    ) -> PerformanceResult:
        derived = {
            "result_id": result_id,
            "prediction_id": prediction.prediction_id,
            "user_id": prediction.user_id,
            "start_date": prediction.prediction_date,
            "return_error": error_of(figures.get("actual_return"), prediction.expected_return),
        }
        return self._new(PerformanceResult, derived, figures)

    def result(self, prediction_id: str) -> PerformanceResult | None:
        """The latest result of a prediction, by revision (MARA-23, Z-22)."""
        asked = where(prediction_id=prediction_id)
        return self.table(PerformanceResult).last(*asked, order=("revision",))

    def results(self, prediction_id: str) -> list[PerformanceResult]:
        """All results of a prediction, in the order they were stored."""
        asked = where(prediction_id=prediction_id)
        return self.table(PerformanceResult).list(*asked, order=("revision",))

    def pending(
        self,
        user_id: str | None = None,
        *,
        older_than: timedelta | int = 0,
        as_of: date | None = None,
    ) -> list[Prediction]:
        """Predictions without any result, oldest first (MARA-21).

        Args:
            user_id: of one user only.
            older_than: at least so old (days, or a timedelta of whole days); a prediction exactly
                so old is taken (MARA-U4). Left out, and without *as_of*, dates do not matter.
            as_of: the day to count back from; today in UTC, by the store's clock, if left out.
        """
        results = self.table(PerformanceResult).collection
        asked: tuple[Condition, ...] = (
            *where(user_id=user_id),
            Exists(results, (("prediction_id", "prediction_id"),), negate=True),
            *self._aged(as_of, older_than),
        )
        return self.table(Prediction).list(*asked, order=CHRONOLOGICAL)


def error_of(actual: Decimal | None, expected: Decimal | None) -> Decimal | None:
    """``actual - expected``, exactly, where both are known (MARA-33)."""
    if not isinstance(actual, Decimal) or not actual.is_finite() or expected is None:
        return None  # what is no finite Decimal the record's own field refuses
    return ROOM.subtract(actual, expected)


def result_name(prediction_id: str, number: int) -> str:
    """The default id of a prediction's result (Z-20)."""
    name = f"result_{prediction_id}"
    return name if number == 1 else f"{name}_r{number}"


def check_against(prediction: Prediction, result: PerformanceResult) -> None:
    """Hold a result that was made elsewhere against its prediction (MARA-33).

    Raises:
        InvalidValue: user, start date or error are not the prediction's.
    """
    derived = error_of(result.actual_return, prediction.expected_return)
    expected = {"user_id": prediction.user_id, "start_date": prediction.prediction_date}
    for name, wanted in expected.items():
        if getattr(result, name) != wanted:
            raise _contradicts(result, name, wanted)
    given = result.return_error
    if given is None or derived is None:
        consistent = given is derived
    else:
        consistent = abs(ROOM.subtract(given, derived)) <= _SAME_ERROR
    if not consistent:
        raise _contradicts(result, "return_error", derived)


def _contradicts(result: PerformanceResult, field: str, wanted: Any) -> InvalidValue:
    return InvalidValue(
        f"of {result.result_id!r} is {getattr(result, field)}",
        record=type(result).__name__, field=field, value=getattr(result, field),
        expected=f"{wanted}, as its prediction {result.prediction_id!r} has it",
    )  # fmt: skip
