"""The store as files, and back: names, texts, exact numbers, every record."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

import quantkeep
from quantkeep.errors import AlreadyExists, Corrupt, InvalidValue
from quantkeep.predictions import AgentPersona, read_files, write_files

REPORT = "# 보고서\r\n\n| ticker | weight |\n"


@pytest.fixture
def full(desk, predictions):
    """A store with records of every kind."""
    metrics = {"return": Decimal("0.028903008981413164"), "max_dd": Decimal("-0.25")}
    desk.predict(
        expected_metrics=metrics,
        macro_insights={"outlook": {"기술": 0.1}, "nan": float("nan"), "big": 1e22, "n": 5},
        snapshot_data={"exact": Decimal("0.10"), "at": datetime(2025, 1, 17, tzinfo=UTC)},
    )
    predictions.attach_report("marv_2025-01-17", markdown=REPORT, path="x.md")
    desk.predict(flow="overlay")
    opinion = desk.opine(confidence_score=Decimal("0.5"))
    predictions.save_persona(AgentPersona(persona_id="p", persona_name="hawk"))
    log = predictions.start_execution(
        user_id="marv", flow="growth", execution_date=datetime(2025, 1, 17, 9, tzinfo=UTC)
    )
    predictions.update_execution(
        log.id, status="failed", layers_completed=["data"], error_message="no rates"
    )
    predictions.retrospect(
        "marv_2025-01-17",
        end_date=date(2025, 2, 17),
        actual_return=Decimal("0.06"),
        evaluations={opinion.id: {"accuracy_score": Decimal("0.75")}},
        agent_scores={"monetary_agent": {"accuracy": 0.75}},
    )
    return predictions


def everything(store):
    """Each record's content, digest and stamps."""
    return {
        kind: [
            (r.envelope.digest, r.envelope.created_at, r.envelope.updated_at)
            for r in store.table(kind).list()
        ]
        for kind in store.records
    }


@pytest.mark.requirement("MARA-36", "Z-23", api="write_files")
def test_files_have_the_names_of_the_design(full, tmp_path):
    written = write_files(full, tmp_path / "out")
    names = {str(path.relative_to(tmp_path / "out")) for path in written}
    assert names >= {
        "data/portfolios/marv_2025-01-17_current.json",
        "data/predictions/marv_2025-01-17_prediction.json",
        "data/users/marv.json",
        "outputs/reports/2025-01-17_marv_growth_report.md",
        "outputs/portfolios/2025-01-17_marv_growth_recommendation.json",
        "outputs/logs/2025-01-17_marv_growth_execution.log",
    }
    assert len(names) == len(written)
    report = tmp_path / "out/outputs/reports/2025-01-17_marv_growth_report.md"
    assert report.read_bytes() == REPORT.encode()
    log = (tmp_path / "out/outputs/logs/2025-01-17_marv_growth_execution.log").read_text()
    assert log.splitlines()[1:] == ["layer completed: data", "error: no rates"]
    assert "growth for marv: failed" in log


@pytest.mark.requirement("MARA-36", "X-1", api="write_files")
def test_files_are_plain_json_with_every_digit(full, tmp_path):
    write_files(full, tmp_path)
    text = (tmp_path / "data/predictions/marv_2025-01-17_prediction.json").read_text()
    assert '"expected_return": 0.028903008981413164,' in text
    said = json.loads(text)
    assert said["prediction_id"] == "marv_2025-01-17"
    assert said["expected_max_dd"] == -0.25
    assert said["macro_insights"]["outlook"] == {"기술": 0.1}
    advice = json.loads(
        (tmp_path / "outputs/portfolios/2025-01-17_marv_growth_recommendation.json").read_text()
    )
    assert advice["recommended_strategy"] == "Balanced Growth"
    assert advice["target_allocation"]["XLK"] == 0.3
    assert "report_markdown" not in advice


