"""Retrospection is one commit: all of it or nothing, once, whoever else analyses meanwhile."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from quantkeep import Conflict, InvalidValue
from quantkeep.errors import AlreadyExists, InvalidReference, OperationConflict
from quantkeep.predictions import AgentEvaluation, AgentPerformance, PerformanceResult

FIGURES: dict[str, Any] = {
    "end_date": date(2025, 2, 17),
    "actual_return": Decimal("0.06"),
    "prediction_accuracy": Decimal("0.67"),
    "agent_attribution": {
        "monetary_agent": {"accuracy": 0.75, "impact": 0.02},
        "sector_rotation_agent": {"accuracy": 0.4, "impact": -0.01},
    },
}
PREDICTION = "marv_2025-01-17"


@pytest.fixture
def opinions(desk) -> list[str]:
    """A prediction that two agents took part in."""
    desk.predict()
    return [desk.opine(agent_name=name).id for name in FIGURES["agent_attribution"]]


def everything(predictions):
    kinds = (PerformanceResult, AgentEvaluation, AgentPerformance)
    return [predictions.table(kind).list() for kind in kinds]


def analyse(predictions, opinions, **said):
    return predictions.retrospect(
        PREDICTION,
        **{
            **FIGURES,
            "evaluations": {o: {"accuracy_score": Decimal("0.75")} for o in opinions},
            "agent_scores": FIGURES["agent_attribution"],
            **said,
        },
    )


@pytest.mark.requirement("MARA-U4", "MARA-29", "MARA-30", api="PredictionStore.retrospect")
def test_everything_appears_in_one_commit(predictions, opinions):
    done = analyse(predictions, opinions)
    assert len(done.receipt.outcomes) == 1 + 2 + 2
    assert done.receipt.added == 5
    results, evaluations, agents = everything(predictions)
    assert results == [done.result]
    assert {e.evaluation_id for e in evaluations} == {e.evaluation_id for e in done.evaluations}
    assert agents == list(done.agents)
    assert done.result.return_error == Decimal("-0.03")
    assert {e.performance_result_id for e in evaluations} == {done.result.result_id}
    assert predictions.agent_stats("marv", "monetary_agent").recent_accuracy == Decimal("0.75")
    assert predictions.pending() == predictions.pending_evaluations() == []


@pytest.mark.requirement("MARA-U4", api="PredictionStore.retrospect")
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"prediction_accuracy": Decimal(2)}, InvalidValue),
        ({"evaluations": {"nothing": {}}}, InvalidReference),
        ({"evaluations": {0: {"accuracy_score": Decimal(2)}}}, InvalidValue),
        ({"agent_scores": {"a": {"accuracy": 2}}}, InvalidValue),
        ({"agent_scores": {"a\0": {"accuracy": 1}}}, InvalidValue),
        ({"agent_scores": {"a": {"accuracy": 1, "weight": Decimal("1e-30")}}}, InvalidValue),
    ],
)
def test_nothing_is_half_written(predictions, opinions, wrong, error):
    if 0 in wrong.get("evaluations", {}):
        wrong = {"evaluations": {opinions[0]: wrong["evaluations"][0]}}
    with pytest.raises(error):
        analyse(predictions, opinions, **wrong)
    assert everything(predictions) == [[], [], []]


@pytest.mark.requirement("MARA-U4", "Z-22", api="PredictionStore.retrospect")
def test_the_same_again_counts_nothing(predictions, opinions):
    first = analyse(predictions, opinions)
    before = everything(predictions)
    again = analyse(predictions, opinions)
    assert again.receipt.added == 0
    assert again.result == first.result
    assert list(again.agents) == list(first.agents)
    assert len(again.evaluations) == 2
    assert everything(predictions) == before


@pytest.mark.requirement("MARA-U4", api="PredictionStore.retrospect")
def test_another_evaluation_of_a_known_result_is_not_lost_silently(predictions, opinions):
    analyse(predictions, opinions[:1])
    with pytest.raises(AlreadyExists, match="save_evaluation"):
        analyse(predictions, opinions)
    assert len(everything(predictions)[1]) == 1


@pytest.mark.requirement("Z-10", "MARA-U4", api="PredictionStore.retrospect")
def test_under_an_operation_id(predictions, opinions, keep):
    first = analyse(predictions, opinions, op_id="retro-1")
    predictions.update_agent_weights("marv", {"monetary_agent": {"accuracy": 1}})
    again = analyse(predictions, opinions, op_id="retro-1")
    assert again.receipt.replayed
    assert again.receipt.revisions == first.receipt.revisions
    assert keep.resolve("retro-1").revisions == first.receipt.revisions
    assert predictions.agent_stats("marv", "monetary_agent").total_predictions == 2
    with pytest.raises(OperationConflict):
        analyse(predictions, opinions, op_id="retro-1", actual_return=Decimal("0.07"))
    assert len(predictions.results(PREDICTION)) == 1


@pytest.mark.requirement("MARA-U4", "Z-22", api="PredictionStore.retrospect")
def test_another_analysis_gets_its_own_result(predictions, opinions):
    analyse(predictions, opinions)
    other = analyse(predictions, opinions, actual_return=Decimal("0.07"))
    assert other.result.result_id == f"result_{PREDICTION}_r2"
    assert len(predictions.evaluations(other.result.result_id)) == 2
    assert predictions.agent_stats("marv", "monetary_agent").total_predictions == 2
    analyse(predictions, opinions, result_id="mine")
    with pytest.raises(Conflict, match="mine"):
        analyse(predictions, opinions, result_id="mine", actual_return=Decimal(1))


@pytest.mark.requirement("MARA-30", api="PredictionStore.retrospect")
def test_without_scores_no_weight_is_touched(predictions, opinions):
    done = analyse(predictions, opinions, agent_scores=None)
    assert done.agents == []
    assert everything(predictions)[2] == []


@pytest.mark.requirement("MARA-U4", "MARA-30", api="PredictionStore.retrospect")
def test_analysts_at_once_lose_nothing(predictions, opinions):
    """Different analyses all count; the same one by two analysts counts once."""

    def run(number: int):
        return analyse(predictions, opinions, actual_return=Decimal(number // 2) / 100)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(12)))
    assert len({d.result.result_id for d in done}) == 6
    assert sum(d.receipt.added > 0 for d in done) == 6
    results, evaluations, agents = everything(predictions)
    assert (len(results), len(evaluations)) == (6, 12)
    assert [a.total_predictions for a in agents] == [6, 6]


ANALYST = """
import sys
from datetime import date
from decimal import Decimal
import quantkeep

with quantkeep.open(sys.argv[1]) as keep:
    for number in range(6):
        keep.predictions.retrospect(
            "marv_2025-01-17",
            end_date=date(2025, 2, 17),
            actual_return=Decimal(number),
            metadata={"analyst": sys.argv[2]},
            agent_scores={"monetary_agent": {"accuracy": 0.75}},
        )
"""


@pytest.mark.requirement("MARA-U4", "MARA-30", api="PredictionStore.retrospect")
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_analysts_in_two_processes_lose_nothing(predictions, opinions, url):
    program = [sys.executable, "-c", ANALYST, url]
    analysts = [subprocess.Popen([*program, name]) for name in ("ann", "bob")]
    assert [analyst.wait(280) for analyst in analysts] == [0, 0]
    assert len(predictions.results(PREDICTION)) == 12
    assert predictions.agent_stats("marv", "monetary_agent").total_predictions == 12
