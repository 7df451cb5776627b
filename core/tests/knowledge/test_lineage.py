"""From a failure to what became of it; what a constraint set changed."""

import pytest

from quantkeep import NotFound
from quantkeep.knowledge import Constraint, ConstraintProvenance, ConstraintSet


@pytest.fixture
def learned(lab, knowledge):
    """Three iterations: failures, a set drawn from them, and a set that continues it."""
    bad = lab.result(sharpe_net=-0.5, score=-0.5)
    lab.result(sharpe_net=0.1, score=0.1)
    failure_id = lab.failure(bad, failure_id="f", category="NEGATIVE_SHARPE")
    limit = Constraint(
        constraint_id="c1", type="LIMIT_PARAM_RANGE", params={"param": "n", "below": 28},
        derived_from_type="failure",
    )  # fmt: skip
    proof = ConstraintProvenance(constraint_id="c1", failure_id=failure_id, mapping_rule="edge")
    about = ConstraintSet(constraint_set_id="cs-1")
    knowledge.save_constraint_set(lab.run_id, 1, [limit], [proof], constraint_set=about)

    lab.iteration(constraint_set_id_applied="cs-1")
    lab.result(2, sharpe_net=0.4, score=0.4)
    lab.backtest(2, status="pruned", violated_constraints=["c1"])
    more = Constraint(constraint_id="c2", type="MAX_POSITIONS", params={"max": 3})
    about = ConstraintSet(constraint_set_id="cs-2", base_constraint_set_id="cs-1")
    knowledge.save_constraint_set(lab.run_id, 2, [limit, more], constraint_set=about)

    lab.iteration(constraint_set_id_applied="cs-2")
    lab.result(3, sharpe_net=0.8, score=0.8)
    lab.result(3, sharpe_net=float("nan"), score=None)
    return failure_id


@pytest.mark.requirement("KB-21", "KB-0", "KB-38", api="KnowledgeStore.lineage")
def test_a_failure_is_followed_to_the_results_of_what_it_taught(learned, lab, knowledge) -> None:
    lineage = knowledge.lineage(learned)
    assert lineage.failure == knowledge.failure(learned)
    (drawn,) = lineage.constraints
    assert (drawn.constraint.constraint_id, drawn.provenance.mapping_rule) == ("c1", "edge")
    assert drawn.carried_by == ("cs-1", "cs-2")
    second, third = drawn.applied_in
    assert [second.iteration.iteration_id, third.iteration.iteration_id] == [2, 3]
    assert (second.figures.mean, second.figures.best, second.figures.measured) == (0.4, 0.4, 1)
    assert second.figures.backtests == {"completed": 1, "pruned": 1}
    assert (second.pruned_by_it, third.pruned_by_it) == (1, 0)
    assert (third.figures.mean, third.figures.measured, third.figures.passed) == (0.8, 1, 1)


def test_a_failure_that_taught_nothing_has_no_constraints(lab, knowledge) -> None:
    assert knowledge.lineage(lab.failure(lab.backtest())).constraints == ()
    with pytest.raises(NotFound, match="failures 'none'"):
        knowledge.lineage("none")


@pytest.mark.requirement("KB-21", api="KnowledgeStore.set_lineage")
def test_a_set_is_followed_back_to_its_failures(learned, knowledge) -> None:
    lineage = knowledge.set_lineage("cs-2", metric="score_total")
    assert [each.constraint_set_id for each in lineage.chain] == ["cs-2", "cs-1"]
    origins = {c.constraint_id: [p.failure_id for p in proofs] for c, proofs in lineage.constraints}
    assert origins == {"c1": [learned], "c2": []}
    ((iteration, figures),) = lineage.applied_in
    assert (iteration.iteration_id, figures.mean) == (3, 0.8)


@pytest.mark.requirement("KB-21", "KB-0", api="KnowledgeStore.effectiveness")
def test_a_set_is_judged_by_what_was_before_and_what_came_after(learned, lab, knowledge) -> None:
    found = knowledge.effectiveness("cs-1")
    assert found.before.iterations == ((str(lab.run_id), 1),)
    assert found.after.iterations == ((str(lab.run_id), 2),)
    assert found.before.mean == pytest.approx(-0.2)
    assert (found.before.best, found.before.measured, found.before.passed) == (0.1, 2, 1)
    assert found.change == pytest.approx(0.6)
    assert (found.before.median, found.after.median) == (pytest.approx(-0.2), 0.4)
    assert found.median_change == pytest.approx(0.6)
    assert (found.before.failures, found.after.failures) == ({"NEGATIVE_SHARPE": 1}, {})
    assert knowledge.effectiveness("cs-2").change == pytest.approx(0.4)
    assert knowledge.effectiveness("cs-2", metric="max_drawdown_net").change is None


@pytest.mark.requirement("KB-21", api="KnowledgeStore.effectiveness")
def test_all_iterations_under_the_set_before_are_compared(lab, knowledge) -> None:
    sets = [knowledge.save_constraint_set(lab.run_id, 1, []) for _ in range(3)]
    for applied in (sets[0], sets[1], sets[1], sets[2], sets[2]):
        lab.iteration(constraint_set_id_applied=applied)
    lab.result(3, sharpe_net=0.1)
    lab.result(4, sharpe_net=0.3)
    lab.result(5, sharpe_net=0.5)
    found = knowledge.effectiveness(sets[2])
    assert [number for _, number in found.before.iterations] == [3, 4]
    assert [number for _, number in found.after.iterations] == [5, 6]
    assert (found.before.mean, found.after.mean) == (pytest.approx(0.2), 0.5)


def test_a_set_nobody_applied_changed_nothing(lab, knowledge) -> None:
    found = knowledge.effectiveness(knowledge.save_constraint_set(lab.run_id, 1, []))
    assert (found.before.iterations, found.after.iterations, found.change) == ((), (), None)
    with pytest.raises(NotFound):
        knowledge.effectiveness("none")