@pytest.mark.requirement("MARA-36", "MARA-35", "X-7", api="read_files")
@pytest.mark.parametrize("target", ["memory", "sqlite"])
def test_everything_comes_back_on_any_backend(full, tmp_path, target):
    write_files(full, tmp_path / "out")
    other = "memory://" if target == "memory" else f"sqlite:///{tmp_path}/copy.db"
    with quantkeep.open(other) as keep:
        done = read_files(keep.predictions, tmp_path / "out")
        assert everything(keep.predictions) == everything(full)
        assert all(everything(full).values())
        assert done.added == sum(map(len, everything(full).values()))
        again = read_files(keep.predictions, tmp_path / "out")
        assert (again.added, again.already) == (0, done.added)
    assert read_files(full, tmp_path / "out").added == 0


@pytest.mark.requirement("MARA-36", api="read_files")
def test_changed_files_are_never_taken_silently(full, tmp_path):
    write_files(full, tmp_path)
    file = tmp_path / "data/performance_results/result_marv_2025-01-17.json"
    good = file.read_text()
    file.write_text(good.replace('"actual_return": 0.06', '"actual_return": 0.07'))
    with pytest.raises(InvalidValue, match="return_error"):
        read_files(full, tmp_path)
    changed = good.replace('"metadata": null', '"metadata": {"a": 1}')
    file.write_text(changed)
    with pytest.raises(AlreadyExists):
        read_files(full, tmp_path)
    for damaged in (good[:100], "[]", good.replace("2025-02-17", "2025-02-31")):
        file.write_text(damaged)
        with pytest.raises(Corrupt, match="result_marv"):
            read_files(full, tmp_path)
    file.write_text(good)
    (tmp_path / "outputs/reports/2025-01-17_marv_growth_report.md").unlink()
    with pytest.raises(Corrupt, match="report"):
        read_files(full, tmp_path)


@pytest.mark.requirement("MARA-36", api="read_files")
def test_a_report_outside_the_folder_is_not_read(full, tmp_path):
    write_files(full, tmp_path / "out")
    (tmp_path / "secret.md").write_text("secret")
    file = tmp_path / "out/data/predictions/marv_2025-01-17_prediction.json"
    said = json.loads(file.read_text()) | {"report_file": "../secret.md"}
    file.write_text(json.dumps(said))
    with pytest.raises(Corrupt, match="secret"):
        read_files(full, tmp_path / "out")


@pytest.mark.requirement("MARA-36", "Z-23", api="write_files")
def test_any_id_makes_a_file_of_its_own(desk, predictions, tmp_path):
    ids = ["../../etc/passwd", ".hidden", "a/b", "a%2Fb", "x" * 400, "x" * 401, "예측", "con?"]
    for number, name in enumerate(ids):
        desk.predict(prediction_id=name, flow=f"flow {number}")
        predictions.attach_report(name, markdown=name)
    written = write_files(predictions, tmp_path / "out")
    assert len({*written}) == len(written)
    assert all(path.resolve().is_relative_to(tmp_path / "out") for path in written)
    with quantkeep.open("memory://") as keep:
        read_files(keep.predictions, tmp_path / "out")
        for name in ids:
            assert keep.predictions.prediction(name).report_markdown == name


@pytest.mark.requirement("Z-23", api="write_files")
def test_names_that_read_alike_are_told_apart(desk, predictions, tmp_path):
    for user, flow in (("a_b", "c"), ("a", "b_c")):
        predictions.save_user(user, name=user, profile="growth", flow=flow)
        held = desk.snapshot(user_id=user).id
        made = desk.predict(user_id=user, input_portfolio_id=held).id
        predictions.attach_report(made, markdown=f"for {user}")
    reports = [p for p in write_files(predictions, tmp_path) if p.suffix == ".md"]
    assert {p.name for p in reports} == {
        "2025-01-17_a_b_c_report.md",
        "2025-01-17_a_b_c_report_2.md",
    }
    assert {p.read_text() for p in reports} == {"for a", "for a_b"}


@pytest.mark.requirement("MARA-36", api="write_files")
def test_files_of_one_user(full, tmp_path):
    full.save_portfolio(
        user_id="parents", snapshot_date=date(2025, 1, 17), holdings={"cash": {"value": 1}}
    )
    names = [path.name for path in write_files(full, tmp_path, user_id="parents")]
    assert names == ["parents.json", "parents_2025-01-17_current.json", "p.json"]
