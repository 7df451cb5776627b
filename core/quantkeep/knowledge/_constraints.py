"""Keeping constraint sets, with their constraints and the failures these come from."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from quantkeep.batch import Put, Receipt
from quantkeep.collection import Reference
from quantkeep.contract import dangling
from quantkeep.errors import Corrupt, InvalidValue
from quantkeep.knowledge._rules import IDS, Rules
from quantkeep.knowledge.constraint_rules import ConstraintWarning, to_document, validate
from quantkeep.knowledge.records import (
    Constraint,
    ConstraintProvenance,
    ConstraintSet,
    Failure,
)
from quantkeep.knowledge.strategy_ids import content_hash
from quantkeep.query import Exists, Where, where
from quantkeep.store import PendingBatch

Provenances = list[ConstraintProvenance]


class Constraints(Rules):
    """Constraint sets, constraints, provenance."""

    def save_constraint_set(
        self,
        run_id: UUID | None,
        iteration_id: int | None,
        constraints: Sequence[Constraint],
        provenance: Iterable[ConstraintProvenance] = (),
        *,
        constraint_set: ConstraintSet | None = None,
        created_at: datetime | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> str:
        """Store a set, its constraints and their provenance, all or nothing; its id (KB-32, Z-63).

        A constraint derived from a failure has its provenance: given here, made from its
        ``derived_from_id``, or that of the base set it is carried on from (KB-38).

        *run_id* and *iteration_id* say where it was drawn up; a baseline of your own has none.
        *constraint_set* says its id, base, source and policy, where the defaults do not fit.
        Imports give *created_at*, when it was drawn up where it comes from.

        Warns:
            ConstraintWarning: a constraint that guards risk, execution or data is inactive.

        Raises:
            InvalidValue: two constraints have one id; one derived from a failure has no provenance.
            InvalidReference: provenance speaks of a constraint that is not in the set, or of a
                failure that is not stored; the base set, run or iteration is not stored.
            AlreadyExists: another set is stored under the id.
        """
        warned = validate(constraints)
        known = self._headed(constraint_set or ConstraintSet(), run_id, iteration_id, warned)
        known = known.replace(
            constraint_set_id=known.constraint_set_id or self._new_id("set", op_id, batch)
        )
        placed = self._placed(known, constraints, batch)
        proved = self._proved(known, placed, [*provenance], batch)
        for said in warned:
            warnings.warn(said, ConstraintWarning, stacklevel=2)
        members = [self._put(each, created_at=created_at) for each in (*placed, *proved)]
        hashed = known.replace(constraints_hash=_hash_of(members))
        self._add(hashed, *members, created_at=created_at, op_id=op_id, batch=batch)
        return known.constraint_set_id

    def _headed(
        self,
        given: ConstraintSet,
        run_id: UUID | None,
        iteration_id: int | None,
        warned: list[str],
    ) -> ConstraintSet:
        base = given.base_constraint_set_id
        if base is not None and base == given.constraint_set_id:
            raise InvalidValue(
                "is the set itself",
                record="ConstraintSet", field="base_constraint_set_id", value=base,
                expected="a set that was stored before",
            )  # fmt: skip
        return given.replace(run_id=run_id, created_at_iteration=iteration_id, warnings=warned)

    def _placed(
        self,
        known: ConstraintSet,
        constraints: Sequence[Constraint],
        batch: PendingBatch | None,
    ) -> list[Constraint]:
        """The constraints in their set, each with the set of the base chain that first had it."""
        own, types = known.constraint_set_id, self.table(Constraint).collection.column("type")
        for each in constraints:
            types.canonical(each.type, record="Constraint")  # before its scope is missed
        return [
            each.replace(
                constraint_set_id=own,
                position=position,
                origin_set_id=before.origin_set_id if before else own,
            )
            for position, each in enumerate(constraints)
            for before in [self._carried(known, each.constraint_id, batch)]
        ]

    def _carried(
        self, known: ConstraintSet, constraint_id: str, batch: PendingBatch | None
    ) -> Constraint | None:
        base = known.base_constraint_set_id
        if base is None:
            return None
        return self._find(Constraint, base, constraint_id, batch=batch)

    # -- provenance --------------------------------------------------------------------------------

    def _proved(
        self,
        known: ConstraintSet,
        constraints: Sequence[Constraint],
        given: Provenances,
        batch: PendingBatch | None,
    ) -> Provenances:
        """The provenance of the set, made complete; raises if some is missing or dangles."""
        _check_within(known, constraints, given)
        led = {(each.constraint_id, each.failure_id) for each in given}
        explained = {constraint_id for constraint_id, _ in led}
        proved = [*given]
        for drawn in constraints:
            source = drawn.derived_from_id
            if (
                drawn.derived_from_type != "failure"
                or drawn.origin_set_id != known.constraint_set_id
            ):
                continue
            if source is None and drawn.constraint_id not in explained:
                raise _unexplained(drawn)
            if source is not None and (drawn.constraint_id, source) not in led:
                proved.append(_derived(drawn, source))
        for each in proved:
            self._referred(ConstraintProvenance, Failure, each.failure_id, batch=batch)
        return [_identified(each, known) for each in proved]

    def constraints_without_provenance(self) -> list[Constraint]:
        """Constraints drawn from failures that no failure is recorded for; none, if all is well."""
        proofs = self.table(ConstraintProvenance).collection
        own = (("constraint_set_id", "origin_set_id"), ("constraint_id", "constraint_id"))
        return self.table(Constraint).list(
            Where("derived_from_type", "==", "failure"), Exists(proofs, own, negate=True)
        )

    # -- changing ----------------------------------------------------------------------------------

    def set_constraint_set_state(
        self,
        constraint_set_id: str,
        state: Literal["ACTIVE", "ARCHIVED"],
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Archive a set, or make it active again; raises :class:`NotFound`."""
        return self._change(
            ConstraintSet, constraint_set_id, changes={"state": state}, op_id=op_id, batch=batch
        )

    # -- reading -----------------------------------------------------------------------------------

    def constraint_set(self, constraint_set_id: str) -> ConstraintSet:
        """The set, without its constraints; raises :class:`NotFound`."""
        return self._fetch(ConstraintSet, constraint_set_id)

    def constraint_sets(
        self,
        *,
        run_id: UUID | None = None,
        state: str | None = None,
        base_constraint_set_id: str | None = None,
    ) -> list[ConstraintSet]:
        """Sets, newest first."""
        asked = where(run_id=run_id, state=state, base_constraint_set_id=base_constraint_set_id)
        return self.table(ConstraintSet).list(*asked, order=("-created_at",))

    def constraints(self, constraint_set_id: str) -> list[Constraint]:
        """The constraints of a set, in its order."""
        own = Where("constraint_set_id", "==", constraint_set_id)
        return self.table(Constraint).list(own, order=("position",))

    def constraint_set_document(self, constraint_set_id: str) -> Mapping[str, Any]:
        """The set with its constraints as one document (SCHEMA-330); raises :class:`NotFound`."""
        found = self.constraint_set(constraint_set_id)
        return to_document(found, self.constraints(constraint_set_id))

    def provenance(
        self,
        *,
        constraint_set_id: str | None = None,
        constraint_id: str | None = None,
        failure_id: str | None = None,
    ) -> Provenances:
        """Which failure led to which constraint."""
        asked = where(
            constraint_set_id=constraint_set_id, constraint_id=constraint_id, failure_id=failure_id
        )
        order = ("constraint_set_id", "constraint_id", "failure_id")
        return self.table(ConstraintProvenance).list(*asked, order=order)

    def base_chain(self, constraint_set_id: str) -> list[ConstraintSet]:
        """The set, the set it continues, and so on to the first; raises :class:`NotFound`."""
        chain = [self.constraint_set(constraint_set_id)]
        while chain[-1].base_constraint_set_id is not None:
            base = self.constraint_set(chain[-1].base_constraint_set_id)
            if base in chain:
                raise Corrupt(
                    f"constraint set {constraint_set_id!r} is its own base, through "
                    f"{chain[-1].constraint_set_id!r}",
                    locator=f"constraint_sets{(base.constraint_set_id,)!r}",
                )
            chain.append(base)
        return chain


