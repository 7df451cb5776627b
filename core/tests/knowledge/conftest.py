"""A keep on each backend, and a laboratory that fills it with what a test is not about."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

import quantkeep
from quantkeep import Keep
from quantkeep.knowledge import (
    Backtest,
    Failure,
    Iteration,
    KnowledgeStore,
    Metrics,
    Run,
    Score,
    Strategy,
    content_hash,
)

CONTRACT = {"commission": 0.002, "annualisation": 252}


@pytest.fixture(params=["memory", "sqlite"])
def keep(request, tmp_path) -> Iterator[Keep]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/knowledge.db"
    with quantkeep.open(url) as opened:
        yield opened


@pytest.fixture
def knowledge(keep) -> KnowledgeStore:
    return keep.knowledge


class Laboratory:
    """One run, and as many iterations, strategies and results of it as a test asks for."""

    def __init__(self, knowledge: KnowledgeStore) -> None:
        self.knowledge = knowledge
        self.run_id = knowledge.start_run(Run(project_version="1.0", config={"seed": 7}))
        self._numbers = count(1)

    def iteration(self, **said: Any) -> int:
        return self.knowledge.start_iteration(Iteration(run_id=self.run_id, **said))

    def strategy(self, **said: Any) -> str:
        spec = said.pop("spec", {"n": next(self._numbers)})
        strategy = Strategy(**{"normalized_spec": spec, "created_from": "llm", **said})
        return self.knowledge.upsert_strategy(strategy)

    def test(self, iteration_id: int = 1, **said: Any) -> Backtest:
        """A backtest that is not stored yet, of a strategy that is."""
        known = {
            "run_id": self.run_id,
            "iteration_id": iteration_id,
            "strategy_id": said.pop("strategy_id", None) or self.strategy(),
            "engine_version": "engine 1.0",
            "data_version": "data-1",
            "period_start": datetime(2020, 1, 1, tzinfo=UTC),
            "period_end": datetime(2024, 12, 31, tzinfo=UTC),
            "bar_interval": "1d",
            "model_versions": {"cost": "c1", "exec": "e1", "pf": "p1"},
            "calc_contract": CONTRACT,
            "status": "completed",
        }
        return Backtest(**{**known, **said})

    def backtest(self, iteration_id: int = 1, **said: Any) -> str:
        rerun = said.pop("rerun", False)
        return self.knowledge.insert_backtest(self.test(iteration_id, **said), rerun=rerun)

    def result(self, iteration_id: int = 1, *, score: float | None = 1.0, **said: Any) -> str:
        """A backtest with metrics and score; metrics are given by their names."""
        names = {"strategy_id", "data_version", "engine_version", "model_versions", "rerun"}
        about = {name: said.pop(name) for name in names & said.keys()}
        backtest_id = self.backtest(iteration_id, **about)
        self.knowledge.save_metrics(backtest_id, metrics(**said))
        verdict = Score(score_total=score, passed=(score or 0) > 0, policy_version="score_v1")
        self.knowledge.save_score(backtest_id, verdict)
        return backtest_id

    def failure(self, backtest_id: str, **said: Any) -> str:
        """A failure that is stored; its id."""
        known = {
            "failure_id": f"f-{next(self._numbers)}",
            "category": "MAX_DRAWDOWN",
            "summary": "fell too far",
            "evidence": {"drawdown": 0.44},
        }
        failure = Failure(**{**known, **said})
        self.knowledge.save_failures(backtest_id, [failure])
        return failure.failure_id


def metrics(**said: Any) -> Metrics:
    return Metrics(**{"calc_contract_hash": content_hash(CONTRACT), **said})


@pytest.fixture
def lab(knowledge) -> Laboratory:
    """A laboratory whose run is at its first iteration."""
    laboratory = Laboratory(knowledge)
    laboratory.iteration()
    return laboratory


@pytest.fixture
def make_metrics():
    return metrics
