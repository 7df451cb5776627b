"""A recorded Optuna study, imported, read back and compared value by value."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

import pytest

import quantkeep
from quantkeep import InvalidValue, NotFound
from quantkeep_plugins.importers.knowledge import import_optuna

OBJECTIVES = ("Sharpe Ratio", "Max. Drawdown [%]")


@pytest.fixture(params=["memory", "sqlite"])
def keep(request, tmp_path):
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/study.db"
    with quantkeep.open(url) as opened:
        yield opened


@pytest.fixture(scope="session")
def study(real_data):
    return real_data / "optuna" / "study.sqlite"


@pytest.fixture
def rows(study):
    def ask(query: str):
        with closing(sqlite3.connect(f"file:{study}?mode=ro", uri=True)) as source:
            return source.execute(query).fetchall()

    return ask


@pytest.mark.requirement("KB-5", "KB-6", "KB-7", "Z-60")
def test_every_trial_comes_back(keep, study, rows) -> None:
    done = import_optuna(study, keep, objectives=OBJECTIVES)
    knowledge = keep.knowledge
    assert done.read == {"trials": 120}
    found = {b.backtest_id: b for b in knowledge.backtests(run_id=done.run_id)}
    assert Counter(b.status for b in found.values()) == {
        "completed": 99,
        "failed": 11,
        "pruned": 10,
    }
    for trial_id, number, state, start, complete in rows(
        "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials"
    ):
        backtest = found[f"optuna:cross-open:{number}"]
        assert backtest.details == {"state": state, "complete": complete}
        assert backtest.envelope.created_at == datetime.fromisoformat(start).replace(tzinfo=UTC)
        params = knowledge.strategy(backtest.strategy_id).normalized_spec["params"]
        said = rows(f"SELECT param_name, param_value FROM trial_params WHERE trial_id={trial_id}")
        assert {**params, "side": 0.0} == dict(said)
        assert (params["side"], type(params["n1"])) == ("both", int)
        if state == "COMPLETE":
            _compare(knowledge.metrics(backtest.backtest_id), rows, trial_id)


def _compare(metrics, rows, trial_id) -> None:
    values = rows(f"SELECT value FROM trial_values WHERE trial_id={trial_id} ORDER BY objective")
    attributes = rows(
        f"SELECT key, value_json FROM trial_user_attributes WHERE trial_id={trial_id}"
    )
    said = {key: json.loads(text) for key, text in attributes}
    assert metrics.details == {**said, **dict(zip(OBJECTIVES, [v for (v,) in values], strict=True))}
    assert metrics.sharpe_net == values[0][0]
    assert metrics.max_drawdown_net == -values[1][0] / 100


@pytest.mark.requirement("KB-9", "KB-17", "KB-37")
def test_trials_that_failed_are_failures_and_the_best_is_found(keep, study, rows) -> None:
    done = import_optuna(study, keep, objectives=OBJECTIVES)
    (failed,) = keep.knowledge.repeat_failures(by="category", run_id=done.run_id)
    assert (failed.label, failed.count) == ("TRIAL_FAILED", 11)
    best = rows("SELECT max(value) FROM trial_values WHERE objective = 0")[0][0]
    (top,) = keep.knowledge.top_strategies(1, by="Sharpe Ratio")
    assert top.value == best
    assert import_optuna(study, keep, objectives=OBJECTIVES).added == 0
    assert any("without a zone" in note for note in done.notes)


def test_what_is_no_study_is_refused(keep, study, tmp_path) -> None:
    with pytest.raises(NotFound, match=r"nothing\.sqlite"):
        import_optuna(tmp_path / "nothing.sqlite", keep)
    with pytest.raises(InvalidValue, match="is a folder; expected the SQLite file"):
        import_optuna(tmp_path, keep)
    (tmp_path / "text.sqlite").write_text("no database at all, but long enough to be read as one")
    with pytest.raises(InvalidValue, match="no storage of Optuna"):
        import_optuna(tmp_path / "text.sqlite", keep)
    with pytest.raises(NotFound, match="no study 'other'; there are cross-open"):
        import_optuna(study, keep, study="other")
    assert keep.knowledge.runs() == []
