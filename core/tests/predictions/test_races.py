"""Another writer commits between what a call reads and what it writes: nothing is lost."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from quantkeep import Conflict
from quantkeep.errors import AlreadyExists
from quantkeep.predictions.part import TRIES

SCORES = {"a": {"accuracy": 1}, "b": {"accuracy": 0}}
PREDICTION = "marv_2025-01-17"
END = date(2025, 2, 17)


@pytest.mark.requirement("MARA-30", api="PredictionStore.update_agent_weights")
def test_scores_of_both_are_counted(desk, predictions, meanwhile):
    for _ in range(2):  # agents that are new, then agents that are known
        meanwhile(lambda: predictions.update_agent_weights("marv", SCORES))
        agents, _ = predictions.update_agent_weights("marv", SCORES)
    assert [a.total_predictions for a in agents] == [4, 4]
    assert predictions.agents("marv") == agents


@pytest.mark.requirement("MARA-30", api="PredictionStore.update_agent_weights")
def test_weights_are_never_made_of_outdated_agents(desk, predictions, meanwhile):
    """An agent that is only weighed, not scored, must still be as it was read."""
    predictions.update_agent_weights("marv", SCORES, weigh=lambda agents: {})
    meanwhile(
        lambda: predictions.update_agent_weights(
            "marv", {"b": {"accuracy": 1}}, weigh=lambda agents: {}
        )
    )
    seen = []

    def weigh(agents):
        seen.append({a.agent_name: a.total_predictions for a in agents})
        return {}

    predictions.update_agent_weights("marv", {"a": {"accuracy": 1}}, weigh=weigh)
    assert seen == [{"a": 2, "b": 1}, {"a": 2, "b": 2}]


@pytest.mark.requirement("MARA-30", api="PredictionStore.adopt_weights")
def test_weights_that_changed_meanwhile_are_adopted_anew(desk, predictions, meanwhile):
    predictions.update_agent_weights("marv", SCORES)
    meanwhile(lambda: predictions.update_agent_weights("marv", {"b": {"accuracy": 1}}))
    adopted, _ = predictions.adopt_weights("marv")
    assert predictions.agents("marv") == adopted
    assert [a.total_predictions for a in adopted] == [1, 2]


@pytest.mark.requirement("MARA-U4", "Z-22", api="PredictionStore.retrospect")
def test_two_retrospections(desk, predictions, meanwhile):
    desk.predict()

    def analyse(actual: str):
        return predictions.retrospect(
            PREDICTION, end_date=END, actual_return=Decimal(actual), agent_scores=SCORES
        )

    meanwhile(lambda: analyse("0.06"))
    other = analyse("0.07")
    assert other.result.result_id == f"result_{PREDICTION}_r2"
    assert [a.total_predictions for a in other.agents] == [2, 2]
    meanwhile(lambda: analyse("0.08"))
    same = analyse("0.08")
    assert same.receipt.added == 0
    assert [a.total_predictions for a in predictions.agents("marv")] == [3, 3]
    assert len(predictions.results(PREDICTION)) == 3


@pytest.mark.requirement("Z-10", "MARA-U4", api="PredictionStore.retrospect")
def test_the_same_operation_twice_at_once(desk, predictions, meanwhile):
    desk.predict()

    def analyse():
        return predictions.retrospect(
            PREDICTION, end_date=END, agent_scores=SCORES, op_id="retro-1"
        )

    meanwhile(analyse)
    assert analyse().receipt.replayed
    assert [a.total_predictions for a in predictions.agents("marv")] == [1, 1]


@pytest.mark.requirement("MARA-27", api="PredictionStore.attach_report")
def test_a_report_does_not_undo_another_change(desk, predictions, meanwhile):
    desk.predict()
    meanwhile(lambda: predictions.attach_report(PREDICTION, markdown="first", path="first.md"))
    predictions.attach_report(PREDICTION, markdown="second")
    found = predictions.prediction(PREDICTION)
    assert (found.report_markdown, found.report_path) == ("second", "first.md")
    meanwhile(lambda: predictions.attach_report(PREDICTION, markdown="third"))
    with pytest.raises(Conflict):
        predictions.attach_report(PREDICTION, markdown="fourth", expect=found.revision)
    assert predictions.prediction(PREDICTION).report_markdown == "third"


@pytest.mark.requirement("MARA-13", api="PredictionStore.update_execution")
def test_layers_of_both_are_remembered(desk, predictions, meanwhile):
    at = datetime(2025, 1, 17, tzinfo=UTC)
    log = predictions.start_execution(user_id="marv", flow="growth", execution_date=at).id
    meanwhile(lambda: predictions.update_execution(log, layers_completed=["data"]))
    predictions.update_execution(log, layers_completed=["macro"])
    assert predictions.execution(log).layers_completed == ["data", "macro"]


@pytest.mark.requirement("Z-21", api="PredictionStore.save_prediction")
def test_two_runs_of_a_day_at_once(desk, predictions, meanwhile):
    meanwhile(lambda: desk.predict(recommended_strategy="A"))
    assert desk.predict(recommended_strategy="B").id == f"{PREDICTION}_2"
    meanwhile(lambda: desk.predict(recommended_strategy="C"))
    same = desk.predict(recommended_strategy="C")
    assert (same.id, same.receipt.added) == (f"{PREDICTION}_3", 0)
    meanwhile(lambda: desk.predict(recommended_strategy="D"))
    assert desk.predict(prediction_id="mine", recommended_strategy="E").record.sequence == 5
    meanwhile(lambda: desk.predict(prediction_id="yours", recommended_strategy="F"))
    with pytest.raises(AlreadyExists, match="yours"):
        desk.predict(prediction_id="yours", recommended_strategy="G")
    assert len(predictions.prediction_history()) == 6


@pytest.mark.requirement("MARA-30", api="PredictionStore.update_agent_weights")
def test_one_who_always_loses_gives_up(desk, predictions, keep, monkeypatch):
    """Each lost race is somebody's success; to lose them all, something else must be wrong."""
    engine = keep.backend.engine
    commit, inside = engine.commit, []
    lost = []

    def never_first(batch):
        if not inside:
            inside.append(True)
            lost.append(predictions.update_agent_weights("marv", SCORES))
            inside.clear()
        return commit(batch)

    predictions.update_agent_weights("marv", SCORES)
    monkeypatch.setattr(engine, "commit", never_first)
    with pytest.raises(Conflict):
        predictions.update_agent_weights("marv", SCORES)
    assert len(lost) == TRIES
    assert predictions.agent_stats("marv", "a").total_predictions == TRIES + 1
