"""From failures to constraints to results, and back (KB-0, KB-21)."""

from uuid import UUID

from quantkeep.knowledge._constraints import Constraints
from quantkeep.knowledge._outcomes import IterationOutcomes
from quantkeep.knowledge._runs import Runs
from quantkeep.knowledge.answers import (
    AppliedIn,
    DrawnConstraint,
    Effectiveness,
    FailureLineage,
    SetLineage,
)
from quantkeep.knowledge.records import (
    Constraint,
    ConstraintProvenance,
    Failure,
    Iteration,
)
from quantkeep.query import Where

METRIC = "sharpe_net"  # what results are shown by, unless another metric is asked for


class Lineage(IterationOutcomes, Constraints, Runs):
    """Questions that follow references."""

    def lineage(self, failure_id: str, *, metric: str = METRIC) -> FailureLineage:
        """What a failure led to: constraints, sets, the iterations that applied them, results.

        Raises:
            NotFound: the failure is not stored.
            InvalidQuery: no stored backtest has the *metric*; says which there are.
        """
        failure = self._fetch(Failure, failure_id)
        drawn = [self._drawn(each, metric) for each in self.provenance(failure_id=failure_id)]
        if not any(applied.figures.measured for each in drawn for applied in each.applied_in):
            self._known(metric)
        return FailureLineage(failure=failure, constraints=tuple(drawn))

    def _drawn(self, provenance: ConstraintProvenance, metric: str) -> DrawnConstraint:
        key = (provenance.constraint_set_id, provenance.constraint_id)
        constraint = self._fetch(Constraint, *key)
        sets = self._carrying(constraint)
        applied = self.table(Iteration).list(Where("constraint_set_id_applied", "in", sets))
        keys = [_key(each) for each in applied]
        gave = self._outcomes(keys, metric)
        pruned = self._pruned_by(constraint.constraint_id, keys)
        return DrawnConstraint(
            provenance=provenance,
            constraint=constraint,
            carried_by=sets,
            applied_in=tuple(
                AppliedIn(
                    iteration=each,
                    figures=gave.together([key]),
                    pruned_by_it=pruned.get(key, 0),
                )
                for each, key in zip(applied, keys, strict=True)
            ),
        )

    def _carrying(self, constraint: Constraint) -> tuple[str, ...]:
        """Ids of the sets that have *constraint*, the one it was first in before the others."""
        same = (
            Where("origin_set_id", "==", constraint.origin_set_id),
            Where("constraint_id", "==", constraint.constraint_id),
        )
        found = self.table(Constraint).list(*same, order=("created_at",))
        sets = [each.constraint_set_id for each in found]
        return tuple(sorted(sets, key=lambda set_id: set_id != constraint.origin_set_id))

    def set_lineage(self, constraint_set_id: str, *, metric: str = METRIC) -> SetLineage:
        """Where a constraint set comes from, and what its iterations gave.

        Raises:
            NotFound: the set is not stored.
            InvalidQuery: no stored backtest has the *metric*; says which there are.
        """
        chain = self.base_chain(constraint_set_id)
        applied = self.iterations(constraint_set_id=constraint_set_id)
        gave = self._outcomes(map(_key, applied), metric)
        if not any(outcome.measured for outcome in gave.of.values()):
            self._known(metric)
        return SetLineage(
            chain=tuple(chain),
            constraints=tuple(
                (each, tuple(self._origin(each))) for each in self.constraints(constraint_set_id)
            ),
            applied_in=tuple((each, gave.together([_key(each)])) for each in applied),
        )

    def _origin(self, constraint: Constraint) -> list[ConstraintProvenance]:
        return self.provenance(
            constraint_set_id=constraint.origin_set_id, constraint_id=constraint.constraint_id
        )

    def effectiveness(self, constraint_set_id: str, *, metric: str = METRIC) -> Effectiveness:
        """A metric under a constraint set, and just before it, in every run that applied it.

        Before are the iterations directly ahead of the first that applied the set, as far back as
        they had one and the same set, or none.

        Raises:
            NotFound: the set is not stored.
            InvalidQuery: no stored backtest has the *metric*; says which there are.
        """
        self.constraint_set(constraint_set_id)
        after = [_key(each) for each in self.iterations(constraint_set_id=constraint_set_id)]
        first: dict[UUID, int] = {}
        for run_id, number in after:
            first[run_id] = min(number, first.get(run_id, number))
        before = [key for run_id, number in first.items() for key in self._ahead(run_id, number)]
        gave = self._outcomes([*before, *after], metric)
        if not any(outcome.measured for outcome in gave.of.values()):
            self._known(metric)
        return Effectiveness(
            constraint_set_id=constraint_set_id,
            metric=metric,
            before=gave.together(before, self._median(before, metric)),
            after=gave.together(after, self._median(after, metric)),
        )

    def _ahead(self, run_id: UUID, number: int) -> list[tuple[UUID, int]]:
        earlier = self.table(Iteration).list(
            Where("run_id", "==", run_id), Where("iteration_id", "<", number)
        )
        block: list[Iteration] = []
        for each in reversed(earlier):
            applied = each.constraint_set_id_applied
            if block and applied != block[0].constraint_set_id_applied:
                break
            block.append(each)
        return [_key(each) for each in reversed(block)]


def _key(iteration: Iteration) -> tuple[UUID, int]:
    return iteration.run_id, iteration.iteration_id
