"""The model: whatever is done, in whatever order, the memory backend says what must come of it."""

from math import isnan

from hypothesis import given, seed
from hypothesis.stateful import run_state_machine_as_test

from quantkeep import Keep, Query
from quantkeep.query import Tally
from quantkeep_conformance.clauses import Suite, broad
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.exactness import same
from quantkeep_conformance.machine import machine_of
from quantkeep_conformance.places import Place
from quantkeep_conformance.queries import ROWS, queries, tallies
from quantkeep_conformance.records import Specimen
from quantkeep_conformance.suites.helpers import put


class Model(Suite):
    """Everything at once: what no single clause thought of."""

    family = "model"

    @broad
    def test_histories(self, place: Place, effort: Effort, evidence: dict[str, object]) -> None:
        """Any history of commits, refusals, replays and reopenings gives what the model gives."""
        machine = machine_of(place, counts := {"steps": 0})
        run_state_machine_as_test(
            seed(effort.seed)(machine), settings=effort.settings(25, steps=25)
        )
        evidence.update(counts, seed=effort.seed)

    @broad
    def test_queries(self, keep: Keep, effort: Effort, evidence: dict[str, object]) -> None:
        """Any query gives what its evaluation in memory gives."""
        put(keep, *ROWS)
        table, backend = keep.table(Specimen), keep.backend
        rows = [*backend.scan(table.collection, Query())]

        @effort.examples(120)
        @given(queries())
        def check(query: Query) -> None:
            bound = query.bound(table.collection)
            wanted = [*bound.run(table.collection, rows)]
            assert same([*backend.scan(table.collection, query)], wanted)

        check()
        evidence["seed"] = effort.seed

    @broad
    def test_tallies(self, keep: Keep, effort: Effort, evidence: dict[str, object]) -> None:
        """Any tally gives what its evaluation in memory gives."""
        put(keep, *ROWS)
        table, backend = keep.table(Specimen), keep.backend
        rows = [*backend.scan(table.collection, Query())]

        @effort.examples(80)
        @given(tallies())
        def check(tally: Tally) -> None:
            wanted = tally.bound(table.collection).run(table.collection, rows)
            assert alike(backend.tally(table.collection, tally), wanted)

        check()
        evidence["seed"] = effort.seed


def alike(found: list[tuple[object, ...]], wanted: list[tuple[object, ...]]) -> bool:
    """Whether two answers agree: exactly, and floats to one part in 10**9 (see ``Measure``)."""
    return len(found) == len(wanted) and all(
        len(f) == len(w) and all(map(_close, f, w)) for f, w in zip(found, wanted, strict=True)
    )


def _close(found: object, wanted: object) -> bool:
    if type(found) is not type(wanted):
        return False
    if isinstance(found, float) and isinstance(wanted, float):
        if isnan(found) or isnan(wanted):
            return isnan(found) and isnan(wanted)
        return found == wanted or abs(found - wanted) <= 1e-9 * max(abs(found), abs(wanted))
    return found == wanted
