"""Keeping decisions to promote strategies."""

from datetime import datetime
from uuid import UUID, uuid5

from quantkeep.batch import Receipt
from quantkeep.knowledge._rules import IDS, Rules
from quantkeep.knowledge.promotion_rules import check_evidence, check_policies
from quantkeep.knowledge.records import Backtest, PromotionRecord, Score, Strategy
from quantkeep.query import where
from quantkeep.store import PendingBatch


class Promotions(Rules):
    """Promotion records."""

    def save_promotion(
        self,
        decision: PromotionRecord,
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> str:
        """Store a decision; its id (KB-16). The same again adds nothing.

        Its evidence and policies are held against the scores and backtests of the strategy in that
        iteration, as they are stored: save those first, not in the same batch.

        Raises:
            PromotionEvidenceMissing: a PROMOTE without a passed gate, a gate without a path, or
                without a stored score of that total.
            PromotionPolicyMismatch: made under other policies than the results were.
            InvalidReference: the iteration or the strategy is not stored.
            AlreadyExists: another decision has its id.
        """
        strategy = self._referred(PromotionRecord, Strategy, decision.strategy_id, batch=batch)
        behind = where(
            run_id=decision.run_id,
            iteration_id=decision.iteration_id,
            strategy_id=decision.strategy_id,
        )
        scores = self.table(Score).list(*behind)
        check_evidence(decision, scores)
        check_policies(decision, scores, self.table(Backtest).list(*behind))
        promotion_id = decision.promotion_id or _id_of(decision)
        known = decision.replace(promotion_id=promotion_id, template_id=strategy.template_id)
        self._add(known, moving=("approved_by", "approved_at"), op_id=op_id, batch=batch)
        return promotion_id

    def approve_promotion(
        self,
        promotion_id: str,
        *,
        approved_by: str,
        approved_at: datetime,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Record who approved a decision, and when; raises :class:`NotFound`."""
        changes = {"approved_by": approved_by, "approved_at": approved_at}
        return self._change(
            PromotionRecord, promotion_id, changes=changes, op_id=op_id, batch=batch
        )

    def promotion(self, promotion_id: str) -> PromotionRecord:
        """The decision; raises :class:`NotFound`."""
        return self._fetch(PromotionRecord, promotion_id)

    def promotions(
        self,
        *,
        run_id: UUID | None = None,
        strategy_id: str | None = None,
        decision: str | None = None,
        to_tier: str | None = None,
        limit: int | None = None,
    ) -> list[PromotionRecord]:
        """Decisions, latest first."""
        asked = where(run_id=run_id, strategy_id=strategy_id, decision=decision, to_tier=to_tier)
        return self.table(PromotionRecord).list(*asked, order=("-timestamp",), limit=limit)


def _id_of(decision: PromotionRecord) -> str:
    """One strategy is decided on once at one instant, from tier to tier."""
    said = (
        str(decision.run_id),
        decision.iteration_id,
        decision.strategy_id,
        decision.from_tier,
        decision.to_tier,
        decision.timestamp.isoformat(),
    )
    return str(uuid5(IDS, f"promotion/{said!r}"))
