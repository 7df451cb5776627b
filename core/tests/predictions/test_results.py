"""Results: derived fields, several per prediction, what is still pending."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from quantkeep import Conflict, InvalidValue
from quantkeep.errors import InvalidReference
from quantkeep.predictions import PerformanceResult

DAY = date(2025, 1, 17)
END = date(2025, 2, 17)


@pytest.mark.requirement("MARA-9", "MARA-11", "MARA-22", "MARA-23", api="PerformanceResult")
def test_result_comes_back_with_every_field(desk, predictions):
    desk.predict()
    said = {
        "end_date": END,
        "actual_return": Decimal("0.06"),
        "actual_volatility": Decimal("0.20"),
        "actual_sharpe": Decimal("10.9"),
        "actual_max_dd": Decimal("-0.12"),
        "prediction_accuracy": Decimal("0.67"),
        "sector_performance": {"technology": 0.10, "healthcare": 0.11},
        "agent_attribution": {"monetary_agent": {"accuracy": 0.75, "impact": 0.02}},
        "metadata": {"rps": 0.16},
        "analyzed_at": datetime(2025, 2, 18, 9, 30, tzinfo=UTC),
    }
    saved = predictions.save_result("marv_2025-01-17", **said)
    found = predictions.result("marv_2025-01-17")
    assert found == saved.record
    for name, value in said.items():
        assert getattr(found, name) == value, name


@pytest.mark.requirement("MARA-29", "MARA-33", "Z-20", api="PredictionStore.save_result")
def test_the_rest_is_derived_from_the_prediction(desk, predictions):
    desk.predict()
    found = desk.judge(agent_attribution={"a": {"accuracy": 0.5, "impact": 0}}).record
    assert found.result_id == "result_marv_2025-01-17"
    assert (found.user_id, found.start_date) == ("marv", DAY)
    assert found.return_error == Decimal("-0.03")


@pytest.mark.requirement("MARA-33", api="PredictionStore.save_result")
def test_error_is_exact_where_floats_are_not(desk):
    expected = Decimal("0.1")
    desk.predict(expected_metrics={"return": expected})
    found = desk.judge(actual_return=Decimal("0.3")).record
    assert found.return_error == Decimal("0.2")
    unknown = desk.judge(actual_return=None).record
    assert unknown.return_error is None


@pytest.mark.requirement("MARA-33", api="PredictionStore.save_result")
@pytest.mark.parametrize(
    ("figures", "name"),
    [
        ({"prediction_accuracy": Decimal("1.01")}, "prediction_accuracy"),
        ({"prediction_accuracy": Decimal("-0.01")}, "prediction_accuracy"),
        ({"actual_return": Decimal("sNaN")}, "actual_return"),
        ({"actual_return": 0.06}, "actual_return"),
        ({"actual_max_dd": Decimal("0.12")}, "actual_max_dd"),
        ({"actual_volatility": Decimal(-1)}, "actual_volatility"),
        ({"end_date": date(2025, 1, 16)}, "end_date"),
        ({"agent_attribution": {"a": 0.5}}, "agent_attribution['a']"),
        ({"sector_performance": [1]}, "sector_performance"),
        ({"return_error": Decimal(1)}, "return_error"),
        ({"actual_retrun": Decimal(1)}, "actual_retrun"),
        ({"analyzed_at": datetime(2025, 2, 18)}, "analyzed_at"),  # noqa: DTZ001
    ],
)
def test_wrong_figures_are_named(desk, predictions, figures, name):
    desk.predict()
    with pytest.raises(InvalidValue) as raised:
        desk.judge(**figures)
    assert (raised.value.record, raised.value.field) == ("PerformanceResult", name)
    assert predictions.result("marv_2025-01-17") is None


@pytest.mark.requirement("MARA-33", api="PredictionStore.insert")
def test_a_result_from_elsewhere_must_fit_its_prediction(desk, predictions):
    prediction = desk.predict().record
    made = PerformanceResult(
        result_id="r",
        prediction_id=prediction.prediction_id,
        user_id="marv",
        start_date=DAY,
        end_date=END,
        actual_return=Decimal("0.06"),
        return_error=Decimal("-0.03000000000000001"),  # as floats subtract
    )
    for wrong in (
        made.replace(return_error=Decimal("0.03")),
        made.replace(return_error=None),
        made.replace(user_id="parents"),
        made.replace(start_date=date(2025, 1, 18)),
    ):
        with pytest.raises(InvalidValue, match="as its prediction"):
            predictions.insert([wrong])
    assert predictions.insert([made]).added == 1
    assert predictions.result(prediction.prediction_id).return_error == made.return_error


@pytest.mark.requirement("Z-22", "MARA-10", "MARA-23", api="PredictionStore.result")
def test_several_results_each_idempotent_latest_by_revision(desk, predictions):
    prediction = desk.predict().id
    first = desk.judge()
    second = desk.judge(actual_return=Decimal("0.07"))
    assert (first.id, second.id) == (f"result_{prediction}", f"result_{prediction}_r2")
    assert predictions.result(prediction).result_id == second.id
    for known in (first, second):
        again = desk.judge(actual_return=known.record.actual_return)
        assert (again.id, again.receipt.added) == (known.id, 0)
    assert [r.result_id for r in predictions.results(prediction)] == [first.id, second.id]
    assert predictions.result(prediction).result_id == second.id


@pytest.mark.requirement("Z-22", api="PredictionStore.save_result")
def test_result_of_own_id(desk, predictions):
    desk.predict()
    assert desk.judge(result_id="zeta").id == "zeta"
    assert desk.judge(result_id="mine").id == "mine"
    assert predictions.result("marv_2025-01-17").result_id == "mine"  # the last, not the greatest
    assert desk.judge(result_id="mine").receipt.added == 0
    with pytest.raises(Conflict, match="mine"):
        desk.judge(result_id="mine", actual_return=Decimal("0.07"))


@pytest.mark.requirement("Z-22", api="PredictionStore.save_result")
def test_default_ids_of_different_predictions_never_meet(desk, predictions):
    """The second result of one prediction and the first of another that is named like it."""
    desk.predict(prediction_id="p")
    desk.predict(prediction_id="p_r2", recommended_strategy="Other")
    results = [desk.judge("p"), desk.judge("p", actual_return=Decimal(0)), desk.judge("p_r2")]
    assert len({r.id for r in results}) == 3
    assert [r.record.prediction_id for r in results] == ["p", "p", "p_r2"]


@pytest.mark.requirement("MARA-34", api="PredictionStore.save_result")
def test_prediction_must_exist_and_stays(desk, predictions):
    with pytest.raises(InvalidReference, match="nothing"):
        desk.judge("nothing")
    desk.predict()
    desk.judge()
    with pytest.raises(Conflict):
        predictions.delete_prediction("marv_2025-01-17")


@pytest.mark.requirement("MARA-21", api="PredictionStore.pending")
def test_pending_are_exactly_those_without_a_result(desk, predictions):
    ids = [desk.predict(prediction_date=DAY + timedelta(days=n)).id for n in range(4)]
    assert [p.prediction_id for p in predictions.pending("marv")] == ids
    for judged in (ids[2], ids[0]):
        desk.judge(judged)
    assert [p.prediction_id for p in predictions.pending("marv")] == [ids[1], ids[3]]
    desk.judge(ids[1], actual_return=None, prediction_accuracy=None)  # delisted: no figures
    assert [p.prediction_id for p in predictions.pending()] == [ids[3]]
    assert predictions.pending("parents") == []


@pytest.mark.requirement("MARA-U4", "MARA-21", api="PredictionStore.pending")
def test_pending_older_than_takes_the_exact_age(desk, predictions):
    desk.predict()
    age = timedelta(days=30)
    assert predictions.pending(older_than=age, as_of=DAY + age - timedelta(days=1)) == []
    assert len(predictions.pending(older_than=age, as_of=DAY + age)) == 1
    assert len(predictions.pending(older_than=30, as_of=DAY + age)) == 1
    assert len(predictions.pending(older_than=30)) == 1  # by the store's clock
    assert predictions.pending(as_of=DAY - timedelta(days=1)) == []
    with pytest.raises(InvalidValue, match="whole days"):
        predictions.pending(older_than=timedelta(hours=36))
