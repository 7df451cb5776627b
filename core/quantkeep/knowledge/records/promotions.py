"""Decisions to promote a strategy from tier to tier (KB-16)."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from quantkeep.collection import Reference
from quantkeep.knowledge.records.strategies import Tier
from quantkeep.knowledge.records.versions import Versioned, placed
from quantkeep.records import field, record


@record(
    "promotion_records",
    key=("promotion_id",),
    stream=("run_id",),
    indexes=[("decision", "template_id")],
    references=[Reference(("run_id", "iteration_id"), "iterations")],
)
class PromotionRecord(Versioned):
    """Whether a strategy moved up, by which gates, on what evidence, under which policies."""

    promotion_id: str = placed("given, or made from the content")
    run_id: UUID
    iteration_id: int
    strategy_id: str = field(index=True, references="strategies")
    template_id: str | None = placed("template of the strategy", references="templates")
    from_tier: Tier
    to_tier: Tier
    decision: Literal["PROMOTE", "HOLD", "REJECT"]
    score_total: float | None = None
    gates: dict[str, bool] = field(factory=dict, doc="name of a gate: whether it was passed")
    evidence_refs: dict[str, str] = field(factory=dict, doc="name of a gate or file: its path")
    policy_versions: dict[str, Any] = field(factory=dict, doc="score, exec, cost and pf")
    timestamp: datetime
    approved_by: str | None = None
    approved_at: datetime | None = None