def _hash_of(members: Sequence[Put]) -> str:
    """One hash of all constraints and provenance, so that the same set is known again."""
    return content_hash([put.row.digest.hex() for put in members])


def _check_within(
    known: ConstraintSet, constraints: Sequence[Constraint], given: Provenances
) -> None:
    present = {each.constraint_id for each in constraints}
    for each in given:
        if each.constraint_id not in present:
            reference = Reference(("constraint_set_id", "constraint_id"), "constraints")
            key = (known.constraint_set_id, each.constraint_id)
            raise dangling(ConstraintProvenance.collection, reference, key)


def _unexplained(constraint: Constraint) -> InvalidValue:
    return InvalidValue(
        f"of {constraint.constraint_id!r} is missing, though it is derived from a failure",
        record="Constraint", field="derived_from_id",
        expected="the id of a failure, or provenance that names it",
    )  # fmt: skip


def _derived(constraint: Constraint, failure_id: str) -> ConstraintProvenance:
    return ConstraintProvenance(
        constraint_id=constraint.constraint_id, failure_id=failure_id, mapping_rule="derived_from"
    )


def _identified(each: ConstraintProvenance, known: ConstraintSet) -> ConstraintProvenance:
    """Under the id it brought, or one that follows from what it says."""
    said = (known.constraint_set_id, each.constraint_id, each.failure_id, each.mapping_rule)
    return each.replace(
        id=each.id or str(uuid5(IDS, f"provenance/{said!r}")),
        constraint_set_id=known.constraint_set_id,
        created_at_iteration=each.created_at_iteration or known.created_at_iteration,
    )
