"""Knowledge on this backend: what was tried, how it failed, what was learned (KB, Z-60 ... Z-67)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any, ClassVar

import pytest

from quantkeep import Keep
from quantkeep.errors import InvalidReference, StillReferenced
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
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.suites.helpers import at_once

CONTRACT = {"commission": 0.002, "annualisation": 252}
LIMIT = Constraint(constraint_id="c1", type="MAX_POSITIONS", params={"max": 5})


class Laboratory:
    """One run at its first iteration."""

    def __init__(self, keep: Keep) -> None:
        self.knowledge = keep.knowledge
        self.run_id = self.knowledge.start_run(Run(project_version="1.0", config={"seed": 7}))
        self.iteration()
        self._numbers: Iterator[int] = count(1)

    def iteration(self, **said: Any) -> int:
        """Start the next one."""
        return self.knowledge.start_iteration(Iteration(run_id=self.run_id, **said))

    def strategy(self, spec: Any = None) -> str:
        """A strategy that is new, or has this *spec*."""
        spec = spec or {"n": next(self._numbers)}
        return self.knowledge.upsert_strategy(Strategy(normalized_spec=spec, created_from="llm"))

    def tested(self, iteration: int = 1, score: float | None = None, **figures: Any) -> str:
        """A backtest of a new strategy, with metrics and a score."""
        test = Backtest(
            run_id=self.run_id, iteration_id=iteration, strategy_id=self.strategy(),
            engine_version="1.0", data_version="d", period_start=datetime(2020, 1, 1, tzinfo=UTC),
            period_end=datetime(2024, 12, 31, tzinfo=UTC), bar_interval="1d",
            model_versions={"cost": "c1"}, calc_contract=CONTRACT, status="completed",
        )  # fmt: skip
        identifier = self.knowledge.insert_backtest(test)
        metrics = Metrics(calc_contract_hash=content_hash(CONTRACT), **figures)
        self.knowledge.save_metrics(identifier, metrics)
        verdict = Score(score_total=score, passed=bool(score), policy_version="score_v1")
        self.knowledge.save_score(identifier, verdict)
        return identifier

    def failed(self, backtest: str, **said: Any) -> str:
        """A failure of *backtest*; its id."""
        known: dict[str, Any] = {
            "failure_id": f"f-{next(self._numbers)}",
            "category": "MAX_DRAWDOWN",
            "summary": "fell too far",
            "evidence": {"drawdown": 0.44},
        }
        failure = Failure(**{**known, **said})
        self.knowledge.save_failures(backtest, [failure])
        return str(failure.failure_id)

    def learned(self, failure: str) -> str:
        """A set with one constraint, drawn from *failure*; its id."""
        proof = ConstraintProvenance(constraint_id="c1", failure_id=failure)
        about = ConstraintSet(constraint_set_id="cs-1")
        return self.knowledge.save_constraint_set(
            self.run_id, 1, [LIMIT], [proof], constraint_set=about
        )


class Knowledge(Suite):
    """The store of knowledge, as it is on this backend."""

    family = "knowledge"
    built_on_others: ClassVar[bool] = True

    @pytest.mark.requirement("KB-22")
    def test_strategies_are_their_content(self, whole_keep: Keep) -> None:
        """The same strategy saved again is the one that is there, by the same id, and is not changed."""
        lab = Laboratory(whole_keep)
        first, again = (lab.strategy({"fast": 10, "slow": 30.5}) for _ in range(2))
        other = lab.strategy({"fast": 10, "slow": 30.25})
        assert first == again != other
        assert whole_keep.table(Strategy).count() == 2
        assert dict(lab.knowledge.strategy(first).normalized_spec) == {"fast": 10, "slow": 30.5}

    @pytest.mark.requirement("KB-26", "X-6")
    def test_nothing_dangles(self, whole_keep: Keep) -> None:
        """What refers to nothing, or to what was deleted a moment ago, is refused, and leaves nothing."""
        lab = Laboratory(whole_keep)
        proof = ConstraintProvenance(constraint_id="c1", failure_id="nobody's")
        about = ConstraintSet(constraint_set_id="cs-1")
        score = Score(score_total=1.0, passed=True, policy_version="score_v1")
        for refused in (
            lambda: lab.knowledge.save_constraint_set(
                lab.run_id, 1, [LIMIT], [proof], constraint_set=about
            ),
            lambda: lab.knowledge.save_score("nothing", score),
            lambda: lab.failed("nothing"),
        ):
            with pytest.raises(InvalidReference):
                refused()
        kinds = Constraint, ConstraintSet, Score, Failure
        assert [whole_keep.table(kind).count() for kind in kinds] == [0, 0, 0, 0]
        self._lose_a_failure(lab, whole_keep)

    def _lose_a_failure(self, lab: Laboratory, keep: Keep) -> None:
        """The store has looked, and before it commits another writer deletes what it saw."""
        backtest = lab.tested()
        stays, goes = (lab.failed(backtest) for _ in range(2))
        learned = lab.learned(stays)
        proof = ConstraintProvenance(
            id="late", constraint_set_id=learned, constraint_id="c1", failure_id=goes
        )
        late = keep.table(ConstraintProvenance).put(proof)
        lab.knowledge.delete(Failure, goes)
        with pytest.raises(InvalidReference):
            keep.commit(late)
        assert [each.failure_id for each in lab.knowledge.provenance()] == [stays]

    @pytest.mark.requirement("KB-36")
    def test_what_is_referred_to_stays(self, whole_keep: Keep) -> None:
        """A failure from which something was learned cannot be deleted, nor its backtest."""
        lab = Laboratory(whole_keep)
        backtest = lab.tested(score=0.5)
        failure = lab.failed(backtest)
        lab.learned(failure)
        for kind, key in ((Failure, failure), (Backtest, backtest)):
            with pytest.raises(StillReferenced):
                lab.knowledge.delete(kind, key)
            assert whole_keep.table(kind).count() == 1

    @pytest.mark.requirement("KB-17", "Z-61")
    def test_top_strategies(self, whole_keep: Keep) -> None:
        """The best by any metric come best first; what was not measured, or is NaN, never ranks."""
        lab = Laboratory(whole_keep)
        drawdowns = (0.44, 0.0, None, float("nan"), 0.2)
        tested = [lab.tested(max_drawdown_net=drawdown) for drawdown in drawdowns]
        ranked = lab.knowledge.top_strategies(by="max_drawdown_net")
        assert [rank.backtest_id for rank in ranked] == [tested[1], tested[4], tested[0]]
        scored = [lab.tested(score=score) for score in (0.1, 0.9, 0.5)]
        ranked = lab.knowledge.top_strategies(2)
        assert [rank.backtest_id for rank in ranked] == [scored[1], scored[2]]

    @pytest.mark.requirement("KB-0")
    def test_repeat_failures(self, whole_keep: Keep) -> None:
        """Failures by category, the most frequent first, are counted exactly."""
        lab = Laboratory(whole_keep)
        backtest = lab.tested()
        for category, times in (("MAX_DRAWDOWN", 2), ("NEGATIVE_SHARPE", 3), ("OVERFIT", 1)):
            for _ in range(times):
                lab.failed(backtest, category=category)
        found = lab.knowledge.repeat_failures(2, by="category")
        assert [(each.label, each.count) for each in found] == [
            ("NEGATIVE_SHARPE", 3),
            ("MAX_DRAWDOWN", 2),
        ]

    @pytest.mark.requirement("KB-21")
    def test_lineage(self, whole_keep: Keep) -> None:
        """A failure is followed to what was learned from it, and to the results where that applied."""
        lab = Laboratory(whole_keep)
        failure = lab.failed(lab.tested(sharpe_net=-0.5))
        lab.iteration(constraint_set_id_applied=lab.learned(failure))
        lab.tested(2, sharpe_net=0.5)
        (drawn,) = lab.knowledge.lineage(failure).constraints
        assert drawn.constraint.constraint_id == "c1"
        (applied,) = drawn.applied_in
        assert applied.iteration.iteration_id == 2
        assert applied.figures.mean == 0.5

    @pytest.mark.requirement("KB-4")
    def test_iterations_are_numbered_once(self, whole_keep: Keep) -> None:
        """Iterations that are started at one moment have numbers of their own, without a gap."""
        lab = Laboratory(whole_keep)
        numbers = at_once(4, lambda thread: [lab.iteration() for _ in range(3)])
        assert sorted(number for each in numbers for number in each) == [*range(2, 14)]
