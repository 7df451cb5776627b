"""Failures, with their evidence and tags (KB-9, KB-19, KB-25)."""

from typing import Any, Literal
from uuid import UUID

from quantkeep.collection import Reference
from quantkeep.errors import InvalidValue
from quantkeep.knowledge.records.versions import Versioned, placed
from quantkeep.records import Record, field, record

State = Literal["OPEN", "CONFIRMED", "RESOLVED", "DEPRECATED"]


@record(
    "failures",
    key=("failure_id",),
    stream=("run_id",),
    # each holds all that a ranking asks for
    indexes=[("category", "created_at"), ("run_id", "iteration_id", "category")],
)
class Failure(Versioned):
    """What went wrong in a backtest. It has evidence, in a file or here (Z-62).

    Without an id it gets one made from its content, so that saving it again adds nothing.
    """

    failure_id: str = placed("given, or made from the content")
    backtest_id: str = placed("the backtest", index=True, references="backtests")
    run_id: UUID = placed("its run")
    iteration_id: int = placed("its iteration")
    strategy_id: str = placed("its strategy", index=True)
    category: str = field(doc="MAX_DRAWDOWN, ENGINE_ERROR ...")
    tags: list[str] = field(factory=list)
    severity: str = field(
        default="medium",
        index=True,
        choices=("low", "medium", "high", "critical"),
        extensible=True,
    )
    confidence: float | None = field(default=None, between=(0, 1), doc="0 to 1")
    summary: str
    evidence_pack_path: str | None = field(default=None, doc="path of the evidence")
    evidence: dict[str, Any] | None = field(default=None, doc="the evidence itself")
    state: State = field(default="OPEN", index=True)

    def __attrs_post_init__(self) -> None:
        if not self.evidence_pack_path and not self.evidence:
            raise InvalidValue(
                "a failure without evidence is an opinion",
                record="Failure", field="evidence", value=self.evidence,
                expected="evidence_pack_path, or evidence with at least one entry",
            )  # fmt: skip
        tags: Any = self.tags
        if type(tags) is not list or not all(type(tag) is str and tag for tag in tags):
            raise InvalidValue(
                f"cannot be {tags!r}",
                record="Failure", field="tags", value=tags, expected="a list of texts",
            )  # fmt: skip


@record(
    "failure_tags",
    key=("failure_id", "tag"),
    stream=("run_id",),
    immutable=True,
    indexes=[("tag", "created_at"), ("category", "tag")],
    references=[Reference(("failure_id",), "failures", on_delete="cascade")],
)
class FailureTag(Record):
    """One tag of one failure, a row of its own so that every engine can count them (KB-19)."""

    failure_id: str
    tag: str
    category: str
    run_id: UUID
