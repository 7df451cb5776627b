"""What must hold before a strategy moves up (KB-16)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from quantkeep.errors import Conflict, InvalidValue
from quantkeep.knowledge.records import Backtest, PromotionRecord, Score


class PromotionEvidenceMissing(InvalidValue):
    """A promotion without the evidence that it needs."""

    code: ClassVar[str] = "PROMOTION_EVIDENCE_MISSING"


class PromotionPolicyMismatch(Conflict):
    """A decision under other policies than its results were made by."""

    code: ClassVar[str] = "PROMOTION_POLICY_MISMATCH"


def check_evidence(decision: PromotionRecord, scores: Sequence[Score]) -> None:
    """A strategy is promoted on passed gates, each with evidence, and on a score that is stored.

    Raises:
        PromotionEvidenceMissing: something of it is missing; names it.
    """
    for name, path in decision.evidence_refs.items():
        if not path:
            raise _missing(f"evidence_refs.{name}", path, "a path")
    if decision.decision != "PROMOTE":
        return
    failed = [name for name, passed in decision.gates.items() if passed is not True]
    if failed or not decision.gates:
        which = f"gates.{failed[0]}" if failed else "gates"
        raise _missing(which, decision.gates, "gates, all of them passed")
    unproved = [name for name in decision.gates if name not in decision.evidence_refs]
    if unproved:
        raise _missing(f"evidence_refs.{unproved[0]}", None, "the path of the gate's evidence")
    if not scores:
        raise _missing("score_total", decision.score_total, "a score of the strategy, stored")
    if decision.score_total not in [score.score_total for score in scores]:
        raise _missing("score_total", decision.score_total, "a score_total that is stored")


def _missing(field: str, value: Any, expected: str) -> PromotionEvidenceMissing:
    return PromotionEvidenceMissing(
        PromotionEvidenceMissing.code,
        record="PromotionRecord", field=field, value=value, expected=expected,
    )  # fmt: skip


def check_policies(
    decision: PromotionRecord, scores: Sequence[Score], backtests: Sequence[Backtest]
) -> None:
    """The policies of a decision are those that the results behind it were made by.

    Those results are the scores of that ``score_total``, if there are any, or else all of the
    strategy in that iteration. Policies that nobody recorded are not compared.

    Raises:
        PromotionPolicyMismatch: one differs; names both.
    """
    meant = [s for s in scores if s.score_total == decision.score_total] or scores
    behind = {score.backtest_id for score in meant}
    models = [b.model_versions for b in backtests if not behind or b.backtest_id in behind]
    used = [{"score": score.policy_version} for score in meant] + [*models]
    for policy, version in decision.policy_versions.items():
        _check_policy(policy, version, used)


def _check_policy(policy: str, version: Any, used: Sequence[Mapping[str, Any]]) -> None:
    recorded = [each[policy] for each in used if policy in each]
    if recorded and version not in recorded:
        raise PromotionPolicyMismatch(
            f"{PromotionPolicyMismatch.code}: PromotionRecord.policy_versions.{policy} is "
            f"{version!r}, but the results were made under {recorded[0]!r}: score them again "
            "under that policy, or decide under theirs"
        )
