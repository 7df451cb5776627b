"""Strategies by content hash; templates and atoms."""

from threading import Thread

import pytest

from quantkeep import Conflict, InvalidValue
from quantkeep.errors import AlreadyExists, InvalidReference
from quantkeep.knowledge import Atom, Strategy, Template, strategy_id

SPEC = {"strategy": "SmaCross", "params": {"n1": 10, "n2": 20, "short": False}}


@pytest.mark.requirement("KB-5", "KB-27", api="KnowledgeStore.upsert_strategy")
def test_a_strategy_is_stored_once_however_often_it_is_found(knowledge) -> None:
    first = knowledge.upsert_strategy(Strategy(normalized_spec=SPEC, created_from="llm"))
    again = Strategy(normalized_spec=dict(reversed(SPEC.items())), created_from="import")
    assert knowledge.upsert_strategy(again) == first
    found = knowledge.strategy(first)
    assert (found.normalized_spec, found.created_from) == (SPEC, "llm")
    assert found.revision == 1
    assert knowledge.strategies() == [found]


@pytest.mark.requirement("KB-22", api="KnowledgeStore.upsert_strategy")
def test_another_spec_under_a_stored_id_is_refused(knowledge) -> None:
    first = knowledge.upsert_strategy(Strategy(normalized_spec=SPEC, created_from="llm"))
    other = Strategy(strategy_id=first, normalized_spec={"n": 1}, created_from="llm")
    with pytest.raises(AlreadyExists, match=f"{first}.*normalized_spec") as refused:
        knowledge.upsert_strategy(other)
    assert isinstance(refused.value, Conflict)
    assert knowledge.strategy(first).normalized_spec == SPEC


@pytest.mark.requirement("KB-22")
def test_not_even_a_plain_put_changes_a_strategy(knowledge, keep) -> None:
    first = knowledge.upsert_strategy(Strategy(normalized_spec=SPEC, created_from="llm"))
    changed = knowledge.strategy(first).replace(normalized_spec={"n": 1})
    with pytest.raises(AlreadyExists):
        keep.commit(keep.table(Strategy).put(changed))


def test_an_id_that_is_not_the_hash_of_its_spec_is_refused(knowledge) -> None:
    wrong = Strategy(strategy_id="abc", normalized_spec=SPEC, created_from="llm")
    with pytest.raises(InvalidValue, match=strategy_id(SPEC)) as refused:
        knowledge.upsert_strategy(wrong)
    assert (refused.value.record, refused.value.field) == ("Strategy", "strategy_id")
    assert knowledge.strategies() == []


def test_ids_of_other_rules_are_kept_as_they_are_given(knowledge) -> None:
    theirs = Strategy(
        strategy_id="mod412-77", spec_hash_version="MOD-412/3", normalized_spec=SPEC,
        created_from="import",
    )  # fmt: skip
    assert knowledge.upsert_strategy(theirs) == "mod412-77"
    assert knowledge.upsert_strategy(theirs) == "mod412-77"
    with pytest.raises(AlreadyExists, match="normalized_spec"):
        knowledge.upsert_strategy(theirs.replace(normalized_spec={}))
    with pytest.raises(InvalidValue, match="rules that spec_hash_version names"):
        knowledge.upsert_strategy(theirs.replace(strategy_id=None))


def test_a_spec_with_nan_is_equal_to_itself(knowledge) -> None:
    strategy = Strategy(normalized_spec={"cap": float("nan")}, created_from="llm")
    assert knowledge.upsert_strategy(strategy) == knowledge.upsert_strategy(strategy)


def test_many_finders_at_once_store_one_strategy(knowledge) -> None:
    def find(name: str) -> None:
        knowledge.upsert_strategy(Strategy(normalized_spec=SPEC, created_from=name))

    threads = [Thread(target=find, args=(f"finder-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (only,) = knowledge.strategies()
    assert only.revision == 1


@pytest.mark.requirement("KB-12", api="KnowledgeStore.save_template")
def test_templates_and_atoms_say_how_far_they_are_trusted(knowledge) -> None:
    template = Template(template_id="SmaCross", tier="T1", status="ACTIVE", confidence=0.7)
    knowledge.save_template(template)
    knowledge.save_template(template.replace(tier="T2", usage_count=5))
    found = knowledge.template("SmaCross")
    assert (found.tier, found.status, found.confidence, found.usage_count) == (
        "T2", "ACTIVE", 0.7, 5
    )  # fmt: skip
    assert knowledge.templates(tier="T1") == []
    atom = Atom(atom_id="rsi-14", category="indicator", tier="T0", usage_count=1)
    knowledge.save_atom(atom)
    assert knowledge.atoms(category="indicator") == [knowledge.atom("rsi-14")] == [atom]
    with pytest.raises(InvalidValue, match=r"Template\.confidence"):
        knowledge.save_template(template.replace(confidence=1.5))


@pytest.mark.requirement("KB-12", api="KnowledgeStore.template_usage")
def test_how_often_a_template_was_used_is_counted(knowledge) -> None:
    for name, uses in (("a", 2), ("b", 3)):
        knowledge.save_template(Template(template_id=name))
        for n in range(uses):
            spec = {"template": name, "n": n}
            found = Strategy(normalized_spec=spec, created_from=name, template_id=name)
            knowledge.upsert_strategy(found)
    knowledge.upsert_strategy(Strategy(normalized_spec=SPEC, created_from="llm"))
    assert [*knowledge.template_usage().items()] == [("b", 3), ("a", 2)]
    assert knowledge.template_usage(limit=1) == {"b": 3}
    with pytest.raises(InvalidReference, match="templates"):
        knowledge.upsert_strategy(
            Strategy(normalized_spec={"x": 1}, created_from="?", template_id="unknown")
        )
