"""What was learned, on the command line."""

import pytest

import quantkeep
from quantkeep.knowledge import (
    Backtest,
    Constraint,
    ConstraintProvenance,
    ConstraintSet,
    Failure,
    Iteration,
    Metrics,
    Run,
    Score,
    Strategy,
    content_hash,
)

CONTRACT = {"commission": 0.002}


@pytest.fixture
def research(tmp_path) -> str:
    """A keep with two iterations: failures, a constraint drawn from one, a better result."""
    url = f"sqlite:///{tmp_path / 'research.db'}"
    with quantkeep.open(url) as keep:
        knowledge = keep.knowledge
        run_id = knowledge.start_run(Run(project_version="1"))
        knowledge.start_iteration(Iteration(run_id=run_id))
        bad = _result(knowledge, run_id, 1, 0.1)
        failures = [
            Failure(
                failure_id="f1", category="COST", tags=["a", "b"], summary="x", evidence={"e": 1}
            ),
            Failure(failure_id="f2", category="RISK", tags=["a"], summary="y", evidence={"e": 1}),
            Failure(failure_id="f3", category="RISK", tags=["a"], summary="z", evidence={"e": 1}),
        ]
        knowledge.save_failures(bad, failures)
        knowledge.set_failure_state("f3", "RESOLVED")
        limit = Constraint(constraint_id="c1", type="MAX_POSITIONS", params={"max": 3})
        proof = ConstraintProvenance(constraint_id="c1", failure_id="f1", mapping_rule="r")
        about = ConstraintSet(constraint_set_id="cs-1")
        knowledge.save_constraint_set(run_id, 1, [limit], [proof], constraint_set=about)
        knowledge.start_iteration(Iteration(run_id=run_id, constraint_set_id_applied="cs-1"))
        _result(knowledge, run_id, 2, 0.9)
    return url


def _result(knowledge, run_id, iteration_id: int, sharpe: float) -> str:
    spec = {"sharpe": sharpe}
    strategy_id = knowledge.upsert_strategy(Strategy(normalized_spec=spec, created_from="llm"))
    backtest = Backtest(
        backtest_id=f"bt-{iteration_id}", run_id=run_id, iteration_id=iteration_id,
        strategy_id=strategy_id, engine_version="e", data_version="d", calc_contract=CONTRACT,
        status="completed",
    )  # fmt: skip
    backtest_id = knowledge.insert_backtest(backtest)
    metrics = Metrics(
        calc_contract_hash=content_hash(CONTRACT), sharpe_net=sharpe, details={"SQN": -sharpe}
    )
    knowledge.save_metrics(backtest_id, metrics)
    score = Score(score_total=sharpe, passed=sharpe > 0.5, policy_version="v1")
    knowledge.save_score(backtest_id, score)
    return backtest_id


@pytest.mark.requirement("KB-21", "KB-39", api="quantkeep failures")
def test_what_fails_most_often_is_listed_first(cli, research) -> None:
    rows = cli("failures", research, "-f", "json").rows
    assert [(row["tag"], row["failures"]) for row in rows] == [("a", 3), ("b", 1)]
    rows = cli("failures", research, "-f", "json", "--by", "category", "--top", 1).rows
    assert [(row["category"], row["failures"]) for row in rows] == [("RISK", 2)]
    rows = cli("failures", research, "-f", "json", "--state", "OPEN", "--category", "RISK").rows
    assert [(row["tag"], row["failures"]) for row in rows] == [("a", 1)]
    assert cli("failures", research, "-f", "json", "--since", "2999-01-01").rows == []


@pytest.mark.requirement("KB-17", api="quantkeep strategies")
def test_the_top_strategies_by_any_metric(cli, research) -> None:
    for metric, first in (("score_total", "bt-2"), ("sharpe_net", "bt-2"), ("SQN", "bt-1")):
        rows = cli("strategies", research, "-f", "json", "--by", metric).rows
        assert (rows[0]["rank"], rows[0]["backtest_id"], len(rows)) == (1, first, 2)
    (only,) = cli("strategies", research, "-f", "json", "--top", 5, "--passed").rows
    assert (only["value"], only["spec"], only["created_from"]) == (0.9, {"sharpe": 0.9}, "llm")
    worst = cli("strategies", research, "-f", "json", "--top", 1, "--best", "least").rows
    assert worst[0]["backtest_id"] == "bt-1"


def test_a_metric_nobody_stored_is_answered_by_those_there_are(cli, research) -> None:
    result = cli("strategies", research, "--by", "beauty")
    assert result.code == 2
    assert "no metric 'beauty'; there are score_total" in result.err
    assert "SQN" in result.err


@pytest.mark.requirement("KB-21", "KB-0", api="quantkeep lineage")
def test_a_failure_is_followed_to_results(cli, research) -> None:
    rows = cli("lineage", research, "f1", "-f", "json").rows
    assert [row["step"] for row in rows] == ["failure", "constraint", "set", "iteration"]
    assert rows[1]["id"] == "cs-1/c1"
    assert (rows[3]["says"], rows[3]["mean"], rows[3]["measured"]) == ("applied cs-1", 0.9, 1)


@pytest.mark.requirement("KB-21", api="quantkeep lineage")
def test_a_constraint_set_is_shown_with_what_it_changed(cli, research, monkeypatch) -> None:
    monkeypatch.setenv("QUANTKEEP_URL", research)
    rows = cli("lineage", "cs-1", "-f", "json", "--metric", "score_total").rows
    assert [row["step"] for row in rows] == ["set", "constraint", "before", "under it"]
    assert [row["mean"] for row in rows[2:]] == [0.1, 0.9]


def test_what_is_neither_is_said_to_be_neither(cli, research) -> None:
    result = cli("lineage", research, "nobody")
    assert result.code == 2
    assert "neither a failure nor a constraint set" in result.err


def test_a_keep_that_is_not_there_is_not_made(cli, tmp_path) -> None:
    result = cli("failures", f"sqlite:///{tmp_path}/none.db")
    assert result.code == 2
    assert not (tmp_path / "none.db").exists()
