"""Predictions that other programs wrote as files."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from quantkeep import Conflict, InvalidValue, NotFound
from quantkeep.columns import Kind
from quantkeep.errors import InvalidReference
from quantkeep.predictions import PerformanceResult, Prediction
from quantkeep_plugins.importers.portfolio_yaml import import_portfolio
from quantkeep_plugins.importers.predictions import import_predictions

PREDICTION = {
    "prediction_id": "marv_2025-01-17",
    "user_id": "marv",
    "flow": "growth",
    "prediction_date": "2025-01-17",
    "input_portfolio_id": "550e8400-e29b-41d4-a716-446655440001",
    "expected_return": 0.09,
    "own_field": [1, None],
    "created_at": "2025-01-17T09:00:00",
}
RESULT = {
    "result_id": "result_marv_2025-01-17",
    "prediction_id": "marv_2025-01-17",
    "user_id": "marv",
    "start_date": "2025-01-17",
    "end_date": "2025-02-17",
    "actual_return": 0.06,
    "return_error": 0.06 - 0.09,
    "analyzed_at": "2025-02-17T18:00:00+09:00",
}


@pytest.fixture
def folder(tmp_path):
    """Writes a source; rows are the two above, changed as a test wants."""

    def write(*predictions: dict[str, Any], results: list[dict[str, Any]] | None = None):
        for name, rows in (("predictions", predictions), ("performance_results", results or [])):
            lines = "".join(f"{json.dumps(row)}\n" for row in rows)
            (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        return tmp_path

    return write


@pytest.mark.requirement("Z-25", "X-2", "X-7", api="import_predictions")
def test_naive_stamps_get_the_zone_asked_for(keep, folder):
    source = folder(PREDICTION, results=[RESULT])
    done = import_predictions(source, keep, zone=timezone(timedelta(hours=9)))
    found = keep.predictions.prediction("marv_2025-01-17")
    assert found.envelope.created_at == datetime(2025, 1, 17, 0, 0, tzinfo=UTC)
    assert keep.predictions.result(found.prediction_id).analyzed_at == datetime(
        2025, 2, 17, 9, tzinfo=UTC
    )
    assert any("UTC+09:00" in note for note in done.notes)


@pytest.mark.requirement("MARA-6", api="import_predictions")
def test_what_has_no_field_is_kept_beside_them(keep, folder):
    import_predictions(folder(PREDICTION, results=[{**RESULT, "rps": 0.16}]), keep)
    found = keep.predictions.prediction("marv_2025-01-17")
    assert found.snapshot_data == {"own_field": [1, None]}
    assert found.expected_return == Decimal("0.09")
    result = keep.predictions.result("marv_2025-01-17")
    assert result.metadata == {"rps": 0.16}
    assert result.return_error == Decimal(repr(0.06 - 0.09))


@pytest.mark.requirement("Z-21", api="import_predictions")
def test_several_of_a_day_are_numbered_and_importing_again_adds_nothing(keep, folder):
    second = {**PREDICTION, "prediction_id": "other", "expected_return": 0.1}
    source = folder(PREDICTION, second)
    done = import_predictions(source, keep)
    assert [p.sequence for p in keep.predictions.prediction_history()] == [1, 2]
    assert done.added == 4  # with the user and the portfolio that only their ids speak of
    assert len(done.notes) == 3
    assert import_predictions(source, keep).added == 0


@pytest.mark.requirement("X-1", api="import_predictions")
def test_too_fine_a_number_is_refused_or_rounded_as_asked(keep, folder):
    source = folder(
        {**PREDICTION, "expected_return": -2.775557561562897e-20, "expected_sharpe": 3e-26}
    )
    said = r"Prediction\.expected_return: .* of 'marv_2025-01-17'; .* --finer round"
    with pytest.raises(InvalidValue, match=said):
        import_predictions(source, keep)
    assert keep.predictions.users() == []
    done = import_predictions(source, keep, finer="round")
    assert done.rounded == (
        ("marv_2025-01-17", "expected_return", -2.775557561562897e-20),
        ("marv_2025-01-17", "expected_sharpe", 3e-26),
    )
    found = keep.predictions.prediction("marv_2025-01-17")
    assert found.expected_return == Decimal("-2.7756e-20")
    assert found.snapshot_data["unrounded"]["expected_return"] == -2.775557561562897e-20


@pytest.mark.requirement("MARA-33", "MARA-34", api="import_predictions")
@pytest.mark.parametrize(
    ("prediction", "result", "said"),
    [
        ({"prediction_date": "17.1.2025"}, {}, "Prediction.prediction_date"),
        ({"expected_return": "nine percent"}, {}, "Prediction.expected_return"),
        ({"created_at": "yesterday"}, {}, "Prediction.created_at"),
        ({"market_regime": "bullish"}, {}, "Prediction.market_regime.* of 'marv_2025-01-17'"),
        ({"expected_return": 1e300}, {}, "Prediction.expected_return.* of 'marv_2025-01-17'"),
        ({"expected_return": "1E+5000"}, {}, "Prediction.expected_return"),
        ({"expected_return": float("nan")}, {}, "Prediction.expected_return"),
        ({"target_allocation": {"SPY": "half"}}, {}, "SPY.* of 'marv_2025-01-17'"),
        ({}, {"return_error": 0.03}, "return_error"),
        ({}, {"start_date": "2025-01-18"}, "start_date"),
        ({}, {"prediction_accuracy": 1.1}, "PerformanceResult.prediction_accuracy"),
    ],
)
def test_nothing_is_imported_by_half(keep, folder, prediction, result, said):
    source = folder({**PREDICTION, **prediction}, results=[{**RESULT, **result}])
    with pytest.raises(InvalidValue, match=said):
        import_predictions(source, keep)
    assert sum(keep.sizes().get(k.collection.name, 0) for k in keep.predictions.records) == 0


@pytest.mark.requirement("MARA-34", api="import_predictions")
def test_sources_that_cannot_be_read(keep, folder, tmp_path):
    with pytest.raises(NotFound, match=r"predictions\.jsonl"):
        import_predictions(tmp_path / "nothing", keep)
    source = folder(PREDICTION)
    (source / "predictions.jsonl").write_text("{}\n")
    with pytest.raises(InvalidValue, match="prediction_id"):
        import_predictions(source, keep)
    (source / "predictions.jsonl").write_text('{"prediction_id": \n')
    with pytest.raises(InvalidValue, match=r"predictions\.jsonl:1"):
        import_predictions(source, keep)
    source = folder(PREDICTION, results=[{**RESULT, "prediction_id": "nothing"}])
    with pytest.raises(InvalidReference, match="nothing"):
        import_predictions(source, keep)
    source = folder(PREDICTION)
    (source / "agent_performance.json").write_text('[{"agent_name": "x"}]')
    with pytest.raises(InvalidValue, match="user_id"):
        import_predictions(source, keep)


@pytest.mark.requirement("Z-21", api="import_predictions")
def test_other_content_under_a_known_id_is_a_conflict(keep, folder):
    import_predictions(folder(PREDICTION), keep)
    with pytest.raises(Conflict, match="marv_2025-01-17"):
        import_predictions(folder({**PREDICTION, "expected_return": 0.1}), keep)


# -- recorded predictions of the M6 competition ---


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def agrees(record, column, said, beside):
    """Whether a field is what the source said: exactly, or rounded with the source's own beside."""
    found = getattr(record, column.name)
    if said is None:
        return found is None
    if column.kind is Kind.DATE:
        return found == date.fromisoformat(said)
    if column.kind is Kind.TIMESTAMP:
        return found == datetime.fromisoformat(said)
    if column.kind is Kind.DECIMAL and column.name in beside:
        return repr(beside[column.name]) == repr(said) and abs(found - Decimal(said)) < Decimal(
            "1e-24"
        )
    if column.kind is Kind.DECIMAL:
        return found == Decimal(repr(said)) and float(found) == said
    return found == said and type(found) is type(said)


