"""A kit that passes everything proves nothing: break a backend, and see it found, and only it."""

import pickling_backend
import pytest
from catching import assert_caught, failed, run
from naive import careless, changing
from naive.fronts import Front

from quantkeep.sessions import SessionStore
from quantkeep_conformance.report import Report

DEFECTS = {
    name: (f"{module.__name__}:{name}", front.clauses)
    for module in (changing, careless, pickling_backend)
    for name, front in vars(module).items()
    if isinstance(front, Front)
}

# Clauses that look at everything at once, or at a whole store, with a defect each must find.
BROAD = {
    "roundtrip.arbitrary": "naive.changing:makes_nan_null",
    "model.histories": "naive.careless:takes_uids_for_global",
    "model.queries": "naive.changing:puts_null_first_when_descending",
    "model.tallies": "naive.changing:adds_decimals_as_floats",
    "sessions.stale_owner_is_refused": "naive.hopeless:expects_nothing",
    "sessions.joins_the_tape_in_one_commit": "naive.hopeless:commits_what_it_can",
    "sessions.passes_over_no_trade_of_others": "naive.hopeless:expects_nothing",
    "tape.paper_is_not_live": "naive.changing:swaps_paper_and_live",
    "tape.newest_n_ascending": "naive.changing:returns_the_oldest_n",
    "tape.a_fill_told_again": "naive.careless:appends_again_what_is_there",
    "tape.pages": "naive.hopeless:skips_a_row_behind_a_cursor",
    "tape.arrow_is_the_same": "naive.careless:drops_the_last_row_of_an_append",
    "tape.damage_is_detected": "naive.changing:believes_what_it_reads",
}


def checked(plugin: str, select: str = "not broad", rounds: float = 1, seed: int = 7) -> Report:
    """The kit's report on the memory backend, with *plugin* in front of it."""
    return run("memory://", plugins=[plugin], seed=seed, rounds=rounds, select=select)


def test_the_unbroken_twin_passes():
    report = checked("naive.fronts:SOUND", "model or roundtrip or sessions or not broad")
    assert failed(report) == {}
    assert len(report.of("passed")) > 150


@pytest.mark.parametrize(("plugin", "clauses"), DEFECTS.values(), ids=DEFECTS.keys())
def test_a_defect_is_caught_by_the_fitting_clause_and_no_other(plugin, clauses):
    def check(select, seed):
        return checked(plugin, select, rounds=0.4, seed=seed)

    assert_caught(check, "not broad and not largest_document", clauses)  # that one takes as long


@pytest.mark.parametrize(("clause", "plugin"), BROAD.items(), ids=BROAD.keys())
def test_a_broad_clause_catches_its_defect(clause, plugin):
    assert [*failed(checked(plugin, clause))] == [clause]


@pytest.mark.parametrize("clause", ["corrupt_snapshot_fails_closed", "corrupt_state_fails_closed"])
def test_a_session_store_that_goes_on_with_an_older_state_is_caught(clause, monkeypatch):
    resume = SessionStore.resume

    def lenient(self, name_or_id, **asked):
        return resume(self, name_or_id, **{**asked, "allow_older": True})

    monkeypatch.setattr(SessionStore, "resume", lenient)
    found = failed(checked("naive.fronts:SOUND", f"sessions.{clause}"))
    assert [*found] == [f"sessions.{clause}"]


def test_a_retention_that_looks_at_age_alone_is_caught(monkeypatch):
    monkeypatch.setattr(SessionStore, "_newest_good", lambda self, session_id: None)
    found = failed(checked("naive.fronts:SOUND", "sessions.retention"))
    assert [*found] == ["sessions.retention_keeps_the_newest_good"]
