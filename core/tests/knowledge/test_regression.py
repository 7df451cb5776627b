"""The same strategy across versions."""

import math

import pytest

from quantkeep import InvalidValue, NotFound


@pytest.mark.requirement("KB-44", "Z-65", api="KnowledgeStore.compare")
def test_two_backtests_differ_in_versions_metrics_and_scores(lab, knowledge) -> None:
    strategy_id = lab.strategy()
    same = {"strategy_id": strategy_id, "win_rate": 0.5, "sortino_net": math.nan}
    a = lab.result(**same, sharpe_net=1.0, details={"SQN": 2.0, "n": 1}, score=0.5)
    b = lab.result(
        **same, sharpe_net=0.75, details={"SQN": 2.5, "n": 1}, score=-0.5, engine_version="engine 2"
    )  # fmt: skip
    found = knowledge.compare(a, b)
    assert {n: (c.before, c.after) for n, c in found.versions.items()} == {
        "engine_version": ("engine 1.0", "engine 2")
    }
    assert {name: change.delta for name, change in found.metrics.items()} == {
        "sharpe_net": -0.25,
        "SQN": 0.5,
    }
    assert found.scores["score_total"].delta == -1.0
    assert (found.scores["passed"].before, found.scores["passed"].after) == (True, False)
    assert found.scores["passed"].delta is None


@pytest.mark.requirement("KB-44", "Z-65", api="KnowledgeStore.regressions")
def test_versions_of_data_engine_and_models_are_walked_in_order(lab, knowledge) -> None:
    strategy_id = lab.strategy()
    ids = [
        lab.result(strategy_id=strategy_id, sharpe_net=sharpe, **version)
        for sharpe, version in (
            (1.0, {}),
            (0.9, {"data_version": "data-2"}),
            (0.8, {"data_version": "data-2", "engine_version": "engine 2"}),
            (0.7, {"model_versions": {"cost": "c9"}}),
        )
    ]
    lab.result(
        strategy_id=strategy_id, sharpe_net=0.6, rerun=True, model_versions={"cost": "c9"}
    )  # of the same versions: no regression
    lab.result(sharpe_net=5.0)
    pairs = [(c.before, c.after) for c in knowledge.regressions(strategy_id)]
    assert pairs == [(ids[0], ids[1]), (ids[1], ids[2]), (ids[2], ids[3])]
    (data,) = [
        c for c in knowledge.regressions(strategy_id, across=["data_version"])
        if c.before == ids[0] and c.after == ids[1]
    ]  # fmt: skip
    assert set(data.versions) == {"data_version"}
    assert data.metrics["sharpe_net"].delta == pytest.approx(-0.1)
    with pytest.raises(InvalidValue, match=r"across: cannot be 'moon'"):
        knowledge.regressions(strategy_id, across=["moon"])


def test_what_was_not_measured_is_compared_as_absent(lab, knowledge) -> None:
    strategy_id = lab.strategy()
    a = lab.result(strategy_id=strategy_id, sharpe_net=1.0)
    b = lab.backtest(strategy_id=strategy_id, status="failed", data_version="data-2")
    found = knowledge.compare(a, b)
    assert (found.metrics["sharpe_net"].before, found.metrics["sharpe_net"].after) == (1.0, None)
    assert found.scores["passed"].after is None


def test_only_one_strategy_is_compared_with_itself(lab, knowledge) -> None:
    a, b = lab.result(), lab.result()
    with pytest.raises(InvalidValue, match="same strategy"):
        knowledge.compare(a, b)
    with pytest.raises(NotFound):
        knowledge.compare(a, "none")
