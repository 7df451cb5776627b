"""Top-N questions: strategies by any metric, failures by tag and category."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from quantkeep.errors import InvalidQuery
from quantkeep.knowledge import Failure, Metrics, Score


@pytest.mark.requirement("KB-17", api="KnowledgeStore.top_strategies")
def test_the_best_score_is_first_and_a_strategy_stands_once(lab, knowledge) -> None:
    a, b, c = (lab.strategy() for _ in range(3))
    lab.result(strategy_id=a, score=0.5)
    best = lab.result(strategy_id=a, score=0.9, data_version="d2")
    lab.result(strategy_id=a, score=0.1, data_version="d3")
    second = lab.result(strategy_id=b, score=0.7)
    lab.result(strategy_id=c, score=None)
    ranked = knowledge.top_strategies(5)
    assert [(r.strategy_id, r.value, r.backtest_id) for r in ranked] == [
        (a, 0.9, best),
        (b, 0.7, second),
    ]
    assert knowledge.top_strategies(1) == ranked[:1]
    assert "score_total" in {index.columns[0] for index in Score.collection.indexes}


@pytest.mark.requirement("KB-17", "Z-61", api="KnowledgeStore.top_strategies")
def test_the_least_drawdown_is_best_and_nan_never_ranks(lab, knowledge) -> None:
    drawdowns = [0.44, 0.0, None, math.nan, 0.2]
    ids = [lab.result(max_drawdown_net=d, sharpe_net=math.nan) for d in drawdowns]
    ranked = knowledge.top_strategies(by="max_drawdown_net")
    assert [r.backtest_id for r in ranked] == [ids[1], ids[4], ids[0]]
    assert knowledge.top_strategies(by="sharpe_net") == []
    worst = knowledge.top_strategies(1, by="max_drawdown_net", best="greatest")
    assert worst[0].backtest_id == ids[0]
    indexed = {index.columns[0] for index in Metrics.collection.indexes}
    assert {"sharpe_net", "max_drawdown_net"} <= indexed


@pytest.mark.requirement("KB-17", "KB-21", api="KnowledgeStore.top_strategies")
def test_any_number_that_a_source_names_can_rank(lab, knowledge) -> None:
    ids = [lab.result(details={"SQN": sqn, "Start": "2020"}) for sqn in (1, 2.5, math.nan, -1.0)]
    ranked = knowledge.top_strategies(by="SQN")
    assert [(r.backtest_id, r.value) for r in ranked] == [
        (ids[1], 2.5),
        (ids[0], 1.0),
        (ids[3], -1.0),
    ]
    assert knowledge.top_strategies(1, by="SQN", best="least")[0].backtest_id == ids[3]
    assert {"score_total", "sharpe_net", "trades", "SQN"} <= {*knowledge.metric_names()}
    with pytest.raises(InvalidQuery, match=r"no metric 'Start'; there are score_total.*SQN"):
        knowledge.top_strategies(by="Start")


def test_whole_numbers_rank_too(lab, knowledge) -> None:
    few, many = lab.result(trades=3), lab.result(trades=30)
    lab.result()
    assert [r.backtest_id for r in knowledge.top_strategies(by="trades")] == [many, few]


@pytest.mark.requirement("KB-17")
def test_many_backtests_of_one_strategy_hide_no_other(lab, knowledge) -> None:
    crowd = lab.strategy()
    for n in range(45):
        lab.result(strategy_id=crowd, score=1.0 + n, data_version=f"d{n}")
    others = [lab.result(score=0.1 * n) for n in range(1, 4)]
    ranked = knowledge.top_strategies(4)
    assert ranked[0].strategy_id == crowd
    assert [r.backtest_id for r in ranked[1:]] == others[::-1]


@pytest.mark.requirement("KB-17")
def test_a_ranking_can_be_narrowed(lab, knowledge) -> None:
    passed, failed = lab.result(score=0.5), lab.result(score=-0.5, data_version="d2")
    assert [r.backtest_id for r in knowledge.top_strategies(passed=False)] == [failed]
    assert [r.backtest_id for r in knowledge.top_strategies(data_version="d2")] == [failed]
    assert [r.backtest_id for r in knowledge.top_strategies(passed=True)] == [passed]
    assert knowledge.top_strategies(engine_mode="B") == []
    assert len(knowledge.top_strategies(run_id=lab.run_id)) == 2


@pytest.mark.requirement("KB-21", "KB-39", "KB-19", api="KnowledgeStore.repeat_failures")
def test_what_fails_most_often_is_first(lab, knowledge) -> None:
    backtest_id = lab.backtest()
    for tags, category in (
        (["risk", "dd"], "MAX_DRAWDOWN"),
        (["risk"], "MAX_DRAWDOWN"),
        (["risk", "sharpe"], "NEGATIVE_SHARPE"),
        (["sharpe"], "NEGATIVE_SHARPE"),
        ([], "NEGATIVE_SHARPE"),
    ):
        lab.failure(backtest_id, tags=tags, category=category)
    by_tag = knowledge.repeat_failures()
    assert [(each.label, each.count) for each in by_tag] == [("risk", 3), ("sharpe", 2), ("dd", 1)]
    by_category = knowledge.repeat_failures(by="category")
    assert [(each.label, each.count) for each in by_category] == [
        ("NEGATIVE_SHARPE", 3),
        ("MAX_DRAWDOWN", 2),
    ]
    assert [each.label for each in knowledge.repeat_failures(2)] == ["risk", "sharpe"]
    assert [each.label for each in knowledge.repeat_failures(at_least=2)] == ["risk", "sharpe"]
    within = knowledge.repeat_failures(category="MAX_DRAWDOWN")
    assert [(each.label, each.count) for each in within] == [("risk", 2), ("dd", 1)]


@pytest.mark.requirement("KB-21", api="KnowledgeStore.repeat_failures")
def test_repeats_are_counted_by_state_run_and_time(lab, knowledge) -> None:
    backtest_id = lab.backtest()
    day = timedelta(days=1)
    first = datetime(2026, 1, 1, tzinfo=UTC)
    failures = [
        Failure(category="X", tags=["t"], summary=f"{n}", evidence={"n": n}) for n in range(4)
    ]
    knowledge.save_failures(backtest_id, failures, created_at=[first + n * day for n in range(4)])
    oldest = knowledge.failures()[-1]
    knowledge.set_failure_state(oldest.failure_id, "RESOLVED")
    for by in ("tag", "category"):
        (counted,) = knowledge.repeat_failures(by=by, since=first + 2 * day)
        assert (counted.count, counted.first_at) == (2, first + 2 * day)
        assert counted.last_at == first + 3 * day
        (resolved,) = knowledge.repeat_failures(by=by, states=["RESOLVED"])
        assert resolved.count == 1
        (still,) = knowledge.repeat_failures(by=by, states=["OPEN", "CONFIRMED"])
        assert still.count == 3
        assert knowledge.repeat_failures(by=by, run_id=lab.run_id)[0].count == 4
