"""How each agent's prediction turned out."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypedDict, Unpack

from quantkeep.errors import InvalidReference
from quantkeep.predictions.agents import LAYERS, AgentPrediction
from quantkeep.predictions.figures import months_before, ratio, share
from quantkeep.predictions.part import Part, Saved
from quantkeep.predictions.results import PerformanceResult, error_of
from quantkeep.predictions.shapes import check_mapping
from quantkeep.query import Condition, Exists, Where, where
from quantkeep.records import Record, field, record
from quantkeep.store import PendingBatch


@record(
    "agent_evaluations",
    key=("evaluation_id",),
    stream=("user_id",),
    immutable=True,
    unique=[("agent_prediction_id", "performance_result_id")],
    indexes=[("agent_name", "evaluation_date"), ("user_id", "evaluation_date")],
)
class AgentEvaluation(Record):
    """One agent's prediction held against what came (MARA-U2)."""

    evaluation_id: str
    agent_prediction_id: str = field(references="agent_predictions", index=True)
    performance_result_id: str = field(references="performance_results", index=True)
    user_id: str = field(references="users")
    layer: str = field(choices=LAYERS, extensible=True)
    agent_name: str
    agent_persona: str | None = None
    evaluation_date: date
    prediction_date: date
    accuracy_score: Decimal | None = share("from 0 to 1")
    regime_accuracy: Decimal | None = share("from 0 to 1")
    sector_prediction_error: dict[str, Any] | None = field(
        default=None, doc="{sector: actual - expected, fraction}"
    )
    expected_return: Decimal | None = ratio("what the agent expected: fraction, signed")
    actual_return: Decimal | None = ratio("what the prediction returned: fraction, signed")
    return_prediction_error: Decimal | None = ratio("actual - expected return, fraction")
    risk_prediction_error: Decimal | None = ratio("actual - expected volatility, fraction")
    allocation_similarity: Decimal | None = ratio("1 where target and best allocation agree")
    opportunity_hit_rate: Decimal | None = share("from 0 to 1")
    theme_performance: dict[str, Any] | None = field(default=None, doc="{theme: fraction}")
    action_effectiveness: Decimal | None = ratio("score, signed")
    timing_score: Decimal | None = ratio("score, signed")
    overall_contribution: Decimal | None = ratio("fraction of the return, signed")
    rationale: str | None = None
    evaluated_at: datetime | None = field(
        default=None, doc="when it was judged; if not said, the envelope's created_at"
    )

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        check_mapping(name, "sector_prediction_error", self.sector_prediction_error)
        check_mapping(name, "theme_performance", self.theme_performance)


class Scores(TypedDict, total=False):
    """What an evaluation says of an agent's prediction; all else is derived."""

    evaluation_date: date
    accuracy_score: Decimal | None
    regime_accuracy: Decimal | None
    sector_prediction_error: dict[str, Any] | None
    allocation_similarity: Decimal | None
    opportunity_hit_rate: Decimal | None
    theme_performance: dict[str, Any] | None
    action_effectiveness: Decimal | None
    timing_score: Decimal | None
    overall_contribution: Decimal | None
    rationale: str | None
    evaluated_at: datetime | None


class Evaluations(Part):
    """The evaluations of a prediction store's agents."""

    def save_evaluation(
        self,
        agent_prediction_id: str,
        *,
        result_id: str,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
        **scores: Unpack[Scores],
    ) -> Saved[AgentEvaluation]:
        """Store how one agent's prediction turned out; the same again adds nothing (MARA-U2).

        Names, dates and the errors of return and risk come from the agent's prediction and the
        result. To store a result with all its evaluations in one commit, see :meth:`retrospect`.

        Args:
            agent_prediction_id: what is judged; must be stored.
            result_id: what came; must be stored.
            **scores: see :class:`Scores`; ``evaluation_date`` is the result's end if left out.
            op_id: makes the commit idempotent (Z-10).
            batch: joins a batch of the keep; nothing is written before it ends.

        Raises:
            InvalidValue: a score does not fit its field.
            InvalidReference: one of the two is not stored, or they are of different predictions.
            AlreadyExists: this agent's prediction was judged otherwise by the same result.
        """
        result = self._referred(AgentEvaluation, PerformanceResult, result_id, batch=batch)
        evaluation = self._evaluation(agent_prediction_id, result, scores, batch)
        return self._save(evaluation, op_id=op_id, batch=batch)

    def _evaluation(
        self,
        agent_prediction_id: str,
        result: PerformanceResult,
        scores: Scores,
        batch: PendingBatch | None,
    ) -> AgentEvaluation:
        said = self._referred(AgentEvaluation, AgentPrediction, agent_prediction_id, batch=batch)
        if said.prediction_id != result.prediction_id:
            raise InvalidReference(
                f"agent_evaluations.agent_prediction_id refers to agent_predictions "
                f"{agent_prediction_id!r}, which is part of {said.prediction_id!r}; the result "
                f"{result.result_id!r} is of {result.prediction_id!r}"
            )
        derived = {
            "evaluation_id": f"{agent_prediction_id}@{result.result_id}",
            "agent_prediction_id": agent_prediction_id,
            "performance_result_id": result.result_id,
            "user_id": said.user_id,
            "layer": said.layer,
            "agent_name": said.agent_name,
            "agent_persona": said.agent_persona,
            "prediction_date": result.start_date,
            "expected_return": said.expected_return,
            "actual_return": result.actual_return,
            "return_prediction_error": error_of(result.actual_return, said.expected_return),
            "risk_prediction_error": error_of(result.actual_volatility, said.expected_risk),
        }
        if "evaluation_date" not in scores:
            derived["evaluation_date"] = result.end_date
        return self._new(AgentEvaluation, derived, scores)

    def agent_evaluations(
        self,
        user_id: str,
        *,
        recent_months: int | None = 6,
        agent_name: str | None = None,
        as_of: date | None = None,
    ) -> list[AgentEvaluation]:
        """Evaluations of the last *recent_months* calendar months, oldest first (MARA-U4).

        Args:
            user_id: the user.
            recent_months: counted back from *as_of*, that day included; ``None`` takes all.
            agent_name: of one agent only.
            as_of: today in UTC, by the store's clock, if left out.
        """
        asked: list[Condition] = [*where(user_id=user_id, agent_name=agent_name)]
        if recent_months is not None:
            last = as_of or self._today()
            first = months_before(last, recent_months)
            asked += [Where("evaluation_date", ">=", first), Where("evaluation_date", "<=", last)]
        table = self.table(AgentEvaluation)
        return table.list(*asked, order=("evaluation_date", "revision"))

    def evaluations(self, result_id: str) -> list[AgentEvaluation]:
        """The evaluations that were stored with a result, in the order they were stored."""
        asked = where(performance_result_id=result_id)
        return self.table(AgentEvaluation).list(*asked, order=("revision",))

    def has_evaluation(self, prediction_id: str, *, agent_name: str | None = None) -> bool:
        """Whether any agent's part in the prediction, or this agent's, was judged (MARA-U4)."""
        evaluations = self.table(AgentEvaluation).collection
        judged = Exists(evaluations, (("agent_prediction_id", "agent_prediction_id"),))
        asked = where(prediction_id=prediction_id, agent_name=agent_name)
        return self.table(AgentPrediction).first(*asked, judged) is not None
