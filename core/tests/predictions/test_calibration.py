"""Predicted against actual, held against a reckoning over all records."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest

from quantkeep import Query
from quantkeep.errors import InvalidQuery

REGIMES = ("bull", "bear", None)


@pytest.fixture
def judged(desk):
    """Twelve predictions of two users over four months, some without figures to compare."""
    desk.snapshot(user_id="parents", portfolio_id="theirs")
    for number in range(12):
        user = ("marv", "parents")[number % 2]
        prediction = desk.predict(
            user_id=user,
            input_portfolio_id="marv_2025-01-17_current" if user == "marv" else "theirs",
            prediction_date=date(2025, 1 + number % 4, 1 + number),
            market_regime=REGIMES[number % 3],
            expected_metrics={"return": Decimal(number) / 100 if number != 5 else None},
        )
        desk.judge(
            prediction.id,
            end_date=date(2025, 6, 1),
            actual_return=None if number == 7 else Decimal(3) / 100,
            prediction_accuracy=Decimal(number) / 16,
        )
    return desk.store


def reckoned(store, by, keep=lambda prediction: True):
    """The same figures from every record, one by one."""
    groups = defaultdict(list)
    for prediction in store.prediction_history():
        result = store.result(prediction.prediction_id)
        if result.return_error is None or not keep(prediction):
            continue
        said = {
            "user": prediction.user_id,
            "regime": prediction.market_regime,
            "month": f"{prediction.prediction_date:%Y-%m}",
        }
        groups[tuple(said[name] for name in by)].append((prediction, result))
    return groups


@pytest.mark.parametrize(
    "by", [(), ("month",), ("regime",), ("user",), ("month", "regime"), ("regime", "user", "month")]
)
def test_agrees_with_every_record(judged, by):
    found = {c.group: c for c in judged.calibration(by=by)}
    groups = reckoned(judged, by)
    assert set(found) == set(groups)
    for group, members in groups.items():
        n = len(members)
        assert found[group].count == n
        for name, values in {
            "expected": [p.expected_return for p, _ in members],
            "actual": [r.actual_return for _, r in members],
            "error": [r.return_error for _, r in members],
            "absolute_error": [abs(r.return_error) for _, r in members],
            "accuracy": [r.prediction_accuracy for _, r in members],
        }.items():
            assert abs(getattr(found[group], name) - sum(values) / n) < Decimal("1e-25"), name


def test_of_one_user_and_some_days(judged):
    (found,) = judged.calibration("marv", since=date(2025, 1, 5), until=date(2025, 1, 9))
    ((_, members),) = reckoned(
        judged,
        (),
        lambda p: p.user_id == "marv" and date(2025, 1, 5) <= p.prediction_date <= date(2025, 1, 9),
    ).items()
    assert found.count == len(members) == 2
    assert judged.calibration("nobody") == []
    assert [c.group[0] for c in judged.calibration(by=["regime"])] == [None, "bear", "bull"]


@pytest.mark.requirement("MARA-U2", api="PredictionStore.calibration")
def test_by_agent(desk, predictions):
    expectations = {"bold": ["0.10", "0.20"], "shy": ["0.05", "0.01"]}
    for number, month in enumerate((1, 2)):
        prediction = desk.predict(prediction_date=date(2025, month, 20)).id
        result = desk.judge(prediction, end_date=date(2025, 3, 20)).id
        for agent, expected in expectations.items():
            opinion = desk.opine(
                prediction,
                agent_name=agent,
                layer="research" if agent == "shy" else "macro",
                market_regime="bull" if month == 1 else None,
                expected_return=Decimal(expected[number]),
            )
            predictions.save_evaluation(opinion.id, result_id=result, accuracy_score=Decimal("0.5"))
    bold, shy = predictions.calibration(by=("agent",))
    assert (bold.group, bold.count) == (("bold",), 2)
    assert (bold.expected, bold.actual) == (Decimal("0.15"), Decimal("0.06"))
    assert (bold.error, bold.absolute_error) == (Decimal("-0.09"), Decimal("0.09"))
    assert (shy.error, shy.absolute_error) == (Decimal("0.03"), Decimal("0.03"))
    assert shy.accuracy == Decimal("0.5")
    groups = [c.group for c in predictions.calibration(by=("month", "regime", "agent"))]
    assert groups == [
        ("2025-01", "bull", "bold"),
        ("2025-01", "bull", "shy"),
        ("2025-02", None, "bold"),
        ("2025-02", None, "shy"),
    ]
    assert [c.group for c in predictions.calibration(by=("layer",))] == [("macro",), ("research",)]


def test_no_record_is_loaded(judged, monkeypatch):
    """It is the engine that reckons: a tally for each regime, and no scan."""
    engine = judged.table(type(judged.prediction_history()[0])).backend.engine

    def refuse(*args: object) -> Query:
        raise AssertionError("calibration scanned records")

    monkeypatch.setattr(engine, "scan", refuse)
    assert judged.calibration(by=("month", "regime"))


def test_unknown_group_is_named(predictions):
    with pytest.raises(InvalidQuery, match="'weekday'"):
        predictions.calibration(by=("weekday",))
