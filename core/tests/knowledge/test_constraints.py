"""Constraint sets, constraints, provenance."""

import pytest

from quantkeep import InvalidValue, NotFound
from quantkeep.errors import AlreadyExists, InvalidReference
from quantkeep.knowledge import (
    Constraint,
    ConstraintProvenance,
    ConstraintSet,
    ConstraintWarning,
    from_document,
)

DOCUMENT = {
    "schema_version": "SCHEMA-330",
    "constraint_set_id": "cs-1",
    "source": "user",
    "status": "ACTIVE",
    "priority_policy": "HIGHEST_PRIORITY_WINS",
    "policy_version": "rules_v0",
    "author": "marv",
    "constraints": [
        {
            "id": "c-01", "status": "ACTIVE", "scope": "portfolio", "type": "MAX_POSITIONS",
            "params": {"max": 5}, "priority": 90, "severity": "ERROR",
            "applies_to": {"asset_class": ["crypto"], "symbols": ["BTC"]},
            "derived_from": {"type": "scenario", "id": "crash-2020", "evidence_refs": ["e/1"]},
            "notes": "never more", "reviewed": True,
        },
        {"id": "c-02", "type": "NAN_POLICY", "params": {"policy": "drop"}},
    ],
}  # fmt: skip


def cap(constraint_id: str = "c1", **said) -> Constraint:
    known = {"type": "MAX_POSITIONS", "params": {"max": 5}}
    return Constraint(**{"constraint_id": constraint_id, **known, **said})


def led(failure_id: str, constraint_id: str = "c1", rule: str = "repeat>=3"):
    return ConstraintProvenance(
        constraint_id=constraint_id, failure_id=failure_id, mapping_rule=rule
    )


@pytest.mark.requirement("KB-10", "KB-32", "Z-63", api="KnowledgeStore.save_constraint_set")
def test_a_set_is_saved_whole_with_its_constraints_as_rows(lab, knowledge) -> None:
    base = knowledge.save_constraint_set(None, None, [cap()])
    about = ConstraintSet(base_constraint_set_id=base, policy_version="rules_v0", source="user")
    set_id = knowledge.save_constraint_set(
        lab.run_id, 1, [cap("z"), cap("a")], constraint_set=about
    )
    found = knowledge.constraint_set(set_id)
    assert (found.run_id, found.created_at_iteration, found.state) == (lab.run_id, 1, "ACTIVE")
    assert (found.base_constraint_set_id, found.policy_version) == (base, "rules_v0")
    assert [each.constraint_id for each in knowledge.constraints(set_id)] == ["z", "a"]
    knowledge.set_constraint_set_state(set_id, "ARCHIVED")
    assert [each.constraint_set_id for each in knowledge.constraint_sets(state="ACTIVE")] == [base]


@pytest.mark.requirement("Z-63")
def test_an_id_is_unique_within_its_set_only(lab, knowledge) -> None:
    sets = [knowledge.save_constraint_set(lab.run_id, 1, [cap("c-01-001")]) for _ in range(2)]
    assert len({*sets}) == 2
    with pytest.raises(InvalidValue, match="'c-01-001' stands 2 times") as refused:
        knowledge.save_constraint_set(lab.run_id, 1, [cap("c-01-001"), cap("c-01-001")])
    assert (refused.value.record, refused.value.field) == ("Constraint", "constraint_id")
    assert len(knowledge.constraint_sets()) == 2


@pytest.mark.requirement("KB-40", "KB-41", "KB-10", api="quantkeep.knowledge.from_document")
def test_a_set_goes_in_and_out_as_its_document(knowledge) -> None:
    constraint_set, constraints = from_document(DOCUMENT)
    set_id = knowledge.save_constraint_set(None, None, constraints, constraint_set=constraint_set)
    assert set_id == "cs-1"
    first, second = knowledge.constraints(set_id)
    assert (first.derived_from_type, first.derived_from_id) == ("scenario", "crash-2020")
    assert (first.priority, first.severity, first.evidence_refs) == (90, "ERROR", ["e/1"])
    assert (first.applies_to, first.notes) == (
        {"asset_class": ["crypto"], "symbols": ["BTC"]}, "never more"
    )  # fmt: skip
    assert (second.scope, second.priority, second.status) == ("data", 50, "ACTIVE")
    document = knowledge.constraint_set_document(set_id)
    for name, value in DOCUMENT.items():
        if name != "constraints":
            assert document[name] == value
    for name, value in DOCUMENT["constraints"][0].items():
        assert document["constraints"][0][name] == value
    assert document["created_at"] == knowledge.constraint_set(set_id).envelope.created_at


@pytest.mark.requirement("KB-11", "KB-26", api="KnowledgeStore.provenance")
def test_provenance_says_which_failure_led_to_which_constraint(lab, knowledge) -> None:
    failures = [lab.failure(lab.backtest()) for _ in range(2)]
    set_id = knowledge.save_constraint_set(lab.run_id, 1, [cap()], [led(f) for f in failures])
    found = knowledge.provenance(constraint_set_id=set_id, constraint_id="c1")
    assert {each.failure_id for each in found} == set(failures)
    assert {each.created_at_iteration for each in found} == {1}
    assert {each.mapping_rule for each in found} == {"repeat>=3"}
    assert knowledge.provenance(failure_id=failures[0])[0].id != found[1].id or len(found) == 2


