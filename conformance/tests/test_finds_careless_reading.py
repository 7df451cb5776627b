"""The clauses about damaged files, each with backends that must fail it."""

import pytest
from catching import assert_caught, failed, run
from naive import damaged
from naive.fronts import Front

from quantkeep_conformance.report import Report

CARELESS = {name: f for name, f in vars(damaged).items() if isinstance(f, Front) and f.clauses}
DIVIDED = {"files.the_rest_is_readable", "files.the_rest_is_readable_once_compacted"}


def checked(
    plugin, folder, select="TestDamagedFiles", *, scheme="json", seed=3, rounds=0.5
) -> Report:
    url = f"{scheme}:///{folder / 'keep'}"
    return run(url, plugins=[plugin], seed=seed, rounds=rounds, select=select)


@pytest.mark.parametrize("scheme", ["json", "parquet"])
def test_the_unbroken_twin_passes(scheme, tmp_path):
    report = checked("naive.damaged:SOUND", tmp_path, scheme=scheme, rounds=1)
    assert failed(report) == {}
    assert report.of("not_claimed") == []
    for clause in DIVIDED:
        assert report.results[clause].evidence["noticed"], clause


@pytest.mark.parametrize("name", CARELESS)
def test_carelessness_is_caught_by_the_fitting_clause_and_no_other(name, tmp_path):
    def check(select, seed):
        (folder := tmp_path / f"{seed}").mkdir()
        return checked(f"naive.damaged:{name}", folder, select, seed=seed)

    assert_caught(check, "TestDamagedFiles", CARELESS[name].clauses)


def test_a_backend_that_rewrites_its_file_is_told_what_to_say(tmp_path):
    """Of such files nobody knows from outside whose bytes are whose."""
    report = checked("naive.filed:SOUND", tmp_path, "the_rest", scheme="filed")
    assert {*failed(report)} == DIVIDED
    assert all("damage_spreads" in reason for reason in failed(report).values())


def test_what_spreads_is_not_asked_to_be_divided(tmp_path):
    report = checked("naive.journal:SOUND", tmp_path, scheme="journal")
    assert failed(report) == {}
    assert {result.clause for result in report.of("not_claimed")} == DIVIDED