@pytest.mark.requirement("MARA-6", "MARA-9", "MARA-21", "X-1", api="import_predictions")
def test_m6_value_by_value(keep, real_data):
    source = real_data / "predictions" / "m6"
    done = import_predictions(source, keep, finer="round")
    store = keep.predictions
    assert dict(done.read) == {
        "predictions": 65,
        "performance_results": 59,
        "agent_performance": 3,
    }
    kinds = {
        "predictions.jsonl": (Prediction, "prediction_id", "snapshot_data"),
        "performance_results.jsonl": (PerformanceResult, "result_id", "metadata"),
    }
    for file, (kind, key, beside) in kinds.items():
        table = store.table(kind)
        rows = lines(source / file)
        assert table.count() == len(rows)
        for row in rows:
            record = table.get(row[key])
            kept = dict(getattr(record, beside) or {})
            unrounded = kept.pop("unrounded", {})
            for name, said in row.items():
                if name in table.collection.places:
                    column = table.collection.column(name)
                    assert agrees(record, column, said, unrounded), (row[key], name)
                elif name == "created_at":  # in America/New_York
                    assert record.envelope.created_at == datetime.fromisoformat(said)
                else:
                    assert kept.pop(name) == said, (row[key], name)
            assert kept == {}
    assert len(done.rounded) == 44  # sums of floats that are zero but for noise
    assert all(abs(value) < 1e-17 for _, _, value in done.rounded)
    assert import_predictions(source, keep, finer="round").added == 0


