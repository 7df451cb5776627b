"""Promotions: evidence and policies."""

from datetime import UTC, datetime

import pytest

from quantkeep import Conflict, InvalidValue
from quantkeep.errors import AlreadyExists, InvalidReference
from quantkeep.knowledge import (
    PromotionEvidenceMissing,
    PromotionPolicyMismatch,
    PromotionRecord,
    Template,
)

POLICIES = {"score": "score_v1", "cost": "c1", "exec": "e1", "pf": "p1"}


@pytest.fixture
def decision(lab, knowledge) -> PromotionRecord:
    """A promotion with nothing missing; the result it rests on is stored."""
    knowledge.save_template(Template(template_id="SmaCross"))
    strategy_id = lab.strategy(template_id="SmaCross", created_from="SmaCross")
    lab.result(strategy_id=strategy_id, score=0.8, sharpe_net=1.2)
    return PromotionRecord(
        run_id=lab.run_id, iteration_id=1, strategy_id=strategy_id, from_tier="T1", to_tier="T2",
        decision="PROMOTE", score_total=0.8, gates={"oos": True, "cost": True},
        evidence_refs={"oos": "e/oos.json", "cost": "e/cost.json"}, policy_versions=POLICIES,
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.requirement("KB-16", api="KnowledgeStore.save_promotion")
def test_a_promotion_comes_back_as_it_went_in(decision, knowledge) -> None:
    promotion_id = knowledge.save_promotion(decision)
    assert knowledge.save_promotion(decision) == promotion_id
    found = knowledge.promotion(promotion_id)
    said = {name: v for name, v in decision.as_dict().items() if v is not None}
    assert {name: getattr(found, name) for name in said} == said
    assert found.template_id == "SmaCross"
    at = datetime(2026, 1, 2, tzinfo=UTC)
    knowledge.approve_promotion(promotion_id, approved_by="marv", approved_at=at)
    approved = knowledge.promotion(promotion_id)
    assert (approved.approved_by, approved.approved_at) == ("marv", at)
    assert knowledge.save_promotion(decision) == promotion_id
    assert knowledge.promotions(to_tier="T2", decision="PROMOTE") == [approved]
    with pytest.raises(AlreadyExists, match="gates"):
        knowledge.save_promotion(decision.replace(gates={"oos": True}))


@pytest.mark.requirement("KB-16", api="PromotionEvidenceMissing")
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"gates": {}}, "gates"),
        ({"gates": {"oos": False, "cost": True}}, "gates.oos"),
        ({"evidence_refs": {"oos": "e/oos.json"}}, "evidence_refs.cost"),
        ({"evidence_refs": {"oos": "", "cost": "x"}}, "evidence_refs.oos"),
        ({"score_total": None}, "score_total"),
        ({"score_total": 0.81}, "score_total"),
    ],
)
def test_a_promotion_without_evidence_is_refused(decision, knowledge, wrong, field) -> None:
    with pytest.raises(PromotionEvidenceMissing, match="PROMOTION_EVIDENCE_MISSING") as refused:
        knowledge.save_promotion(decision.replace(**wrong))
    assert isinstance(refused.value, InvalidValue)
    assert (refused.value.record, refused.value.field) == ("PromotionRecord", field)
    assert refused.value.code == "PROMOTION_EVIDENCE_MISSING"
    assert knowledge.promotions() == []


@pytest.mark.requirement("KB-16")
def test_a_strategy_without_a_score_cannot_be_promoted(decision, lab, knowledge) -> None:
    with pytest.raises(PromotionEvidenceMissing):
        knowledge.save_promotion(decision.replace(strategy_id=lab.strategy()))
    with pytest.raises(InvalidReference, match="strategies"):
        knowledge.save_promotion(decision.replace(strategy_id="nobody"))


@pytest.mark.requirement("KB-16", api="PromotionPolicyMismatch")
@pytest.mark.parametrize("policy", ["score", "cost", "exec", "pf"])
def test_a_decision_under_other_policies_than_its_results_is_refused(
    decision, knowledge, policy
) -> None:
    for verdict in ("PROMOTE", "HOLD", "REJECT"):
        other = decision.replace(decision=verdict, policy_versions={**POLICIES, policy: "v9"})
        with pytest.raises(PromotionPolicyMismatch, match=rf"{policy} is 'v9'") as refused:
            knowledge.save_promotion(other)
        assert isinstance(refused.value, Conflict)
        assert refused.value.code == "PROMOTION_POLICY_MISMATCH"


@pytest.mark.requirement("KB-16")
@pytest.mark.parametrize("verdict", ["HOLD", "REJECT"])
def test_to_hold_or_to_reject_needs_no_evidence(decision, knowledge, verdict) -> None:
    held = decision.replace(decision=verdict, gates={"oos": False}, evidence_refs={})
    assert knowledge.promotion(knowledge.save_promotion(held)).gates == {"oos": False}


@pytest.mark.requirement("KB-16", "X-5")
@pytest.mark.parametrize("field", ["from_tier", "to_tier", "decision"])
def test_tiers_and_decisions_are_those_there_are(decision, knowledge, field) -> None:
    with pytest.raises(InvalidValue, match=rf"PromotionRecord\.{field}"):
        knowledge.save_promotion(decision.replace(**{field: "T9"}))


@pytest.mark.requirement("KB-21", api="KnowledgeStore.promoted_templates")
def test_promoted_templates_are_counted(decision, knowledge, lab) -> None:
    later = datetime(2026, 2, 1, tzinfo=UTC)
    knowledge.save_promotion(decision)
    knowledge.save_promotion(decision.replace(timestamp=later))
    knowledge.save_promotion(decision.replace(from_tier="T2", to_tier="T3"))
    knowledge.save_promotion(decision.replace(decision="HOLD", to_tier="T4"))
    counted = [(t.template_id, t.to_tier, t.count) for t in knowledge.promoted_templates()]
    assert counted == [("SmaCross", "T2", 2), ("SmaCross", "T3", 1)]
    (first,) = knowledge.promoted_templates(1)
    assert first.last_at == later
