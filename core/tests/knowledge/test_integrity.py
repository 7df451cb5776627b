"""What is referred to stays; what is written is written whole, and once."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

import quantkeep
from quantkeep import NotFound
from quantkeep.errors import AlreadyExists, OperationConflict, StillReferenced
from quantkeep.knowledge import (
    Backtest,
    Constraint,
    ConstraintProvenance,
    ConstraintSet,
    Failure,
    FailureTag,
    Iteration,
    KnowledgeStore,
    Metrics,
    MetricValue,
    Run,
    Score,
    Strategy,
    Template,
)

LIMIT = Constraint(constraint_id="c1", type="MAX_POSITIONS", params={"max": 5})


@pytest.fixture
def filled(lab, knowledge) -> dict[type, tuple[Any, ...]]:
    """A key of one record of each kind that others refer to."""
    knowledge.save_template(Template(template_id="t"))
    strategy_id = lab.strategy(template_id="t", created_from="t")
    backtest_id = lab.result(strategy_id=strategy_id, details={"SQN": 1.0})
    failure_id = lab.failure(backtest_id, tags=["risk"])
    proof = ConstraintProvenance(constraint_id="c1", failure_id=failure_id)
    set_id = knowledge.save_constraint_set(lab.run_id, 1, [LIMIT], [proof])
    lab.iteration(constraint_set_id_applied=set_id)
    return {
        Run: (lab.run_id,),
        Iteration: (lab.run_id, 1),
        Template: ("t",),
        Strategy: (strategy_id,),
        Backtest: (backtest_id,),
        Metrics: (backtest_id,),
        Failure: (failure_id,),
        ConstraintSet: (set_id,),
        Constraint: (set_id, "c1"),
    }


@pytest.mark.requirement("KB-36", "X-6", api="KnowledgeStore.delete")
@pytest.mark.parametrize(
    "record",
    [Run, Iteration, Template, Strategy, Backtest, Metrics, Failure, ConstraintSet, Constraint],
)
def test_what_others_refer_to_is_not_deleted(filled, knowledge, keep, record) -> None:
    before = keep.sizes()
    with pytest.raises(StillReferenced, match=record.collection.name):
        knowledge.delete(record, *filled[record])
    assert keep.table(record).get(*filled[record]) is not None
    assert {n: s for n, s in keep.sizes().items() if n != "bytes"} == {
        n: s for n, s in before.items() if n != "bytes"
    }


@pytest.mark.requirement("KB-36")
def test_what_nobody_refers_to_is_deleted_with_what_is_its_own(filled, knowledge, keep) -> None:
    (backtest_id,) = filled[Backtest]
    knowledge.delete(Score, backtest_id)
    knowledge.delete(Metrics, backtest_id)
    assert keep.table(MetricValue).count() == 0
    with pytest.raises(NotFound):
        knowledge.delete(Metrics, backtest_id)


@pytest.mark.requirement("KB-31", "KB-32", api="keep.batch")
def test_a_result_is_one_commit_of_several_calls(lab, knowledge, keep, make_metrics) -> None:
    with keep.batch(op_id="result-1") as batch:
        strategy = Strategy(normalized_spec={"n": "batch"}, created_from="llm")
        strategy_id = knowledge.upsert_strategy(strategy, batch=batch)
        backtest_id = knowledge.insert_backtest(lab.test(strategy_id=strategy_id), batch=batch)
        knowledge.save_metrics(backtest_id, make_metrics(sharpe_net=1.0), batch=batch)
        score = Score(score_total=1.0, passed=True, policy_version="v1")
        knowledge.save_score(backtest_id, score, batch=batch)
        failure = Failure(category="X", summary="x", tags=["t"], evidence={"e": 1})
        knowledge.save_failures(backtest_id, [failure], batch=batch)
        assert keep.table(Backtest).count() == 0
    assert batch.receipt.added == 6
    assert knowledge.score(backtest_id).strategy_id == strategy_id


@pytest.mark.requirement("KB-31", "KB-32")
def test_a_batch_with_one_fault_writes_nothing(lab, knowledge, keep, make_metrics) -> None:
    def gather() -> None:
        with keep.batch() as batch:
            backtest_id = knowledge.insert_backtest(lab.test(), batch=batch)
            knowledge.save_metrics(backtest_id, make_metrics(), batch=batch)
            knowledge.save_failures(
                backtest_id, [Failure(category="X", summary="x", evidence={"e": 1})], batch=batch
            )
            knowledge.insert_backtest(lab.test(iteration_id=77), batch=batch)

    with pytest.raises(quantkeep.Invalid, match="iterations"):
        gather()
    for record in (Backtest, Metrics, Failure):
        assert keep.table(record).count() == 0


@pytest.mark.requirement("Z-10", api="op_id")
@pytest.mark.parametrize("name", ["backtest", "metrics", "failures", "set", "run", "state", "link"])
def test_a_call_made_again_under_its_operation_id_adds_nothing(
    lab, knowledge, keep, make_metrics, name
) -> None:
    backtest_id = lab.backtest()
    failure_id = lab.failure(backtest_id)
    fresh, contents = lab.test(), Failure(category="X", summary="x", evidence={"e": 1})
    calls: dict[str, Callable[[], Any]] = {
        "backtest": lambda: knowledge.insert_backtest(fresh, rerun=True, op_id="o"),
        "metrics": lambda: knowledge.save_metrics(backtest_id, make_metrics(), op_id="o"),
        "failures": lambda: knowledge.save_failures(backtest_id, [contents], op_id="o"),
        "set": lambda: knowledge.save_constraint_set(lab.run_id, 1, [LIMIT], op_id="o"),
        "run": lambda: knowledge.start_run(Run(project_version="1"), op_id="o"),
        "state": lambda: knowledge.set_failure_state(failure_id, "RESOLVED", op_id="o"),
        "link": lambda: knowledge.upsert_strategy(
            Strategy(normalized_spec={"o": 1}, created_from="x"), op_id="o"
        ),
    }
    first = calls[name]()
    sizes, head = _rows(keep), knowledge.failure(failure_id).revision
    again = calls[name]()
    assert getattr(again, "revisions", again) == getattr(first, "revisions", first)
    assert (_rows(keep), knowledge.failure(failure_id).revision) == (sizes, head)


def _rows(keep) -> dict[str, int]:
    return {name: size for name, size in keep.sizes().items() if name != "bytes"}


def test_a_batch_made_again_gives_its_first_receipt(lab, knowledge, keep) -> None:
    fresh = lab.test()

    def gather():
        with keep.batch(op_id="o") as batch:
            backtest_id = knowledge.insert_backtest(fresh, batch=batch)
            knowledge.save_failures(
                backtest_id, [Failure(category="X", summary="x", evidence={"e": 1})], batch=batch
            )
        return batch.receipt

    first, again = gather(), gather()
    assert again.replayed
    assert again.revisions == first.revisions


def test_an_operation_id_is_for_one_operation(lab, knowledge) -> None:
    knowledge.insert_backtest(lab.test(), op_id="o")
    with pytest.raises(OperationConflict):
        knowledge.insert_backtest(lab.test(), op_id="o")


def test_two_writers_of_one_state_do_not_lose_one(lab, knowledge, keep) -> None:
    failure_id = lab.failure(lab.backtest())
    table = keep.table(Failure)
    stale = table.get(failure_id)
    knowledge.set_failure_state(failure_id, "CONFIRMED")
    expected = quantkeep.AtRevision(stale.revision)
    with pytest.raises(quantkeep.Conflict):
        keep.commit(table.put(stale.replace(state="RESOLVED"), expected))
    assert knowledge.failure(failure_id).state == "CONFIRMED"


@pytest.mark.requirement("Z-2", api="Backtest.collection.stream")
def test_what_belongs_to_a_run_is_numbered_in_it(lab, knowledge, keep) -> None:
    other = knowledge.start_run(Run(run_id=uuid4(), project_version="1"))
    knowledge.start_iteration(Iteration(run_id=other))
    for _ in range(3):
        lab.backtest()
    knowledge.insert_backtest(lab.test().replace(run_id=other))
    assert (keep.table(Backtest).head(lab.run_id), keep.table(Backtest).head(other)) == (3, 1)
    within = {r.collection.name for r in KnowledgeStore.records if r.collection.stream}
    assert {"iterations", "backtests", "metrics", "scores", "failures", "failure_tags"} <= within


def test_the_same_id_with_other_tags_is_refused(lab, knowledge, keep) -> None:
    backtest_id = lab.backtest()
    lab.failure(backtest_id, failure_id="f", tags=["a"])
    with pytest.raises(AlreadyExists, match="another tags"):
        lab.failure(backtest_id, failure_id="f", tags=["a", "b"])
    assert keep.table(FailureTag).count() == 1
