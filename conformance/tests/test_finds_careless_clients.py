"""The clauses about servers, each with naive clients of a real Redis that must fail it."""

import pytest
from catching import assert_caught, failed, run
from naive import serveds
from naive.serveds import CarelessList

from quantkeep_conformance import crashes
from quantkeep_conformance.report import Report
from quantkeep_conformance.suites import attempts

CARELESS = {name: one for name, one in vars(serveds).items() if isinstance(one, CarelessList)}


def checked(plugin: str, *, select: str = "TestServer", seed=5, settings=(), rounds=0.5) -> Report:
    """The report on a keep that is a list on a Redis, by the client *plugin*."""
    asked = {"plugins": [plugin], "seed": seed, "select": select, "rounds": rounds}
    return run("listed+{url}", server="redis", settings=settings, **asked)


def test_the_unbroken_twin_passes():
    report = checked("naive.served:SOUND", select="not broad", rounds=1)
    assert failed(report) == {}
    assert report.results["server.killed_in_mid_commit"].evidence["crashes"] == 5
    assert report.results["server.killed_at_a_lower_level"].evidence["acknowledged and lost"] == 0


@pytest.mark.parametrize("name", CARELESS)
def test_carelessness_is_caught_by_the_fitting_clause_and_no_other(name, monkeypatch):
    monkeypatch.setattr(attempts, "PATIENCE", 1.0)
    monkeypatch.setattr(crashes, "PATIENCE", 1.0)
    careless = CARELESS[name]

    def check(select, seed):
        return checked(f"naive.serveds:{name}", select=select, seed=seed)

    assert_caught(check, "TestServer", careless.clauses, careless.perhaps)


@pytest.mark.parametrize("setting", ["appendfsync=everysec", "appendonly=no"])
def test_a_server_that_keeps_less_is_held_to_less(setting):
    report = checked("naive.served:SOUND", select="server.killed", settings=[setting])
    assert failed(report) == {}
    kept = report.results["server.killed_in_mid_commit"].verdict == "passed"
    assert kept == (setting == "appendfsync=everysec")
    lost = report.results["server.killed_at_a_lower_level"].evidence["acknowledged and lost"]
    assert (lost == 0) == kept


def test_what_is_lost_is_noticed_where_it_is_claimed(monkeypatch):
    monkeypatch.setattr(crashes, "PATIENCE", 1.0)
    plugin = "naive.serveds:believes_in_its_server"
    report = checked(plugin, select="server.killed", settings=["appendonly=no"])
    assert set(failed(report)) == {"server.killed_in_mid_commit", "server.killed_at_a_lower_level"}
