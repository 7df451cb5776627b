"""Clean starts: new ids, names, what is stored at once."""

from datetime import UTC, datetime, timedelta

import pytest

import quantkeep
from quantkeep.errors import AlreadyExists, Invalid, InvalidValue
from quantkeep.sessions import SessionRecord

HOSTILE = ["../../x", "a'b\"c", "a;DROP TABLE sessions", "%", "_", "*", "a[bc]", "a/b", "a:b", " "]
HOSTILE += ["{x}", "日本", "\n", "a\\b", "CON", ".", "-", "é" * 90]


@pytest.mark.requirement("D70-2", "D70-1", "D70-17", api="SessionStore.start")
def test_a_clean_start_stores_who_it_is(keep):
    before = datetime.now(UTC) - timedelta(seconds=5)
    session = keep.sessions.start(
        "arb", "live", account="main", config={"spread": 4.0}, campaign="C1", state_version=3
    )
    record = keep.sessions.get(session.session_id)
    assert record.session_id == session.session_id
    assert (record.name, record.mode, record.account, record.status) == (
        "arb", "live", "main", "running",
    )  # fmt: skip
    assert record.config == session.config == {"spread": 4.0}
    assert record.paper_campaign_id == session.paper_campaign_id == "C1"
    assert record.loop_count == session.loop_count == 0
    assert record.state_version == session.state_version == 3
    assert before < record.start_time < datetime.now(UTC) + timedelta(seconds=5)
    assert record.end_time is None
    assert dict(session) == {}


@pytest.mark.requirement("D70-20", "D70-7", api="SessionStore.start")
def test_a_clean_start_is_the_first_snapshot(keep):
    session = keep.sessions.start("arb", components={"guard": Guard()})
    (snapshot,) = keep.sessions.snapshots("arb")
    assert snapshot.snapshot_type == "initial"
    assert keep.sessions.snapshot("arb", snapshot.revision).sections == {"guard": {"loss": 1.5}}
    assert session.revision == 1


class Guard:
    def get_state(self):
        return {"loss": 1.5}

    def restore_state(self, state):
        raise AssertionError("nothing was stored yet")


@pytest.mark.requirement("Z-44", "D70-18", api="SessionStore.start")
def test_the_latest_of_a_name_is_told_by_its_number_not_by_a_clock(keep):
    ids = [keep.sessions.start("arb").session_id for _ in range(5)]
    assert len(set(ids)) == 5
    assert sorted(ids) == ids
    assert [r.number for r in keep.sessions.list(name="arb")] == [1, 2, 3, 4, 5]
    assert keep.sessions.get("arb").session_id == ids[-1]
    keep.sessions.start("other", session_id="0")
    assert keep.sessions.get("other").number == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_any_text_names_a_session(keep, name):
    session = keep.sessions.start(name)
    session[name] = {name: name}
    session.stop()
    assert keep.sessions.resume(session.session_id)[name] == {name: name}
    own = keep.sessions.start("own", session_id=name)
    assert keep.sessions.get(name).session_id == own.session_id == name
    assert [r.name for r in keep.sessions.list(name=name)] == [name]


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b", "\ud800", None, 5, b"x"])
def test_what_some_engine_could_not_hold_is_refused_everywhere(keep, name):
    for refuse in (
        lambda: keep.sessions.start(name),
        lambda: keep.sessions.get(name) if name != "x" * 201 else keep.sessions.start(name),
    ):
        with pytest.raises(Invalid):
            refuse()
    assert keep.sessions.list() == []


def test_an_id_of_ones_own_is_taken_once(keep):
    keep.sessions.start("arb", session_id="session_20251120_090301")
    with pytest.raises(AlreadyExists):
        keep.sessions.start("other", session_id="session_20251120_090301")
    with pytest.raises(InvalidValue, match="1 to 512 bytes"):
        keep.sessions.start("x" * 200, session_id="é" * 257)
    assert len(keep.sessions.list()) == 1


def test_an_id_may_be_used_again_after_it_was_deleted(keep):
    for _ in range(2):
        session = keep.sessions.start("arb", session_id="mine")
        session["a"] = {"x": 1}
        session.stop()
        session = keep.sessions.resume("mine")
        assert session["a"] == {"x": 1}
        session.stop()
        assert keep.sessions.verify("mine") == []
        keep.sessions.delete("mine")
    assert keep.sessions.list() == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "Paper"},
        {"account": None},
        {"config": {"a": object()}},
        {"campaign": 5},
        {"lease_seconds": 0},
        {"lease_seconds": -1.0},
        {"lease_seconds": float("inf")},
        {"state_version": "1"},
        {"components": {"guard": object()}},
    ],
)
def test_arguments_that_cannot_be_kept_are_refused_and_nothing_is_stored(keep, arguments):
    with pytest.raises(InvalidValue):
        keep.sessions.start("arb", **arguments)
    assert keep.sessions.list() == []
    assert keep.sizes()["session_leases"] == 0


def test_a_read_only_keep_starts_nothing(persistent_url):
    with quantkeep.open(persistent_url) as keep:
        keep.sessions.start("arb")["x"] = 1
    with quantkeep.open(persistent_url, read_only=True) as keep:
        with pytest.raises(quantkeep.errors.ReadOnly):
            keep.sessions.start("arb")
        assert keep.sessions.state("arb") == {}


@pytest.mark.requirement("D70-34", "D70-2", api="SessionStore.list")
def test_listing_by_what_they_are(keep):
    keep.sessions.start("b", "live").stop()
    keep.sessions.start("a", "paper", account="x")
    keep.sessions.start("a", "live").stop("finished")

    def names(**wanted):
        return [(r.name, r.number) for r in keep.sessions.list(**wanted)]

    assert names() == [("a", 1), ("a", 2), ("b", 1)]
    assert names(status="stopped") == [("b", 1)]
    assert names(status="finished") == [("a", 2)]
    assert names(name="a", mode="paper") == [("a", 1)]
    assert names(account="x") == [("a", 1)]
    assert keep.table(SessionRecord).count() == 3