@pytest.mark.requirement("KB-26", api="KnowledgeStore.save_constraint_set")
def test_provenance_of_what_does_not_exist_is_refused(lab, knowledge, keep) -> None:
    failure_id = lab.failure(lab.backtest())
    with pytest.raises(InvalidReference, match=r"constraint_provenance.*'elsewhere'"):
        knowledge.save_constraint_set(lab.run_id, 1, [cap()], [led(failure_id, "elsewhere")])
    with pytest.raises(InvalidReference, match=r"constraint_provenance\.failure_id.*'no one'"):
        knowledge.save_constraint_set(lab.run_id, 1, [cap()], [led("no one")])
    assert knowledge.constraint_sets() == []
    assert keep.table(Constraint).count() == keep.table(ConstraintProvenance).count() == 0


@pytest.mark.requirement("KB-38", api="KnowledgeStore.constraints_without_provenance")
def test_no_provenance_goes_missing(lab, knowledge) -> None:
    failure_id = lab.failure(lab.backtest())
    with pytest.raises(InvalidValue, match="missing, though it is derived from a failure"):
        knowledge.save_constraint_set(lab.run_id, 1, [cap(derived_from_type="failure")])
    derived = cap(derived_from_type="failure", derived_from_id=failure_id)
    set_id = knowledge.save_constraint_set(lab.run_id, 1, [derived])
    (made,) = knowledge.provenance(constraint_set_id=set_id)
    assert (made.failure_id, made.mapping_rule) == (failure_id, "derived_from")
    about = ConstraintSet(base_constraint_set_id=set_id)
    next_id = knowledge.save_constraint_set(lab.run_id, 1, [derived], constraint_set=about)
    assert knowledge.constraints(next_id)[0].origin_set_id == set_id
    assert knowledge.provenance(constraint_set_id=next_id) == []  # the base has it
    assert knowledge.constraints_without_provenance() == []


@pytest.mark.requirement("KB-38")
def test_a_constraint_that_lost_its_provenance_is_found(lab, knowledge, keep) -> None:
    failure_id = lab.failure(lab.backtest())
    derived = cap(derived_from_type="failure", derived_from_id=failure_id)
    set_id = knowledge.save_constraint_set(lab.run_id, 1, [derived, cap("c2")])
    (proof,) = knowledge.provenance(constraint_set_id=set_id)
    keep.commit(keep.table(ConstraintProvenance).delete(proof.id))
    assert [c.constraint_id for c in knowledge.constraints_without_provenance()] == ["c1"]


@pytest.mark.requirement("KB-43", api="ConstraintWarning")
@pytest.mark.parametrize("scope", ["risk", "execution", "data"])
def test_an_inactive_safeguard_is_warned_of(knowledge, scope) -> None:
    asleep = cap(status="INACTIVE", scope=scope)
    with pytest.warns(ConstraintWarning, match=f"'c1'.*INACTIVE.*{scope}"):
        set_id = knowledge.save_constraint_set(None, None, [asleep])
    assert len(knowledge.constraint_set(set_id).warnings) == 1


@pytest.mark.requirement("KB-43")
def test_an_inactive_rule_of_style_is_not_warned_of(knowledge) -> None:
    set_id = knowledge.save_constraint_set(None, None, [cap(status="INACTIVE")])
    assert knowledge.constraint_set(set_id).warnings == []


def test_a_set_saved_again_is_one_and_another_under_its_id_is_refused(lab, knowledge) -> None:
    failure_id = lab.failure(lab.backtest())
    about = ConstraintSet(constraint_set_id="cs")

    def save(*constraints: Constraint, proofs=(), **changed) -> str:
        said = about.replace(**changed)
        return knowledge.save_constraint_set(
            lab.run_id, 1, constraints, proofs, constraint_set=said
        )

    assert save(cap(), proofs=[led(failure_id)]) == "cs"
    knowledge.set_constraint_set_state("cs", "ARCHIVED")
    assert save(cap(), proofs=[led(failure_id)], state="ARCHIVED") == "cs"
    for other in ([cap(), cap("c2")], [cap(priority=1)], []):
        with pytest.raises(AlreadyExists, match=r"constraint_sets 'cs'.*constraints_hash"):
            save(*other, proofs=[], state="ARCHIVED")
    assert len(knowledge.constraints("cs")) == len(knowledge.provenance()) == 1


@pytest.mark.requirement("KB-10", api="KnowledgeStore.base_chain")
def test_a_chain_of_bases_is_followed_to_its_first(lab, knowledge) -> None:
    ids: list[str] = []
    for n in range(4):
        about = ConstraintSet(
            constraint_set_id=f"cs-{n}", base_constraint_set_id=ids[-1] if ids else None
        )
        constraints = [cap(f"c{k}") for k in range(n + 1)]
        ids.append(knowledge.save_constraint_set(lab.run_id, 1, constraints, constraint_set=about))
    chain = knowledge.base_chain("cs-3")
    assert [each.constraint_set_id for each in chain] == ["cs-3", "cs-2", "cs-1", "cs-0"]
    origins = [each.origin_set_id for each in knowledge.constraints("cs-3")]
    assert origins == ["cs-0", "cs-1", "cs-2", "cs-3"]
    continued = knowledge.constraint_sets(base_constraint_set_id="cs-1")
    assert [each.constraint_set_id for each in continued] == ["cs-2"]
    with pytest.raises(NotFound):
        knowledge.base_chain("cs-9")


def test_a_base_is_stored_and_is_another_set(knowledge) -> None:
    with pytest.raises(InvalidReference, match="constraint_sets"):
        knowledge.save_constraint_set(
            None, None, [], constraint_set=ConstraintSet(base_constraint_set_id="nowhere")
        )
    itself = ConstraintSet(constraint_set_id="a", base_constraint_set_id="a")
    with pytest.raises(InvalidValue, match="is the set itself"):
        knowledge.save_constraint_set(None, None, [], constraint_set=itself)
