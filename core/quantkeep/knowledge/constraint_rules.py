"""What holds of a whole set of constraints (KB-43), and sets as JSON documents (KB-40, KB-41).

Scope, type, priority and parameters are looked at as each constraint is made.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from quantkeep.errors import InvalidValue
from quantkeep.knowledge.records import Constraint, ConstraintSet

SAFEGUARDS: Final = ("risk", "execution", "data")
SET_FIELDS: Final = (
    "constraint_set_id",
    "base_constraint_set_id",
    "source",
    "priority_policy",
    "state",
    "policy_version",
)
CONSTRAINT_FIELDS: Final = (
    "constraint_id",
    "status",
    "scope",
    "type",
    "params",
    "priority",
    "severity",
    "applies_to",
    "notes",
)


class ConstraintWarning(UserWarning):
    """A set of constraints is valid, but somebody should look at it."""


def validate(constraints: Sequence[Constraint]) -> list[str]:
    """Hold the constraints of one set against each other; what to warn of.

    Raises:
        InvalidValue: two have the same id.
    """
    counted = Counter(each.constraint_id for each in constraints)
    twice = [constraint_id for constraint_id, count in counted.items() if count > 1]
    if twice:
        raise InvalidValue(
            f"{twice[0]!r} stands {counted[twice[0]]} times in the set",
            record="Constraint", field="constraint_id", value=twice[0],
            expected="ids that are unique within their set",
        )  # fmt: skip
    return [
        f"constraint {each.constraint_id!r} ({each.type}) is INACTIVE: it guards {each.scope}"
        for each in constraints
        if each.status == "INACTIVE" and each.scope in SAFEGUARDS
    ]


def from_document(document: Mapping[str, Any]) -> tuple[ConstraintSet, list[Constraint]]:
    """A set and its constraints out of a document of the shape of KB-40 and KB-41.

    What the records have no field for is kept in their ``details``.

    Raises:
        InvalidValue: something is missing, unknown or out of range; names the field.
    """
    said = dict(document)
    constraints = [_constraint(dict(each)) for each in said.pop("constraints", ())]
    said["state"] = said.pop("status", said.get("state", "ACTIVE"))
    known = {name: said.pop(name) for name in SET_FIELDS if said.get(name) is not None}
    schema = said.pop("schema_version", None)
    return ConstraintSet(**known, document_schema=schema, details=said or None), constraints


def _constraint(said: dict[str, Any]) -> Constraint:
    if "id" in said:
        said["constraint_id"] = said.pop("id")
    derived = dict(said.pop("derived_from", None) or {})
    known = {name: said.pop(name) for name in CONSTRAINT_FIELDS if said.get(name) is not None}
    return Constraint(
        **known,
        derived_from_type=derived.get("type"),
        derived_from_id=derived.get("id"),
        evidence_refs=derived.get("evidence_refs"),
        details=said or None,
    )


def to_document(constraint_set: ConstraintSet, constraints: Sequence[Constraint]) -> dict[str, Any]:
    """The document of a set, in the shape of KB-40 and KB-41."""
    of = constraint_set
    created = of.envelope.created_at if of.envelope else None
    return {
        **(of.details or {}),
        **{name: getattr(of, name) for name in SET_FIELDS if name != "state"},
        "schema_version": of.document_schema,
        "created_at": created,
        "status": of.state,
        "constraints": [_described(each) for each in constraints],
    }


def _described(constraint: Constraint) -> dict[str, Any]:
    said = {name: getattr(constraint, name) for name in CONSTRAINT_FIELDS}
    said["id"] = said.pop("constraint_id")
    derived = {
        "type": constraint.derived_from_type,
        "id": constraint.derived_from_id,
        "evidence_refs": constraint.evidence_refs,
    }
    return {**(constraint.details or {}), **said, "derived_from": derived}
