"""Resuming in one commit: what is read before it is what is taken over, or nothing is."""

import pytest

from quantkeep.errors import (
    Busy,
    Corrupt,
    OutcomeUnknown,
    ResumeRefused,
    StaleOwner,
    Unavailable,
)
from quantkeep.sessions import EntryRecord


@pytest.fixture
def old(keep):
    """A session whose owner is alive, and may be robbed of it."""
    session = keep.sessions.start("bot", owner="the old one")
    session["n"] = 1
    session["positions"] = {f"S{i}": {"qty": float(i), "note": "x" * 60} for i in range(100)}
    session.save(snapshot="manual")
    return session


def counted(keep, monkeypatch, names=("get", "scan", "heads", "now", "commit")):
    """What is asked of the engine from now on."""
    calls, engine = [], keep.backend.engine

    def counting(name, call):
        def count(*given, **named):
            calls.append(name)
            return call(*given, **named)

        return count

    for name in names:
        monkeypatch.setattr(engine, name, counting(name, getattr(engine, name)))
    return calls


@pytest.mark.requirement("D70-19", api="SessionStore.resume")
@pytest.mark.parametrize("by", ["name", "session_id"])
def test_a_resume_is_four_questions_the_clock_and_one_commit(keep, old, monkeypatch, by):
    old.stop()
    calls = counted(keep, monkeypatch)
    session = keep.sessions.resume(getattr(old, by))
    asked = calls[: calls.index("commit")]  # an engine's own look at its clock comes behind it
    assert (calls.count("commit"), asked.count("now"), len(asked)) == (1, 1, 5)
    assert (session.revision, session.token) == (old.revision + 1, old.token + 1)
    assert keep.sessions.get("bot").status == "running"
    with pytest.raises(Busy):
        keep.sessions.resume("bot")


@pytest.mark.requirement("Z-11", api="SessionStore.resume")
def test_what_the_owner_saves_at_the_last_moment_is_taken_over(keep, old):
    """It saves between the reading of its state and the commit that takes the session from it."""
    seen = []

    def meddling(resuming):
        seen.append(resuming.sections["n"])
        if len(seen) == 1:
            old["n"] = 2
            old["positions"]["S5"]["qty"] = -5.0
            old.save()

    session = keep.sessions.resume("bot", steal=True, checks=[meddling])
    assert seen == [1, 2]
    assert (session["n"], session["positions"]["S5"]["qty"]) == (2, -5.0)
    session["n"] += 1
    session.save()
    with pytest.raises(StaleOwner):
        old.save()
    assert keep.sessions.state("bot")["n"] == 3
    assert keep.sessions.verify("bot") == []


@pytest.mark.requirement("Z-11", "Z-41", api="SessionStore.resume")
@pytest.mark.parametrize("collection", ["session_entries", "session_snapshots"])
def test_a_save_in_the_midst_of_reading_is_no_corruption(keep, old, monkeypatch, collection):
    """Rows of two saves do not add up; only what a second look finds damaged is damaged."""
    engine = keep.backend.engine

    def meddling(read):
        def reading(asked, *more):
            if asked.name == collection and old["n"] == 1:
                old["n"] = 2
                old["positions"]["S6"]["qty"] = -6.0
                old.save(snapshot="on_trade")
            return read(asked, *more)

        return reading

    for name in ("get", "scan"):
        monkeypatch.setattr(engine, name, meddling(getattr(engine, name)))
    session = keep.sessions.resume("bot", steal=True)
    assert (session["n"], session["positions"]["S6"]["qty"]) == (2, -6.0)
    assert session.resumed_from.source == "live"
    assert session.resumed_from.damaged == ()


@pytest.mark.requirement("Z-41", api="SessionStore.resume")
def test_a_session_that_cannot_be_resumed_is_left_as_it_is(keep, old):
    old.stop()
    lease, record = keep.sessions.lease("bot"), keep.sessions.get("bot")
    with pytest.raises(ResumeRefused):
        keep.sessions.resume("bot", checks=[lambda resuming: "no"])
    table = keep.table(EntryRecord)
    keep.backend.backdoor().flip(table.collection, (old.session_id, "n", "[]"), "body")
    with pytest.raises(Corrupt, match="newest good snapshot"):
        keep.sessions.resume("bot")
    for before, after in ((lease, keep.sessions.lease("bot")), (record, keep.sessions.get("bot"))):
        assert (after, after.revision) == (before, before.revision)


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_leaves_the_session_to_whoever_resumes_it_next(
    keep, old, monkeypatch, applied
):
    old.stop()
    engine, commit = keep.backend.engine, keep.backend.engine.commit

    def lose(batch):
        monkeypatch.setattr(engine, "commit", commit)
        if applied:
            commit(batch)
        raise OutcomeUnknown("the connection was lost")

    monkeypatch.setattr(engine, "commit", lose)
    with pytest.raises(OutcomeUnknown):
        keep.sessions.resume("bot")
    assert keep.sessions.resume("bot")["n"] == 1


def test_an_error_of_the_program_lets_the_session_go_as_a_with_block_does(keep, old):
    class Broken:
        def get_state(self):
            return {}

        def restore_state(self, state):
            raise ValueError("no such field")

    old["guard"] = {"loss": 1.0}
    old.stop()
    with pytest.raises(ValueError, match="no such field"):
        keep.sessions.resume("bot", components={"guard": Broken()})
    assert keep.sessions.get("bot").status == "crashed"
    assert keep.sessions.lease("bot").pid is None
    assert keep.sessions.resume("bot")["guard"] == {"loss": 1.0}


def test_a_handle_that_is_robbed_while_it_resumes_says_by_whom(keep, old):
    """A third one takes the session between the reading and the commit."""
    old.stop()
    taken = []

    def meddling(resuming):
        if not taken:
            taken.append(keep.sessions.resume("bot", owner="the third"))

    with pytest.raises(Busy, match="the third"):
        keep.sessions.resume("bot", checks=[meddling])
    taken[0]["n"] = 9
    taken[0].save()


# -- an id that is another session's name --------------------------------------------------------


@pytest.fixture
def confusing(keep, old):
    """A session whose id, of the caller's, is the name of another."""
    old.stop()
    other = keep.sessions.start("other", session_id="bot")
    other["n"] = 7
    other.stop()
    return other


@pytest.mark.requirement("D70-19", api="SessionStore.resume")
def test_an_id_comes_before_a_name(keep, confusing):
    with keep.sessions.resume("bot") as session:
        assert (session.session_id, session["n"]) == ("bot", 7)
    assert keep.sessions.get("bot").name == "other"


def test_nothing_is_written_to_the_session_of_that_name(keep, old, confusing):
    before = keep.sessions.get(old.session_id)
    keep.sessions.resume("bot").stop()
    assert keep.sessions.get(old.session_id) == before


@pytest.mark.requirement("D70-35", api="SessionStore.resume")
def test_what_is_wrong_with_the_session_of_that_name_does_not_matter(keep, old, confusing):
    keep.sessions.resume(old.session_id).stop("finished")
    keep.sessions.start("bot", mode="live").stop()
    assert keep.sessions.resume("bot").session_id == "bot"


def test_a_resume_by_name_whose_outcome_is_unknown_says_so(keep, old, monkeypatch):
    old.stop()

    def gone(*key):
        raise Unavailable("so is the server")

    def lost(batch):
        monkeypatch.setattr(keep.backend.engine, "get", gone)
        raise OutcomeUnknown("the answer was lost")

    monkeypatch.setattr(keep.backend.engine, "commit", lost)
    with pytest.raises(OutcomeUnknown):
        keep.sessions.resume("bot")
