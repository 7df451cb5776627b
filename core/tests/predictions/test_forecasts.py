"""Predictions: every field, derived flow, ids of second runs, reports attached after the fact."""

from datetime import date, datetime
from decimal import Decimal

import pytest

from quantkeep import Conflict, InvalidValue, NotFound, Record, field, record
from quantkeep.errors import AlreadyExists, InvalidReference
from quantkeep.predictions import Prediction

DAY = date(2025, 1, 17)


@pytest.mark.requirement("MARA-6", "MARA-8", "MARA-18", "MARA-19", "MARA-U4", api="Prediction")
def test_prediction_comes_back_with_every_field(desk, predictions):
    said = {
        "flow": "growth",
        "market_regime": "bull",
        "macro_insights": {
            "sector_outlook": {"technology": 0.12, "healthcare": 0.08},
            "themes": ["ai_infrastructure"],
        },
        "recommended_strategy": "Balanced Growth",
        "target_allocation": {"cash": 0.15, "XLK": 0.85},
        "rebalancing_method": "cash_flow_based",
        "rebalancing_actions": [{"action": "buy", "ticker": "XLK", "amount": 5000000}],
        "report_markdown": "# 예측\r\n| a |\n",
        "report_path": "outputs/reports/2025-01-17_growth_report.md",
        "flow_execution_id": "run-4711",
        "snapshot_data": {"seen": [1, 2.5, None, float("inf")]},
    }
    metrics = {
        "expected_return": Decimal("0.09"),
        "expected_volatility": Decimal("0.18"),
        "expected_sharpe": Decimal("0.50"),
        "expected_max_dd": Decimal("-0.25"),
    }
    saved = desk.predict(**said, expected_metrics=metrics)
    found = predictions.prediction("marv_2025-01-17")
    for name, value in {**said, **metrics}.items():
        assert getattr(found, name) == value, name
        assert type(getattr(found, name)) is type(value), name
    assert (found.user_id, found.prediction_date) == ("marv", DAY)
    assert found.input_portfolio_id == "marv_2025-01-17_current"
    assert saved.record == found
    assert predictions.prediction("nothing") is None


@pytest.mark.requirement("MARA-26", api="PredictionStore.save_prediction")
def test_metrics_come_as_one_bundle(desk):
    bundle = {"return": Decimal("0.09"), "sharpe": Decimal(1), "expected_max_dd": Decimal("-0.1")}
    made = desk.predict(expected_metrics=bundle).record
    assert (made.expected_return, made.expected_sharpe) == (Decimal("0.09"), Decimal(1))
    assert (made.expected_max_dd, made.expected_volatility) == (Decimal("-0.1"), None)
    for wrong in ({"retrun": Decimal(1)}, {"return": Decimal(1), "expected_return": Decimal(2)}):
        with pytest.raises(InvalidValue, match="expected_metrics"):
            desk.predict(expected_metrics=wrong)


@pytest.mark.requirement("X-1", "MARA-6", api="Prediction")
def test_ratios_are_exact_and_wide(desk, predictions):
    sharpe = Decimal("20.028903008981413164")
    desk.predict(prediction_id="p", expected_metrics={"sharpe": sharpe, "return": Decimal(-12)})
    assert predictions.prediction("p").expected_sharpe == sharpe
    for wrong in (Decimal("1e-25"), Decimal("1e14"), Decimal("NaN"), 0.09, "0.09"):
        with pytest.raises(InvalidValue, match=r"Prediction\.expected_return"):
            desk.predict(prediction_id="q", expected_metrics={"return": wrong})


@pytest.mark.requirement("Z-24", api="Prediction")
def test_signs_are_held_to(desk):
    for name, wrong in (("max_dd", Decimal("0.25")), ("volatility", Decimal("-0.18"))):
        with pytest.raises(InvalidValue, match=f"expected_{name}"):
            desk.predict(expected_metrics={name: wrong})


