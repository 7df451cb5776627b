"""What was learned, on the command line."""

from datetime import UTC, datetime

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
    PromotionRecord,
    Run,
    Score,
    Strategy,
    Template,
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
        _result(knowledge, run_id, 1, 0.1)
        failures = [
            Failure(
                failure_id="f1", category="COST", tags=["a", "b"], summary="x", evidence={"e": 1}
            ),
            Failure(failure_id="f2", category="RISK", tags=["a"], summary="y", evidence={"e": 1}),
            Failure(failure_id="f3", category="RISK", tags=["a"], summary="z", evidence={"e": 1}),
        ]
        knowledge.save_failures("bt-1", failures)
        knowledge.set_failure_state("f3", "RESOLVED")
        limit = Constraint(constraint_id="c1", type="MAX_POSITIONS", params={"max": 3})
        proof = ConstraintProvenance(constraint_id="c1", failure_id="f1", mapping_rule="r")
        about = ConstraintSet(constraint_set_id="cs-1")
        knowledge.save_constraint_set(run_id, 1, [limit], [proof], constraint_set=about)
        knowledge.start_iteration(Iteration(run_id=run_id, constraint_set_id_applied="cs-1"))
        _result(knowledge, run_id, 2, 0.9)
    return url


@pytest.fixture
def promoted(research) -> str:
    """The same keep, with a strategy that was promoted, and then held."""
    with quantkeep.open(research) as keep:
        knowledge = keep.knowledge
        (run,) = knowledge.runs()
        knowledge.save_template(Template(template_id="sma"))
        known = {"template_id": "sma", "created_from": "sma"}
        strategy_id = _result(knowledge, run.run_id, 2, 0.7, **known)
        decision = PromotionRecord(
            run_id=run.run_id, iteration_id=2, strategy_id=strategy_id, from_tier="T1",
            to_tier="T2", decision="PROMOTE", score_total=0.7, gates={"oos": True},
            evidence_refs={"oos": "oos.json"}, timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        later = {"timestamp": datetime(2026, 1, 2, tzinfo=UTC), "from_tier": "T2", "to_tier": "T3"}
        knowledge.save_promotion(decision)
        knowledge.save_promotion(decision.replace(decision="HOLD", **later))
    return research


def _result(knowledge, run_id, iteration_id: int, sharpe: float, **known) -> str:
    """The strategy of a backtest with that Sharpe ratio and score."""
    strategy = Strategy(**{"normalized_spec": {"sharpe": sharpe}, "created_from": "llm", **known})
    strategy_id = knowledge.upsert_strategy(strategy)
    backtest = Backtest(
        backtest_id=None if known else f"bt-{iteration_id}",
        run_id=run_id, iteration_id=iteration_id,
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
    return strategy_id


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
    assert [row["mean"] for row in rows[2:]] == [row["median"] for row in rows[2:]] == [0.1, 0.9]


@pytest.mark.requirement("KB-21", "KB-0", api="quantkeep effectiveness")
def test_each_constraint_set_is_held_against_what_was_before(cli, research) -> None:
    (row,) = cli("effectiveness", research, "-f", "json").rows
    assert (row["constraint_set_id"], row["continues"], row["iterations"]) == ("cs-1", None, 1)
    assert (row["before_mean"], row["after_median"]) == (0.1, 0.9)
    assert row["change"] == row["median_change"] == pytest.approx(0.8)
    (row,) = cli("effectiveness", research, "-f", "json", "--set", "cs-1", "--metric", "SQN").rows
    assert row["median_change"] == pytest.approx(-0.8)
    refused = cli("effectiveness", research, "--set", "cs-2")
    assert (refused.code, "'cs-2' is not stored" in refused.err) == (2, True)


@pytest.mark.parametrize("command", ["lineage f1", "lineage cs-1", "effectiveness --set cs-1"])
def test_results_are_not_shown_by_a_metric_that_nobody_stored(cli, research, command) -> None:
    name, *what = command.split()
    result = cli(name, research, *what, "--metric", "beauty")
    assert result.code == 2
    assert "no metric 'beauty'; there are score_total" in result.err


@pytest.mark.requirement("KB-16", "KB-21", api="quantkeep promotions")
def test_decisions_to_promote_are_listed_and_counted_by_template(cli, promoted) -> None:
    rows = cli("promotions", promoted, "-f", "json").rows
    assert [(row["decision"], row["to_tier"]) for row in rows] == [
        ("PROMOTE", "T2"),
        ("HOLD", "T3"),
    ]
    assert rows[0]["gates"] == {"oos": True}
    rows = cli("promotions", promoted, "-f", "json", "--decision", "PROMOTE", "--top", 5).rows
    assert [row["score_total"] for row in rows] == [0.7]
    assert cli("promotions", promoted, "-f", "json", "--to-tier", "T1").rows == []
    (row,) = cli("promotions", promoted, "-f", "json", "--by-template").rows
    assert (row["template_id"], row["to_tier"], row["promotions"]) == ("sma", "T2", 1)
    result = cli("promotions", promoted, "--by-template", "--decision", "HOLD")
    assert (result.code, "--by-template goes with" in result.err) == (2, True)


@pytest.mark.requirement("KB-39", api="quantkeep failures")
def test_failures_are_listed_by_what_they_have(cli, research) -> None:
    listed = ("failures", research, "--list", "-f", "json")
    assert [row["failure_id"] for row in cli(*listed).rows] == ["f1", "f2", "f3"]
    assert [row["failure_id"] for row in cli(*listed, "--tag", "b").rows] == ["f1"]
    narrowed = cli(*listed, "--category", "RISK", "--state", "OPEN", "--since", "1h").rows
    assert [row["failure_id"] for row in narrowed] == ["f2"]
    assert [row["failure_id"] for row in cli(*listed, "--top", 1).rows] == ["f3"]
    assert cli("failures", research, "--tag", "b").code == 2


def test_what_is_neither_is_said_to_be_neither(cli, research) -> None:
    result = cli("lineage", research, "nobody")
    assert result.code == 2
    assert "neither a failure nor a constraint set" in result.err


def test_a_keep_that_is_not_there_is_not_made(cli, tmp_path) -> None:
    result = cli("failures", f"sqlite:///{tmp_path}/none.db")
    assert result.code == 2
    assert not (tmp_path / "none.db").exists()
