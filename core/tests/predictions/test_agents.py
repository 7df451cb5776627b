"""What agents said and how it was judged; personas; runs of the flows."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from quantkeep import Conflict, InvalidValue, NotFound
from quantkeep.errors import InvalidReference
from quantkeep.predictions import AgentEvaluation, AgentPersona

DAY = date(2025, 1, 17)
SCORES = {
    "accuracy_score": Decimal("0.75"),
    "regime_accuracy": Decimal(1),
    "sector_prediction_error": {"technology": -0.02},
    "allocation_similarity": Decimal("0.9"),
    "opportunity_hit_rate": Decimal("0.5"),
    "theme_performance": {"ai_infrastructure": 0.2},
    "action_effectiveness": Decimal("0.1"),
    "timing_score": Decimal("-0.3"),
    "overall_contribution": Decimal("0.02"),
    "rationale": "금리",
    "evaluated_at": datetime(2025, 2, 18, tzinfo=UTC),
}


@pytest.mark.requirement("MARA-U1", api="PredictionStore.save_agent_prediction")
def test_agent_prediction_comes_back_with_every_field(desk, predictions):
    desk.predict()
    said = {
        "agent_persona": "hawk",
        "agent_weight": Decimal("0.25"),
        "prediction_data": {"stance": "hawkish", "rates": [5.25, 5.5]},
        "market_regime": "volatile",
        "sector_outlook": {"technology": 0.12},
        "confidence_score": Decimal("0.8"),
        "recommended_allocation": {"XLK": 0.4},
        "expected_return": Decimal("0.08"),
        "expected_risk": Decimal("0.2"),
        "opportunities": [{"ticker": "XLK"}],
        "suggested_actions": ["buy XLK"],
    }
    saved = desk.opine(**said)
    (found,) = predictions.agent_predictions("marv_2025-01-17")
    assert found == saved.record == predictions.agent_prediction(saved.id)
    for name, value in said.items():
        assert getattr(found, name) == value, name
    assert (found.user_id, found.layer, found.agent_name) == ("marv", "macro", "monetary_agent")


@pytest.mark.requirement("MARA-U1", "Z-21", api="PredictionStore.save_agent_prediction")
def test_agents_may_speak_again(desk, predictions):
    desk.predict()
    first, other = desk.opine(), desk.opine(agent_name="sector_rotation_agent")
    again = desk.opine(prediction_data={"stance": "dovish"})
    assert desk.opine().receipt.added == 0
    assert len({first.id, other.id, again.id}) == 3
    stances = predictions.agent_predictions("marv_2025-01-17", agent_name="monetary_agent")
    assert [s.prediction_data["stance"] for s in stances] == ["hawkish", "dovish"]
    assert desk.opine(agent_prediction_id="mine").id == "mine"
    with pytest.raises(Conflict):
        desk.opine(agent_prediction_id="mine", prediction_data={})


@pytest.mark.requirement("MARA-U1", "X-5", "MARA-34", api="PredictionStore.save_agent_prediction")
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"layer": "micro"}, "layer"),
        ({"confidence_score": Decimal("1.5")}, "confidence_score"),
        ({"prediction_data": None}, "prediction_data"),
        ({"prediction_data": ["x"]}, "prediction_data"),
        ({"opportunities": "x"}, "opportunities"),
        ({"recommended_allocation": {"XLK": "x"}}, "recommended_allocation['XLK']"),
    ],
)
def test_wrong_opinions_are_named(desk, wrong, field):
    desk.predict()
    with pytest.raises(InvalidValue) as raised:
        desk.opine(**wrong)
    assert (raised.value.record, raised.value.field) == ("AgentPrediction", field)


@pytest.mark.requirement("MARA-34", api="PredictionStore.delete_prediction")
def test_predictions_that_agents_took_part_in_stay(desk, predictions):
    with pytest.raises(InvalidReference, match="nothing"):
        desk.opine("nothing")
    desk.predict()
    desk.opine()
    with pytest.raises(Conflict):
        predictions.delete_prediction("marv_2025-01-17")


@pytest.mark.requirement("MARA-U2", api="PredictionStore.save_evaluation")
def test_evaluation_comes_back_with_every_field(desk, predictions):
    desk.predict()
    opinion, result = (
        desk.opine(expected_risk=Decimal("0.15"), agent_persona="hawk"),
        desk.judge(actual_volatility=Decimal("0.20")),
    )
    saved = predictions.save_evaluation(opinion.id, result_id=result.id, **SCORES)
    (found,) = predictions.evaluations(result.id)
    assert found == saved.record
    for name, value in SCORES.items():
        assert getattr(found, name) == value, name
    assert found.agent_prediction_id == opinion.id
    assert found.performance_result_id == result.id
    assert (found.user_id, found.layer, found.agent_name) == ("marv", "macro", "monetary_agent")
    assert found.agent_persona == "hawk"
    assert (found.prediction_date, found.evaluation_date) == (DAY, date(2025, 2, 17))
    assert found.return_prediction_error == Decimal("-0.02")
    assert found.risk_prediction_error == Decimal("0.05")
    assert predictions.save_evaluation(opinion.id, result_id=result.id, **SCORES).receipt.added == 0


@pytest.mark.requirement("MARA-U2", api="PredictionStore.save_evaluation")
def test_one_evaluation_of_an_opinion_by_a_result(desk, predictions):
    desk.predict()
    opinion, result = desk.opine(), desk.judge()
    predictions.save_evaluation(opinion.id, result_id=result.id, **SCORES)
    with pytest.raises(Conflict):
        predictions.save_evaluation(opinion.id, result_id=result.id, rationale="other")
    other = desk.predict(flow="overlay").id
    with pytest.raises(InvalidReference, match="part of"):
        predictions.save_evaluation(desk.opine(other).id, result_id=result.id)
    with pytest.raises(InvalidReference, match="nothing"):
        predictions.save_evaluation("nothing", result_id=result.id)
    with pytest.raises(InvalidReference, match="nothing"):
        predictions.save_evaluation(opinion.id, result_id="nothing")
    for name, wrong in (("accuracy_score", Decimal(2)), ("acuracy_score", Decimal(1))):
        with pytest.raises(InvalidValue, match=f"AgentEvaluation.{name}"):
            predictions.save_evaluation(opinion.id, result_id=result.id, **{name: wrong})


@pytest.mark.requirement("MARA-U4", api="PredictionStore.pending_evaluations")
def test_pending_evaluations_and_has_evaluation(desk, predictions):
    desk.predict()
    opinions = [desk.opine(agent_name=name).id for name in ("a", "b")]
    result = desk.judge().id
    assert not predictions.has_evaluation("marv_2025-01-17")
    waiting = predictions.pending_evaluations("marv")
    assert [o.agent_prediction_id for o in waiting] == opinions
    predictions.save_evaluation(opinions[0], result_id=result)
    assert [o.agent_name for o in predictions.pending_evaluations()] == ["b"]
    assert predictions.has_evaluation("marv_2025-01-17")
    assert predictions.has_evaluation("marv_2025-01-17", agent_name="a")
    assert not predictions.has_evaluation("marv_2025-01-17", agent_name="b")
    age = timedelta(days=30)
    assert predictions.pending_evaluations(older_than=age, as_of=DAY + timedelta(days=29)) == []
    assert len(predictions.pending_evaluations(older_than=age, as_of=DAY + age)) == 1
    assert predictions.pending_evaluations("parents") == []


@pytest.mark.requirement("MARA-U4", api="PredictionStore.agent_evaluations")
def test_evaluations_of_the_last_six_calendar_months(desk, predictions):
    desk.predict()
    days = [date(2024, 9, 29), date(2024, 9, 30), date(2025, 1, 1), date(2025, 3, 31)]
    for number, day in enumerate(days):
        opinion = desk.opine(agent_name=f"agent {number}")
        result = desk.judge(result_id=f"r{number}", metadata={"n": number})
        predictions.save_evaluation(opinion.id, result_id=result.id, evaluation_date=day)
    # six months before 31 March end with the last day of September
    recent = predictions.agent_evaluations("marv", as_of=date(2025, 3, 31))
    assert [e.evaluation_date for e in recent] == days[1:]
    one = predictions.agent_evaluations("marv", recent_months=1, as_of=date(2025, 2, 1))
    assert [e.evaluation_date for e in one] == [date(2025, 1, 1)]
    every = predictions.agent_evaluations("marv", recent_months=None, agent_name="agent 0")
    assert [e.agent_name for e in every] == ["agent 0"]
    assert AgentEvaluation.collection.indexes


@pytest.mark.requirement("MARA-U3", api="PredictionStore.save_persona")
def test_personas(predictions):
    hawk = AgentPersona(
        persona_id="1",
        persona_name="hawk",
        display_name="매파",
        description="expects tightening",
        investment_philosophy="cash is a position",
        applicable_layers=["macro", "strategy"],
        config_file="hawk.yaml",
        system_prompt_file="hawk.md",
        default_weight=Decimal("0.25"),
        sensitivity=Decimal("1.5"),
        created_by="marv",
    )
    predictions.save_persona(hawk)
    assert predictions.persona("hawk") == hawk
    assert predictions.persona("dove") is None
    with pytest.raises(Conflict):
        predictions.save_persona(hawk.replace(persona_id="2"))
    predictions.save_persona(hawk.replace(is_active=False))
    assert predictions.personas(is_active=True) == []
    assert len(predictions.personas()) == 1
    with pytest.raises(InvalidValue, match="applicable_layers"):
        hawk.replace(applicable_layers="macro")


@pytest.mark.requirement("MARA-13", api="PredictionStore.start_execution")
def test_execution_log(desk, predictions):
    at = datetime(2025, 1, 17, 9, 0, tzinfo=UTC)
    started = predictions.start_execution(user_id="marv", flow="growth", execution_date=at)
    assert started.record.status == "running"
    predictions.update_execution(started.id, layers_completed=["portfolio_input", "data"])
    predictions.update_execution(
        started.id, status="failed", layers_completed=["data", "macro"],
        error_message="no rates", execution_time_seconds=42,
    )  # fmt: skip
    found = predictions.execution(started.id)
    assert found.layers_completed == ["portfolio_input", "data", "macro"]
    assert (found.status, found.error_message) == ("failed", "no rates")
    assert (found.execution_date, found.execution_time_seconds) == (at, 42)
    assert predictions.update_execution(started.id, status="failed").receipt.added == 0


@pytest.mark.requirement("MARA-13", "X-5", api="PredictionStore.update_execution")
def test_execution_log_refuses(desk, predictions):
    at = datetime(2025, 1, 17, 9, 0, tzinfo=UTC)
    log = predictions.start_execution(user_id="marv", flow="growth", execution_date=at).id
    for wrong in ({"status": "done"}, {"execution_time_seconds": -1}):
        with pytest.raises(InvalidValue, match=next(iter(wrong))):
            predictions.update_execution(log, **wrong)
    with pytest.raises(InvalidValue, match="execution_date"):
        predictions.start_execution(
            user_id="marv", flow="growth", execution_date=at.replace(tzinfo=None)
        )
    with pytest.raises(InvalidReference):
        predictions.start_execution(user_id="nobody", flow="growth", execution_date=at)
    with pytest.raises(NotFound):
        predictions.update_execution("nothing", status="failed")


@pytest.mark.requirement("MARA-13", "Z-38", api="PredictionStore.executions")
def test_executions_are_the_newest_oldest_first(desk, predictions):
    for hour in (3, 1, 2):
        at = datetime(2025, 1, 17, hour, tzinfo=UTC)
        predictions.start_execution(user_id="marv", flow="growth", execution_date=at)
    newest = predictions.executions("marv", limit=2)
    assert [log.execution_date.hour for log in newest] == [2, 3]
    assert predictions.executions("marv", status="failed") == []