@pytest.mark.requirement("Z-24", api="Prediction")
def test_every_figure_says_its_unit_and_sign():
    for name in ("return", "volatility", "sharpe", "max_dd"):
        assert Prediction.collection.column(f"expected_{name}").doc


@pytest.mark.requirement("MARA-8", api="Prediction")
@pytest.mark.parametrize(
    ("name", "wrong", "place"),
    [
        ("rebalancing_actions", {"action": "buy"}, "rebalancing_actions"),
        ("rebalancing_actions", [{"action": "buy"}], "rebalancing_actions[0]"),
        ("macro_insights", ["bull"], "macro_insights"),
        ("target_allocation", {"XLK": None}, "target_allocation['XLK']"),
        ("snapshot_data", "text", "snapshot_data"),
        ("snapshot_data", {"at": datetime(2025, 1, 1)}, "snapshot_data.at"),  # noqa: DTZ001
        ("market_regime", "bullish", "market_regime"),
        ("prediction_date", "2025-01-17", "prediction_date"),
        ("recommended_strategy", "a\0b", "recommended_strategy"),
    ],
)
def test_wrong_values_are_named(desk, predictions, name, wrong, place):
    with pytest.raises(InvalidValue) as raised:
        desk.predict(**{name: wrong})
    assert (raised.value.record, raised.value.field) == ("Prediction", place)
    assert predictions.prediction_history() == []


@pytest.mark.requirement("Z-20", api="PredictionStore.save_prediction")
def test_flow_is_the_users(desk):
    assert desk.predict().record.flow == "growth"
    assert desk.predict(flow="overlay").record.flow == "overlay"


@pytest.mark.requirement("Z-21", api="PredictionStore.save_prediction")
def test_second_run_of_a_day_and_second_flow_are_numbered(desk, predictions):
    first = desk.predict()
    second = desk.predict(recommended_strategy="Other")
    overlay = desk.predict(flow="overlay")
    assert [first.id, second.id, overlay.id] == [
        "marv_2025-01-17",
        "marv_2025-01-17_2",
        "marv_2025-01-17_3",
    ]
    assert predictions.prediction(second.id).recommended_strategy == "Other"
    assert desk.predict(recommended_strategy="Other").id == second.id
    assert len(predictions.prediction_history("marv")) == 3


@pytest.mark.requirement("Z-21", api="Prediction")
def test_user_day_flow_and_sequence_are_unique(desk, predictions):
    first = desk.predict().record
    with pytest.raises(Conflict):
        predictions.insert([first.replace(prediction_id="another id")])
    predictions.insert([first.replace(prediction_id="another id", flow="overlay")])


@pytest.mark.requirement("Z-21", api="PredictionStore.save_prediction")
def test_same_id_with_other_content_is_a_conflict(desk, predictions):
    desk.predict(prediction_id="mine")
    assert desk.predict(prediction_id="mine").receipt.added == 0
    with pytest.raises(AlreadyExists, match="mine"):
        desk.predict(prediction_id="mine", recommended_strategy="Other")
    assert predictions.prediction("mine").recommended_strategy == "Balanced Growth"


@pytest.mark.requirement("MARA-34", api="PredictionStore.save_prediction")
def test_references_are_enforced(desk, predictions):
    for wrong in ({"user_id": "nobody"}, {"input_portfolio_id": "nothing"}):
        with pytest.raises(InvalidReference):
            desk.predict(**wrong)
    with pytest.raises(InvalidReference, match="not of 'parents'"):
        desk.predict(user_id="parents")
    assert predictions.prediction_history() == []


@pytest.mark.requirement("MARA-27", api="PredictionStore.attach_report")
def test_report_is_attached_after_the_fact(desk, predictions):
    saved = desk.predict()
    before = predictions.prediction(saved.id)
    done = predictions.attach_report(saved.id, markdown="# 보고서\r\n", path="out.md")
    after = predictions.prediction(saved.id)
    assert (after.report_markdown, after.report_path) == ("# 보고서\r\n", "out.md")
    assert after.envelope.created_at == before.envelope.created_at
    assert after.revision == done.receipt.revision > before.revision
    assert after.replace(report_markdown=None, report_path=None) == before
    again = predictions.attach_report(saved.id, markdown="# 보고서\r\n", path="out.md")
    assert again.receipt.revision == after.revision


