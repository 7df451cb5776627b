"""Failures, their evidence, their tags."""

import pytest

from quantkeep import InvalidValue, NotFound
from quantkeep.errors import AlreadyExists, InvalidReference
from quantkeep.knowledge import Failure, FailureTag

ERROR = {"category": "ENGINE_ERROR", "summary": "n1 must be < n2"}


@pytest.mark.requirement("KB-9", "KB-31", api="KnowledgeStore.save_failures")
def test_a_failure_comes_back_as_it_went_in(lab, knowledge) -> None:
    backtest_id = lab.backtest()
    given = Failure(
        failure_id="f1", category="MAX_DRAWDOWN", tags=["risk", "drawdown"], severity="high",
        confidence=0.715, summary="max drawdown -44 %", evidence_pack_path="raw/1/stats.json",
        evidence={"dd": -44.18, "nan": [1, None]}, state="CONFIRMED",
    )  # fmt: skip
    knowledge.save_failures(backtest_id, [given])
    found = knowledge.failure("f1")
    said = {n: v for n, v in given.as_dict().items() if v is not None}
    assert {name: getattr(found, name) for name in said} == said
    assert (found.backtest_id, found.run_id) == (backtest_id, lab.run_id)
    assert knowledge.failures(backtest_id=backtest_id) == [found]


@pytest.mark.requirement("KB-25", "Z-62", api="Failure")
@pytest.mark.parametrize("evidence", [{}, {"evidence": {}}, {"evidence_pack_path": ""}])
def test_a_failure_without_evidence_is_refused(evidence) -> None:
    with pytest.raises(InvalidValue, match="without evidence") as refused:
        Failure(**ERROR, **evidence)
    assert (refused.value.record, refused.value.field) == ("Failure", "evidence")


@pytest.mark.requirement("KB-25", "Z-62")
@pytest.mark.parametrize("evidence", [{"evidence": {"e": 1}}, {"evidence_pack_path": "p.json"}])
def test_either_kind_of_evidence_will_do(lab, knowledge, evidence) -> None:
    knowledge.save_failures(lab.backtest(), [Failure(**ERROR, **evidence)])
    assert len(knowledge.failures()) == 1


@pytest.mark.requirement("KB-31", api="KnowledgeStore.save_failures")
def test_failures_are_saved_all_or_none(lab, knowledge, keep) -> None:
    backtest_id = lab.backtest()
    lab.failure(backtest_id, failure_id="taken", tags=["old"])
    new = Failure(**ERROR, failure_id="new", tags=["a"], evidence={"e": 1})
    with pytest.raises(AlreadyExists, match=r"failures 'taken'.*another .*category"):
        knowledge.save_failures(backtest_id, [new, new.replace(failure_id="taken")])
    with pytest.raises(InvalidValue, match=r"failures\[1\]|Failure\.severity"):
        knowledge.save_failures(
            backtest_id, [new, new.replace(failure_id="x", severity="catastrophic")]
        )
    with pytest.raises(NotFound):
        knowledge.failure("new")
    assert [tag.tag for tag in keep.table(FailureTag).list()] == ["old"]


def test_failures_need_their_backtest(knowledge) -> None:
    with pytest.raises(InvalidReference, match=r"failures\.backtest_id.*'nothing'"):
        knowledge.save_failures("nothing", [Failure(**ERROR, evidence={"e": 1})])


@pytest.mark.requirement("KB-31")
def test_failures_saved_again_add_nothing_but_equal_ones_stay_several(lab, knowledge) -> None:
    backtest_id = lab.backtest()
    twins = [Failure(**ERROR, evidence={"e": 1}, tags=["t"])] * 3
    first = knowledge.save_failures(backtest_id, twins)
    knowledge.set_failure_state(knowledge.failures()[0].failure_id, "RESOLVED")
    again = knowledge.save_failures(backtest_id, twins)
    assert (first.added, again.added) == (6, 0)
    assert len(knowledge.failures()) == 3
    assert len(knowledge.failures(state="RESOLVED")) == 1


@pytest.mark.requirement("KB-9", api="KnowledgeStore.set_failure_state")
def test_a_failure_is_confirmed_resolved_deprecated(lab, knowledge) -> None:
    failure_id = lab.failure(lab.backtest())
    for state in ("CONFIRMED", "RESOLVED", "DEPRECATED"):
        knowledge.set_failure_state(failure_id, state)
        assert knowledge.failure(failure_id).state == state
    with pytest.raises(InvalidValue, match=r"Failure\.state"):
        knowledge.set_failure_state(failure_id, "FORGOTTEN")


@pytest.mark.requirement("KB-18", "KB-19", api="KnowledgeStore.failures")
def test_failures_are_found_by_category_severity_and_tag(lab, knowledge) -> None:
    backtest_id = lab.backtest()
    a = lab.failure(backtest_id, tags=["risk", "dd"], severity="high")
    b = lab.failure(backtest_id, tags=["risk"], severity="low", category="COST_DRAG")
    c = lab.failure(backtest_id, tags=[], severity="low")

    def found(**asked) -> list[str]:
        return sorted(each.failure_id for each in knowledge.failures(**asked))

    assert found(category="MAX_DRAWDOWN") == sorted([a, c])
    assert found(severity="low") == sorted([b, c])
    assert found(tag="risk") == sorted([a, b])
    assert found(tag="risk", category="MAX_DRAWDOWN") == [a]
    assert found(tag="%") == []
    assert {"category", "severity"} <= {i.columns[0] for i in Failure.collection.indexes}


@pytest.mark.requirement("KB-19", "KB-39", api="FailureTag")
def test_tags_are_rows_that_go_with_their_failure(lab, knowledge, keep) -> None:
    failure_id = lab.failure(lab.backtest(), tags=["b", "a", "b"])
    assert knowledge.failure(failure_id).tags == ["b", "a", "b"]
    assert [tag.tag for tag in keep.table(FailureTag).list()] == ["a", "b"]
    knowledge.delete(Failure, failure_id)
    assert keep.table(FailureTag).count() == 0


@pytest.mark.parametrize("tags", ["risk", ["risk", 1], [""], ("risk",)])
def test_tags_are_a_list_of_texts(tags) -> None:
    with pytest.raises(InvalidValue, match=r"Failure\.tags"):
        Failure(**ERROR, evidence={"e": 1}, tags=tags)
