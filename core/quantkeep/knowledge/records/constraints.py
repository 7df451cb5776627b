"""Constraint sets, their constraints, and the failures they were drawn from (KB-10, KB-11)."""

from typing import Any, Literal
from uuid import UUID

from quantkeep.collection import Reference
from quantkeep.knowledge.constraint_types import STANDARD, check_params
from quantkeep.knowledge.records.versions import Versioned, placed
from quantkeep.records import field, record

Scope = Literal["generator", "portfolio", "execution", "risk", "data"]


@record(
    "constraint_sets",
    key=("constraint_set_id",),
    indexes=[("run_id", "created_at_iteration")],
    references=[Reference(("run_id", "created_at_iteration"), "iterations")],
)
class ConstraintSet(Versioned):
    """Constraints that an iteration applies together (KB-10, KB-40)."""

    constraint_set_id: str = placed("given, or made")
    run_id: UUID | None = field(default=None, references="runs", doc="run it was drawn up in")
    created_at_iteration: int | None = field(default=None, doc="iteration it was drawn up in")
    base_constraint_set_id: str | None = field(
        default=None, index=True, references="constraint_sets", doc="set that it continues"
    )
    source: Literal["baseline", "analyzer", "user", "system"] = "analyzer"
    priority_policy: Literal["FAILSAFE_FIRST", "MOST_RECENT_WINS", "HIGHEST_PRIORITY_WINS"] = (
        "FAILSAFE_FIRST"
    )
    state: Literal["ACTIVE", "ARCHIVED"] = field(default="ACTIVE", index=True)
    constraints_hash: str = placed("hash of its constraints and their provenance")
    warnings: list[str] = field(factory=list, doc="what the validators had to say (KB-43)")
    details: dict[str, Any] | None = field(default=None, doc="what else the source says")


@record(
    "constraints",
    key=("constraint_set_id", "constraint_id"),
    immutable=True,
    indexes=[("origin_set_id", "constraint_id"), ("derived_from_id",)],
)
class Constraint(Versioned):
    """One rule of a set (KB-41). Its id is unique within its set only (Z-63).

    Raises:
        InvalidValue: a parameter that its type requires is missing or of another kind.
    """

    constraint_set_id: str = placed("its set", references="constraint_sets")
    constraint_id: str
    position: int = placed("place in the set, from 0")
    origin_set_id: str = placed("set of the base chain that first had it")
    status: Literal["ACTIVE", "INACTIVE", "DEPRECATED"] = "ACTIVE"
    scope: Scope = placed("given, or the scope its type has")
    type: str = field(choices=tuple(STANDARD), extensible=True, index=True)
    params: dict[str, Any] = field(factory=dict, doc="see the type in constraint_types")
    priority: int = field(default=50, between=(0, 100), doc="0 to 100, greatest first")
    severity: Literal["INFO", "WARN", "ERROR", "CRITICAL"] = "WARN"
    applies_to: dict[str, Any] | None = field(
        default=None,
        doc="asset_class, regions, symbols, sectors, strategy_families, template_ids",
    )
    derived_from_type: Literal["failure", "scenario", "user", "baseline"] | None = None
    derived_from_id: str | None = field(default=None, doc="failure, scenario ... it comes from")
    evidence_refs: list[str] | None = None
    notes: str | None = None
    details: dict[str, Any] | None = field(default=None, doc="what else the source says")

    def __attrs_post_init__(self) -> None:
        check_params(self.type, self.params, self.constraint_id)
        if self.scope is None and self.type in STANDARD:
            object.__setattr__(self, "scope", STANDARD[self.type].scope)


@record(
    "constraint_provenance",
    key=("id",),
    immutable=True,
    unique=[("constraint_set_id", "constraint_id", "failure_id", "mapping_rule")],
    references=[Reference(("constraint_set_id", "constraint_id"), "constraints")],
)
class ConstraintProvenance(Versioned):
    """This failure led to that constraint, by this rule. Both ends exist (KB-26)."""

    id: str = placed("given, or made from the content")
    constraint_set_id: str = placed("set that the constraint is in")
    constraint_id: str
    failure_id: str = field(index=True, references="failures")
    mapping_rule: str | None = None
    created_at_iteration: int | None = placed("iteration the set was drawn up in")
