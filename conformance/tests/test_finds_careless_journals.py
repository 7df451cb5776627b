"""The fault clauses, each with naive stores that must fail it (negative controls)."""

import pytest
from catching import assert_caught, failed, run
from naive import journals
from naive.journals import CarelessJournal

from quantkeep_conformance.report import Report

CARELESS = {name: j for name, j in vars(journals).items() if isinstance(j, CarelessJournal)}
ABOUT_FILES = (
    "durability or faults or reopen or operations or one_winner or leases or atomicity or honesty "
    "or embedding or ids_of_files or files"
)


def checked(plugin, folder, select=ABOUT_FILES, *, seed=11, rounds=0.3) -> Report:
    url = f"journal:///{folder / 'journal'}"
    return run(url, plugins=[plugin], seed=seed, rounds=rounds, select=f"({select}) and not broad")


@pytest.mark.parametrize("twin", ["naive.journal:SOUND", "naive.journals:SOUND_EXCLUSIVE"])
def test_the_unbroken_twins_pass(twin, tmp_path):
    report = checked(twin, tmp_path, select="not broad", rounds=1)
    assert failed(report) == {}
    assert report.results["durability.kill_at_random_moments"].evidence["kills"] == 10


@pytest.mark.parametrize("clause", ["kill_at_random_moments", "kill_while_compacting"])
def test_a_slow_twin_is_killed_when_it_has_something_to_lose(clause, tmp_path):
    report = checked("naive.journals:SOUND_AND_SLOW", tmp_path, clause, rounds=0.2)
    assert failed(report) == {}
    counted = report.results[f"durability.{clause}"].evidence
    assert counted["acknowledged"] >= counted["kills"] > 0


@pytest.mark.parametrize("name", CARELESS)
def test_carelessness_is_caught_by_the_fitting_clause_and_no_other(name, tmp_path):
    careless = CARELESS[name]

    def check(select, seed):
        (folder := tmp_path / f"{seed}").mkdir()
        return checked(f"naive.journals:{name}", folder, select, seed=seed)

    assert_caught(check, ABOUT_FILES, careless.clauses, careless.perhaps)
