"""``quantkeep import`` as it is typed: what it reads, what it reports, what it refuses."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import quantkeep
from quantkeep.cli import main
from quantkeep.knowledge import strategy_id

SPEC = {"n": 1}
RUN = "11111111-1111-4111-8111-111111111111"
RUN_JSON = {
    "run_id": RUN,
    "project_version": "1",
    "engine_version": "2",
    "config": {"cash": 1},
    "status": "DONE",
}
PREDICTION = {
    "prediction_id": "marv_2025-01-17",
    "user_id": "marv",
    "flow": "growth",
    "prediction_date": "2025-01-17",
    "input_portfolio_id": "550e8400-e29b-41d4-a716-446655440001",
    "expected_return": 1e-30,
    "created_at": "2025-01-17T09:00:00",
}
STUDY = """
CREATE TABLE studies (study_id, study_name);
CREATE TABLE study_directions (direction, study_id, objective);
CREATE TABLE study_user_attributes (study_id, key, value_json);
CREATE TABLE study_system_attributes (study_id, key, value_json);
CREATE TABLE version_info (library_version);
CREATE TABLE trials (trial_id, number, study_id, state, datetime_start, datetime_complete);
CREATE TABLE trial_params (trial_id, param_name, param_value, distribution_json);
CREATE TABLE trial_values (trial_id, objective, value, value_type);
CREATE TABLE trial_intermediate_values
    (trial_id, step, intermediate_value, intermediate_value_type);
CREATE TABLE trial_user_attributes (trial_id, key, value_json);
CREATE TABLE trial_system_attributes (trial_id, key, value_json);
INSERT INTO studies VALUES (1, 'sma'), (2, 'ema');
INSERT INTO study_directions VALUES ('MAXIMIZE', 1, 0);
INSERT INTO version_info VALUES ('4.0.0');
INSERT INTO trials VALUES
    (1, 0, 1, 'COMPLETE', '2025-01-17 09:00:00.000000', '2025-01-17 09:00:01.000000');
INSERT INTO trial_params VALUES (1, 'n', 67.0, '{"name": "IntDistribution", "attributes": {}}');
INSERT INTO trial_values VALUES (1, 0, 1.5, 'FINITE');
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/keep.db"


@pytest.fixture
def imported(url: str, capsys):
    """Runs the command, and gives its report as JSON, or what it says."""

    def run(*said: object, fails: bool = False):
        code = main(["import", *map(str, said), "--to", url, "--format", "json"])
        out, err = capsys.readouterr()
        assert (code == 2) == fails, out + err
        return err if fails else json.loads(out)

    return run


def lines(path: Path, *rows: dict) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A run of which nothing came but a strategy."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(RUN_JSON))
    for name in ("iterations", "backtests", "scores", "failures", "constraint_sets", "provenance"):
        lines(folder / f"{name}.jsonl")
    strategy = {
        "strategy_id": strategy_id(SPEC),
        "normalized_spec": SPEC,
        "created_from": "hand",
        "spec_hash_version": "v1",
    }
    lines(folder / "strategies.jsonl", strategy)
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(STUDY)
    return path


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    folder = tmp_path / "predictions"
    folder.mkdir()
    lines(folder / "predictions.jsonl", PREDICTION)
    return folder


def counts(report: list[dict]) -> dict[str, int]:
    return {row["read"]: row["count"] for row in report}


def test_a_research_run(imported, chain, url):
    assert counts(imported("research-run", chain))["strategies"] == 1
    imported("research-run", chain)
    with quantkeep.open(url) as keep:
        assert [run.run_id.hex for run in keep.knowledge.runs()] == [RUN.replace("-", "")]
        assert keep.knowledge.strategy(strategy_id(SPEC)).normalized_spec == SPEC
    (chain / "scores.jsonl").unlink()
    assert "scores.jsonl" in imported("research-run", chain, fails=True)


def test_a_study_of_optuna(imported, study, url):
    assert "there are 2 studies" in imported("optuna-study", study, fails=True)
    said = (
        "optuna-study",
        study,
        "--study",
        "sma",
        "--objective",
        "sharpe",
        "--zone",
        "Asia/Seoul",
    )
    assert counts(imported(*said)) == {"trials": 1}
    imported(*said)
    with quantkeep.open(url) as keep:
        (backtest,) = keep.knowledge.backtests()
        metrics = keep.knowledge.metrics(backtest.backtest_id)
        assert metrics.details == {"sharpe": 1.5}
        assert backtest.envelope.created_at.isoformat() == "2025-01-17T00:00:00+00:00"
    said = imported("optuna-study", study, "--zone", "Nowhere", fails=True)
    assert "'Nowhere' is no time zone: expected such as UTC" in said


def test_predictions(imported, predicted, url):
    said = imported("predictions", predicted, fails=True)
    assert "Prediction.expected_return: cannot hold 1e-30 (float), of 'marv_2025-01-17'" in said
    report = imported("predictions", predicted, "--finer", "round", "--zone", "America/New_York")
    assert counts(report)["predictions"] == 1
    with quantkeep.open(url) as keep:
        (found,) = keep.predictions.table(quantkeep.predictions.Prediction).list()
        assert found.envelope.created_at.hour == 14
        assert found.snapshot_data == {"unrounded": {"expected_return": 1e-30}}


def test_a_portfolio(imported, tmp_path, url):
    path = tmp_path / "marv_current_portfolio.yaml"
    path.write_text("holdings:\n  SPY: {shares: 100, value: 45000}\n")
    assert "marv" in imported("portfolio", path, "--day", "2025-01-17", fails=True)
    with quantkeep.open(url) as keep:
        keep.predictions.save_user("marv", name="m", profile="p", flow="growth")
    assert counts(imported("portfolio", path, "--day", "2025-01-17")) == {"portfolios": 1}


def test_what_was_taken_is_said_below_the_table(study, url, capsys):
    assert main(["import", "optuna-study", str(study), "--study", "sma", "--to", url]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "1 time without a zone, taken as UTC" in said
