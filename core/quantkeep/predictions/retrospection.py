"""Retrospection: a result, every agent's evaluation and the agents' new weights, as one commit."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import count
from typing import Any, Unpack

import attrs

from quantkeep.batch import ABSENT, Receipt, Write
from quantkeep.contract import taken
from quantkeep.errors import AlreadyExists
from quantkeep.predictions.evaluations import AgentEvaluation, Evaluations, Scores
from quantkeep.predictions.forecasts import Prediction
from quantkeep.predictions.part import unchanged
from quantkeep.predictions.performance import (
    AgentPerformance,
    Performances,
    Score,
    Weigh,
    attributed,
    by_accuracy,
    score_of,
)
from quantkeep.predictions.results import Figures, PerformanceResult, Results, result_name
from quantkeep.store import PendingBatch


@attrs.frozen
class Retrospection:
    """What a retrospection stored, or found stored already.

    Attributes:
        result: the result.
        evaluations: of each agent that was evaluated with it.
        agents: the records of all the user's agents after it.
        receipt: of the one commit; ``receipt.added`` is 0 if nothing was new.
    """

    result: PerformanceResult
    evaluations: Sequence[AgentEvaluation]
    agents: Sequence[AgentPerformance]
    receipt: Receipt


class Retrospections(Results, Evaluations, Performances):
    """Analysis after the fact."""

    def retrospect(
        self,
        prediction_id: str,
        *,
        evaluations: Mapping[str, Scores] | None = None,
        agent_scores: Mapping[str, Mapping[str, Any]] | None = None,
        accurate_above: Decimal = Decimal("0.5"),
        weigh: Weigh = by_accuracy,
        result_id: str | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
        **figures: Unpack[Figures],
    ) -> Retrospection:
        """Store how a prediction turned out, who was right, and what weights follow (MARA-U4).

        Everything appears in one commit. Of several analysts at once none loses anything: each
        result is stored and each score counted, once. The same retrospection again finds its
        result stored, and counts nothing.

        Args:
            prediction_id: the prediction; must be stored.
            evaluations: scores by the id of the agent's prediction; see :meth:`save_evaluation`.
            agent_scores: see :meth:`update_agent_weights`; left out, no weight is touched.
            accurate_above: an accuracy above this counts as an accurate prediction.
            weigh: makes ``recommended_weight`` of all the user's agents.
            result_id: see :meth:`save_result`.
            **figures: see :meth:`save_result`.
            op_id: makes the commit idempotent (Z-10).
            batch: joins a batch of the keep; nothing is written before it ends.

        Raises:
            InvalidValue: a figure or score does not fit its field.
            InvalidReference: a prediction is not stored, or an agent's is not of this one.
            AlreadyExists: other content is stored under *result_id*; or the result is stored
                already, but not these evaluations.
            OperationConflict: *op_id* was used for something else.
        """
        scores = {agent: score_of(agent, said) for agent, said in (agent_scores or {}).items()}

        def decide(before: Receipt | None) -> tuple[list[Write], Retrospection]:
            result, known = self._slot(prediction_id, result_id, figures, batch)
            judged = [self._evaluation(i, result, s, batch) for i, s in (evaluations or {}).items()]
            if known is not None:
                return [], self._found(known, judged, before)
            weighed, agents = self._counting(result, judged, scores, accurate_above, weigh)
            writes: list[Write] = [
                self.table(PerformanceResult).put(result, ABSENT),
                *(self.table(AgentEvaluation).put(e, ABSENT) for e in judged),
                *weighed,
            ]
            return writes, Retrospection(result, judged, agents, Receipt())

        done, receipt = self._change(decide, op_id=op_id, batch=batch)
        return attrs.evolve(done, receipt=receipt) if receipt.outcomes else done

    def _slot(
        self,
        prediction_id: str,
        result_id: str | None,
        figures: Figures,
        batch: PendingBatch | None,
    ) -> tuple[PerformanceResult, PerformanceResult | None]:
        """The result under the id it will have, and what is stored there, if it is the same."""
        prediction = self._referred(PerformanceResult, Prediction, prediction_id, batch=batch)
        for number in count(1):
            name = result_id or result_name(prediction_id, number)
            result = self._result(prediction, name, figures)
            known = self._find(PerformanceResult, name, batch=batch)
            if known is None or self._equal(result, known):
                return result, known
            if result_id is not None:
                raise taken(result.collection, (name,), result.collection.key)
        raise AssertionError("numbers do not end")

    def _found(
        self,
        known: PerformanceResult,
        judged: Sequence[AgentEvaluation],
        before: Receipt | None,
    ) -> Retrospection:
        """What is stored of a retrospection that was made before."""
        table = self.table(AgentEvaluation)
        for evaluation in judged:
            stored = table.get(evaluation.evaluation_id)
            if stored is None or not self._equal(evaluation, stored):
                raise AlreadyExists(
                    f"performance_results {known.result_id!r} is stored already, but not with this "
                    f"evaluation of {evaluation.agent_prediction_id!r}; to add to it, call "
                    "save_evaluation"
                )
        return Retrospection(
            known,
            self.evaluations(known.result_id),
            self.agents(known.user_id),
            before or unchanged(known),
        )

    def _counting(
        self,
        result: PerformanceResult,
        judged: Sequence[AgentEvaluation],
        scores: Mapping[str, Score],
        accurate_above: Decimal,
        weigh: Weigh,
    ) -> tuple[list[Write], Sequence[AgentPerformance]]:
        if not scores:
            return [], self.agents(result.user_id)
        recent = {
            agent: [
                *self._recent(result.user_id, agent, result.end_date),
                *_accuracies(agent, result, judged),
            ]
            for agent in scores
        }
        return self._weighed(result.user_id, scores, recent, accurate_above, weigh)


def _accuracies(
    agent: str, result: PerformanceResult, judged: Sequence[AgentEvaluation]
) -> list[Decimal]:
    """What this retrospection says of an agent: its evaluations, or else the attribution."""
    own = [e.accuracy_score for e in judged if e.agent_name == agent]
    told = own or [attributed(result.agent_attribution, agent)]
    return [accuracy for accuracy in told if accuracy is not None]
