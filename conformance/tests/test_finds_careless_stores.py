"""The clauses about predictions, backtests and knowledge, each with backends that must fail it."""

import pytest
from naive import stores
from naive.stores import FRONTS

from quantkeep_conformance.report import Report
from quantkeep_conformance.running import run

STORES = "TestPredictions or TestBacktests or TestKnowledge"
ON_A_JOURNAL = "publishes_before_the_tables_are_there"


def checked(url: str, plugin: str) -> Report:
    return run(url, plugins=[plugin], seed=7, select=STORES)


def failed(report: Report) -> dict[str, str]:
    return {result.clause: result.reason for result in report.of("failed")}


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
    found = failed(checked("memory://", f"naive.stores:{name}"))
    assert set(found) == set(FRONTS[name].clauses), found


def test_a_result_that_is_published_before_its_tables(tmp_path):
    found = failed(checked(f"journal:///{tmp_path / 'journal'}", f"naive.stores:{ON_A_JOURNAL}"))
    assert set(found) == set(getattr(stores, ON_A_JOURNAL).clauses), found


def test_every_clause_has_a_defect_that_it_finds():
    caught = {clause for front in FRONTS.values() for clause in front.clauses}
    caught |= {*getattr(stores, ON_A_JOURNAL).clauses}
    assert len(caught) >= 15
