"""Runs and iterations."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

import quantkeep
from quantkeep import InvalidValue, NotFound
from quantkeep.errors import AlreadyExists, InvalidReference
from quantkeep.knowledge import Iteration, Run


@pytest.mark.requirement("KB-3", api="KnowledgeStore.start_run")
def test_a_run_keeps_its_configuration_and_says_how_it_ended(knowledge) -> None:
    config = {"symbols": ["GOOG"], "cash": 10_000, "limits": {"dd": float("inf")}}
    run_id = knowledge.start_run(Run(project_version="0.1.0", config=config))
    begun = knowledge.run(run_id)
    assert type(run_id) is UUID
    assert (begun.config, begun.status, begun.project_version) == (config, "RUNNING", "0.1.0")
    assert begun.envelope is not None
    knowledge.finish_run(run_id, "FAILED")
    ended = knowledge.run(run_id)
    assert ended.status == "FAILED"
    assert ended.envelope.created_at == begun.envelope.created_at
    assert knowledge.runs(status="FAILED") == [ended]
    assert knowledge.runs(status="DONE") == []


@pytest.mark.requirement("KB-3")
def test_another_run_under_the_same_id_is_refused_and_the_same_is_not(knowledge) -> None:
    run = Run(run_id=uuid4(), project_version="1")
    knowledge.start_run(run)
    knowledge.finish_run(run.run_id)
    assert knowledge.start_run(run) == run.run_id  # it has moved on, which is no difference
    assert knowledge.run(run.run_id).status == "DONE"
    with pytest.raises(AlreadyExists, match="another project_version"):
        knowledge.start_run(run.replace(project_version="2"))


def test_a_status_that_there_is_not_is_refused(knowledge) -> None:
    with pytest.raises(InvalidValue, match=r"Run\.status.*'RUNNING', 'DONE', 'FAILED'"):
        knowledge.start_run(Run(project_version="1", status="PAUSED"))
    assert knowledge.runs() == []


@pytest.mark.requirement("KB-4", "KB-1", api="KnowledgeStore.start_iteration")
def test_iterations_are_numbered_within_their_run(lab, knowledge) -> None:
    other = knowledge.start_run(Run(project_version="1"))
    assert [lab.iteration(), lab.iteration()] == [2, 3]
    assert knowledge.start_iteration(Iteration(run_id=other)) == 1
    assert lab.iteration(iteration_id=10) == 10
    assert lab.iteration() == 11
    assert [each.iteration_id for each in knowledge.iterations(lab.run_id)] == [1, 2, 3, 10, 11]
    with pytest.raises(InvalidValue, match=r"Iteration\.iteration_id: is 5.*at 11"):
        lab.iteration(iteration_id=5)


@pytest.mark.requirement("KB-4", api="KnowledgeStore.start_iteration")
@pytest.mark.parametrize("theirs", [{}, {"summary": {"by": "another"}}], ids=["same", "other"])
def test_whoever_is_overtaken_gets_the_number_after(lab, knowledge, monkeypatch, theirs) -> None:
    """Another writer takes the number that was read, with the same content or with another."""
    last = knowledge.last_iteration_id
    others: list[int] = []

    def overtaken(run_id: UUID) -> int:
        read = last(run_id)
        if not others:
            others.append(0)  # the other writer's own look is not overtaken
            others.append(lab.iteration(**theirs))
        return read

    lab.iteration()
    monkeypatch.setattr(knowledge, "last_iteration_id", overtaken)
    assert (lab.iteration(), others[1]) == (4, 3)
    assert [each.iteration_id for each in knowledge.iterations(lab.run_id)] == [1, 2, 3, 4]


@pytest.mark.requirement("KB-4", api="KnowledgeStore.start_iteration")
def test_iterations_started_at_once_have_numbers_of_their_own(lab, knowledge) -> None:
    with ThreadPoolExecutor(4) as pool:
        numbers = [*pool.map(lambda _: lab.iteration(), range(20))]
    assert sorted(numbers) == [*range(2, 22)]


@pytest.mark.requirement("KB-4", api="KnowledgeStore.finish_iteration")
def test_an_iteration_says_when_it_ran_what_it_applied_and_what_came_of_it(lab, knowledge) -> None:
    set_id = knowledge.save_constraint_set(lab.run_id, 1, [])
    begun, ended = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (9, 10))
    number = lab.iteration(started_at=begun, constraint_set_id_applied=set_id)
    knowledge.finish_iteration(lab.run_id, number, ended_at=ended, summary={"completed": 3})
    found = knowledge.iteration(lab.run_id, number)
    assert (found.started_at, found.ended_at, found.summary) == (begun, ended, {"completed": 3})
    assert knowledge.iterations(constraint_set_id=set_id) == [found]


def test_an_iteration_needs_its_run_and_its_constraint_set(lab, knowledge) -> None:
    with pytest.raises(InvalidReference, match="runs"):
        knowledge.start_iteration(Iteration(run_id=uuid4()))
    with pytest.raises(InvalidReference, match="constraint_sets"):
        lab.iteration(constraint_set_id_applied="nowhere")
    assert knowledge.last_iteration_id(lab.run_id) == 1


def test_what_is_made_again_must_say_its_number(lab, keep) -> None:
    with pytest.raises(InvalidValue, match="iteration_id"):
        keep.knowledge.start_iteration(Iteration(run_id=lab.run_id), op_id="once")
    first = keep.knowledge.start_iteration(
        Iteration(run_id=lab.run_id, iteration_id=2), op_id="once"
    )
    again = keep.knowledge.start_iteration(
        Iteration(run_id=lab.run_id, iteration_id=2), op_id="once"
    )
    assert first == again == 2


def test_what_is_not_there_is_said_to_be_missing(knowledge) -> None:
    with pytest.raises(NotFound, match="runs"):
        knowledge.run(uuid4())
    with pytest.raises(NotFound, match="iterations"):
        knowledge.finish_iteration(uuid4(), 1, ended_at=datetime.now(UTC))


@pytest.mark.requirement("KB-3", "X-7")
def test_an_import_keeps_the_stamp_that_a_run_had(knowledge) -> None:
    began = datetime(2019, 5, 1, tzinfo=UTC)
    run_id = knowledge.start_run(Run(project_version="1"), created_at=began)
    assert knowledge.run(run_id).envelope.created_at == began
    with pytest.raises(quantkeep.InvalidValue, match=r"Run\.created_at.*aware"):
        knowledge.start_run(Run(project_version="1"), created_at=datetime(2019, 5, 1))  # noqa: DTZ001  # naive on purpose
