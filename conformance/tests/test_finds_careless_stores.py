"""The clauses about predictions, backtests and knowledge, each with backends that must fail it."""

import pytest
from catching import assert_caught, failed, run
from naive.stores import FRONTS, JOURNALS

from quantkeep_conformance.clauses import Clause, clauses_of
from quantkeep_conformance.report import Report
from quantkeep_conformance.suites.backtests import Backtests
from quantkeep_conformance.suites.knowledge import Knowledge
from quantkeep_conformance.suites.predictions import Predictions

STORES = "TestPredictions or TestBacktests or TestKnowledge"


def clauses_of_stores() -> list[Clause]:
    return [each for suite in (Predictions, Backtests, Knowledge) for each in clauses_of(suite)]


def checked(url: str, plugin: str, select: str = STORES, seed: int = 7) -> Report:
    return run(url, plugins=[plugin], seed=seed, select=select)


@pytest.mark.parametrize(
    ("url", "plugin"),
    [("memory://", "naive.fronts:SOUND"), ("journal:///{}", "naive.journal:SOUND")],
    ids=["memory", "journal"],
)
def test_the_unbroken_twin_passes(url, plugin, tmp_path):
    report = checked(url.format(tmp_path / "journal"), plugin)
    assert failed(report) == {}
    assert len(report.of("passed")) >= 20


@pytest.mark.parametrize("name", FRONTS)
def test_a_defect_is_caught_by_the_fitting_clause_and_no_other(name):
    def check(select, seed):
        return checked("memory://", f"naive.stores:{name}", select, seed)

    assert_caught(check, STORES, FRONTS[name].clauses)


@pytest.mark.parametrize("name", JOURNALS)
def test_a_careless_journal_is_caught_by_the_fitting_clause_and_no_other(name, tmp_path):
    def check(select, seed):
        return checked(f"journal:///{tmp_path / f'{seed}'}", f"naive.stores:{name}", select, seed)

    assert_caught(check, STORES, JOURNALS[name].clauses)


def test_every_clause_has_a_defect_that_it_finds():
    """Those that core alone can fail are broken in ``test_finds_defects_of_core``."""
    of_core = {"backtests.bombs_are_refused", "backtests.segments_that_drift_are_refused"}
    caught = {clause for front in FRONTS.values() for clause in front.clauses}
    caught |= {clause for journal in JOURNALS.values() for clause in journal.clauses}
    assert {clause.id for clause in clauses_of_stores()} - caught == of_core