@pytest.mark.requirement("MARA-21", "MARA-24", "MARA-33", "X-1", api="PredictionStore")
def test_m6_answers(keep, real_data):
    source = real_data / "predictions" / "m6"
    with pytest.raises(InvalidValue, match=r"expected_return.*e-20.* --finer round"):
        import_predictions(source, keep)
    import_predictions(source, keep, finer="round")
    store = keep.predictions
    pending = [p.prediction_id for p in store.pending()]
    judged = {row["prediction_id"] for row in lines(source / "performance_results.jsonl")}
    every = [row["prediction_id"] for row in lines(source / "predictions.jsonl")]
    assert sorted(pending) == sorted(set(every) - judged)
    assert len(pending) == 6
    assert len(store.pending("logit", older_than=14, as_of=date(2023, 2, 15))) == 1
    # the widest Sharpe ratio of the source would not fit MARA's DECIMAL(5,4)
    assert max(r.actual_sharpe for r in store.table(PerformanceResult).list()) > 10
    # the agents' records follow from the results, by the rule that an agent must beat a coin
    for row in json.loads((source / "agent_performance.json").read_text()):
        agent = store.agent_stats(row["agent_name"], row["agent_name"])
        results = [
            r
            for p in store.prediction_history(agent.user_id)
            for r in store.results(p.prediction_id)
        ]
        right = [r for r in results if r.prediction_accuracy > Decimal("0.5")]
        assert (agent.total_predictions, agent.accurate_predictions) == (len(results), len(right))
        assert float(agent.accuracy_rate) == row["accuracy_rate"]
    # calibration by the engine, against the source's own floats
    by_user = {c.group[0]: c for c in store.calibration(by=("user",))}
    for user, figures in by_user.items():
        errors = [
            r["return_error"] for r in lines(source / "performance_results.jsonl")
            if r["user_id"] == user
        ]  # fmt: skip
        assert figures.count == len(errors)
        assert float(figures.error) == pytest.approx(sum(errors) / len(errors), abs=1e-15)
    assert {c.group[0] for c in store.calibration(by=("regime",))} == {"bull", "bear", "sideways"}


# -- a portfolio as YAML ---

YAML = """\
holdings:
  SPY: {shares: 100, value: 45000000, cost_basis: 40000000}
  QQQ: {shares: 50, value: 22000000}
  cash: {value: 33000000}
"""


@pytest.fixture
def marv(keep):
    keep.predictions.save_user("marv", name="Marv", profile="growth", flow="growth")
    return keep


@pytest.mark.requirement("Z-23", "MARA-32", api="import_portfolio")
def test_yaml_portfolio(marv, tmp_path):
    file = tmp_path / "marv_current_portfolio.yaml"
    file.write_text(YAML)
    saved = import_portfolio(file, marv, snapshot_date=date(2025, 1, 17))
    assert saved.id == "marv_2025-01-17_current"
    assert saved.record.allocation == {"SPY": 0.45, "QQQ": 0.22, "cash": 0.33}
    assert import_portfolio(file, marv, snapshot_date=date(2025, 1, 17)).receipt.added == 0
    file.write_text(YAML + "snapshot_date: 2025-02-17\nuser_id: marv\ntotal_value: 100000000.0\n")
    dated = import_portfolio(file, marv)
    assert dated.record.snapshot_date == date(2025, 2, 17)


@pytest.mark.requirement("Z-23", api="import_portfolio")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (YAML, "snapshot_date"),
        ("- 1\n", "list"),
        ("holdings: [\n", "no YAML"),
        ("!!python/object/apply:os.system ['false']\n", "no YAML"),
        (YAML + "snapshot_date: 2025-02-17\nholding: 1\n", "holding"),
        ("snapshot_date: 2025-02-17\nholdings: {SPY: {shares: 1}}\n", "value"),
    ],
)
def test_yaml_that_is_no_portfolio(marv, tmp_path, text, said):
    file = tmp_path / "marv_current_portfolio.yaml"
    file.write_text(text)
    with pytest.raises(InvalidValue, match=said):
        import_portfolio(file, marv)
    with pytest.raises(NotFound, match="nowhere"):
        import_portfolio(tmp_path / "nowhere.yaml", marv)