@pytest.mark.requirement("MARA-27", api="PredictionStore.attach_report")
def test_report_of_nothing_and_of_an_outdated_prediction(desk, predictions):
    with pytest.raises(NotFound, match="nothing"):
        predictions.attach_report("nothing", markdown="x")
    saved = desk.predict()
    seen = saved.receipt.revision
    predictions.attach_report(saved.id, markdown="first", expect=seen)
    with pytest.raises(Conflict):
        predictions.attach_report(saved.id, markdown="second", expect=seen)
    assert predictions.prediction(saved.id).report_markdown == "first"


@pytest.mark.requirement("MARA-27", "Z-21", api="PredictionStore.save_prediction")
def test_saving_again_after_the_report_adds_nothing_and_keeps_it(desk, predictions):
    saved = desk.predict()
    predictions.attach_report(saved.id, markdown="report")
    assert desk.predict().id == saved.id
    assert predictions.prediction(saved.id).report_markdown == "report"


@pytest.mark.requirement("MARA-20", "MARA-28", api="PredictionStore.latest_prediction")
def test_latest_is_by_day_even_after_an_old_report(desk, predictions):
    for month in (3, 2):
        desk.predict(prediction_date=date(2025, month, 17))
    old = desk.predict().id
    predictions.attach_report(old, markdown="late")
    assert predictions.latest_prediction("marv").prediction_date == date(2025, 3, 17)
    assert predictions.latest_prediction("marv", flow="overlay") is None
    assert predictions.latest_prediction("parents") is None


@pytest.mark.requirement("MARA-31", "MARA-7", "Z-38", api="PredictionStore.recent_predictions")
def test_recent_are_the_newest_oldest_first(desk, predictions):
    for month in (5, 3, 2, 4):
        desk.predict(prediction_date=date(2025, month, 1))
    assert [p.prediction_date.month for p in predictions.recent_predictions("marv")] == [3, 4, 5]
    between = predictions.prediction_history(
        "marv", since=date(2025, 3, 1), until=date(2025, 4, 1), limit=1
    )
    assert [p.prediction_date.month for p in between] == [4]


@pytest.mark.requirement("MARA-34", api="PredictionStore.delete_portfolio")
def test_what_is_in_use_cannot_be_deleted(desk, predictions):
    saved = desk.predict()
    for delete in (
        lambda: predictions.delete_user("marv"),
        lambda: predictions.delete_portfolio("marv_2025-01-17_current"),
    ):
        with pytest.raises(Conflict):
            delete()
    predictions.delete_prediction(saved.id)
    predictions.delete_portfolio("marv_2025-01-17_current")
    predictions.delete_user("marv")
    assert predictions.user("marv") is None
    with pytest.raises(NotFound):
        predictions.delete_user("marv")


@record()
class Conviction(Prediction):
    """A prediction with a field of a user's own."""

    conviction: float | None = field(default=None, index=True)


@pytest.mark.requirement("Z-3", "MARA-U4", api="PredictionStore.save_prediction")
def test_records_can_be_extended(url, desk):
    import quantkeep

    with quantkeep.open(url, records=[Conviction]) as keep:
        own = type(desk)(keep.predictions).open()
        own.predict(extra={"conviction": 0.7})
        found = keep.predictions.latest_prediction("marv")
        assert isinstance(found, Conviction)
        assert found.conviction == 0.7
        with pytest.raises(InvalidValue, match=r"Conviction\.convction"):
            own.predict(extra={"convction": 0.7})


def test_records_are_of_this_store(predictions):
    assert all(issubclass(kind, Record) for kind in predictions.records)
    assert len(predictions.records) == 9
