"""Agents' records: counted, consistent, weighed; two analysts at once lose nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal, localcontext

import pytest

from quantkeep import Conflict, InvalidValue, NotFound
from quantkeep.errors import InvalidReference
from quantkeep.predictions import AgentPerformance, by_accuracy

SCORES = {
    "sector_rotation_agent": {"accuracy": 0.62, "impact": -0.01},
    "monetary_agent": {"accuracy": Decimal("0.75"), "impact": 0.02},
    "contrarian": {"accuracy": 0.5},
}


@pytest.mark.requirement(
    "MARA-12", "MARA-24", "MARA-30", api="PredictionStore.update_agent_weights"
)
def test_scores_are_counted(desk, predictions):
    agents, receipt = predictions.update_agent_weights("marv", SCORES)
    assert receipt.added == 3
    assert agents == predictions.agents("marv")
    stats = predictions.agent_stats("marv", "monetary_agent")
    assert (stats.total_predictions, stats.accurate_predictions) == (1, 1)
    assert (stats.accuracy_rate, stats.current_weight) == (Decimal(1), None)
    coin = predictions.agent_stats("marv", "contrarian")
    assert (coin.total_predictions, coin.accurate_predictions) == (1, 0)
    assert predictions.agent_stats("parents", "monetary_agent") is None
    predictions.update_agent_weights("marv", {"monetary_agent": {"accuracy": 0.1}})
    stats = predictions.agent_stats("marv", "monetary_agent")
    assert (stats.total_predictions, stats.accuracy_rate) == (2, Decimal("0.5"))


@pytest.mark.requirement("MARA-30", "MARA-12", api="PredictionStore.adopt_weights")
def test_weights_are_recommended_then_adopted(desk, predictions):
    agents, _ = predictions.update_agent_weights("marv", SCORES)
    by_name = {a.agent_name: a.recommended_weight for a in agents}
    assert by_name["monetary_agent"] == by_name["sector_rotation_agent"] == Decimal("0.4")
    assert by_name["contrarian"] == Decimal("0.2")
    adopted, _ = predictions.adopt_weights("marv")
    assert all(a.current_weight == a.recommended_weight for a in adopted)
    assert predictions.agents("marv") == adopted
    given = {"contrarian": {"accuracy": 0.9, "weight": Decimal("0.05")}}
    predictions.update_agent_weights("marv", given)
    assert predictions.agent_stats("marv", "contrarian").current_weight == Decimal("0.05")
    with pytest.raises(NotFound):
        predictions.adopt_weights("parents")


@pytest.mark.requirement("MARA-30", api="PredictionStore.update_agent_weights")
def test_own_rule_of_weighing(desk, predictions):
    agents, _ = predictions.update_agent_weights(
        "marv",
        SCORES,
        accurate_above=Decimal("0.7"),
        weigh=lambda agents: {a.agent_name: Decimal(a.accurate_predictions) for a in agents},
    )
    assert [a.recommended_weight for a in agents] == [0, 1, 0]


@pytest.mark.requirement("MARA-33", "MARA-12", api="AgentPerformance")
@pytest.mark.parametrize(
    ("accurate", "total", "rate"),
    [
        (14, 19, Decimal("0.7")),
        (2, 1, Decimal(1)),
        (0, 0, Decimal(0)),
        (1, 2, Decimal("NaN")),
    ],
)
def test_accuracy_rate_must_follow_from_the_counts(accurate, total, rate):
    with pytest.raises(InvalidValue, match="accuracy_rate"):
        AgentPerformance(
            record_id="r",
            user_id="marv",
            agent_name="a",
            total_predictions=total,
            accurate_predictions=accurate,
            accuracy_rate=rate,
        )


@pytest.mark.requirement("MARA-33", api="AgentPerformance")
def test_accuracy_rate_as_floats_divide_is_taken(desk, predictions):
    made = AgentPerformance(
        record_id="r",
        user_id="marv",
        agent_name="logit",
        total_predictions=19,
        accurate_predictions=14,
        accuracy_rate=Decimal("0.7368421052631579"),
    )
    predictions.insert([made])
    assert predictions.agent_stats("marv", "logit") == made


@pytest.mark.requirement("MARA-12", api="AgentPerformance")
def test_one_record_of_an_agent_with_a_user(desk, predictions):
    predictions.update_agent_weights("marv", SCORES)
    known = predictions.agent_stats("marv", "contrarian")
    with pytest.raises(Conflict):
        predictions.insert([known.replace(record_id="another")])
    # ids made of user and agent do not run into each other
    predictions.save_user("a/b", name="A", profile="growth", flow="growth")
    predictions.save_user("a", name="A", profile="growth", flow="growth")
    predictions.update_agent_weights("a/b", {"c": {"accuracy": 1}})
    predictions.update_agent_weights("a", {"b/c": {"accuracy": 1}})
    assert predictions.agent_stats("a", "b/c").total_predictions == 1


@pytest.mark.requirement("MARA-30", api="PredictionStore.update_agent_weights")
@pytest.mark.parametrize(
    "score", [{}, {"accuracy": 1.5}, {"accuracy": "0.5"}, 0.5, {"accuracy": None}]
)
def test_wrong_scores_are_named(desk, predictions, score):
    with pytest.raises(InvalidValue, match="'monetary_agent'"):
        predictions.update_agent_weights("marv", {"monetary_agent": score})
    assert predictions.agents("marv") == []
    with pytest.raises(InvalidReference):
        predictions.update_agent_weights("nobody", SCORES)


@pytest.mark.requirement("MARA-12", api="PredictionStore.update_agent_weights")
def test_recent_accuracy_is_of_six_months(desk, predictions):
    desk.predict(prediction_date=date(2024, 7, 1), prediction_id="old")
    desk.predict(prediction_id="new")
    told = [
        ("old", date(2024, 8, 1), 0.1),
        ("new", date(2025, 2, 1), 0.6),
        ("new", date(2025, 2, 2), 0.7),
    ]
    for prediction, end, accuracy in told:
        desk.judge(prediction, end_date=end, agent_attribution={"a": {"accuracy": accuracy}})
    score = {"a": {"accuracy": 0.7}}
    predictions.update_agent_weights("marv", score, as_of=date(2025, 2, 2))
    assert predictions.agent_stats("marv", "a").recent_accuracy == Decimal("0.65")
    predictions.update_agent_weights("marv", score, as_of=date(2025, 2, 1))
    assert predictions.agent_stats("marv", "a").recent_accuracy == Decimal("0.35")
    opinion = desk.opine("new", agent_name="a")
    predictions.save_evaluation(opinion.id, result_id="result_new", accuracy_score=Decimal("0.9"))
    predictions.update_agent_weights("marv", score, as_of=date(2025, 2, 2))
    assert predictions.agent_stats("marv", "a").recent_accuracy == Decimal("0.9")


@pytest.mark.requirement("MARA-30", api="by_accuracy")
def test_weights_add_up_whatever_the_callers_precision():
    agents = [
        AgentPerformance(
            record_id=name, user_id="marv", agent_name=name,
            total_predictions=total, accurate_predictions=accurate,
        )
        for name, accurate, total in (("uniform", 0, 20), ("momentum", 6, 20), ("logit", 14, 19))
    ]  # fmt: skip
    weights = by_accuracy(agents)
    with localcontext() as context:
        context.prec = 3
        assert by_accuracy(agents) == weights
    assert abs(sum(weights.values()) - 1) < Decimal("1e-20")
    assert weights["uniform"] < weights["momentum"] < weights["logit"]


@pytest.mark.requirement("MARA-30", api="PredictionStore.update_agent_weights")
def test_many_analysts_at_once_lose_nothing(desk, predictions):
    def analyse(number: int) -> None:
        predictions.update_agent_weights(
            "marv", {"a": {"accuracy": 1}, f"own {number % 4}": {"accuracy": 0}}
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(analyse, range(20)))
    counts = {a.agent_name: a.total_predictions for a in predictions.agents("marv")}
    assert counts == {"a": 20, "own 0": 5, "own 1": 5, "own 2": 5, "own 3": 5}
    assert predictions.agent_stats("marv", "a").accurate_predictions == 20
