"""Resuming: from which state, and when not."""

from datetime import timedelta
from decimal import Decimal

import attrs
import pytest

import quantkeep
from quantkeep.errors import (
    Busy,
    Corrupt,
    FormatTooNew,
    InvalidValue,
    NotFound,
    ResumeRefused,
    StaleOwner,
    UpgradeNeeded,
)
from quantkeep.sessions import (
    EntryRecord,
    LeaseRecord,
    ResumeWarning,
    SessionRecord,
    SnapshotRecord,
    checks,
)
from quantkeep.tape import Trade


def positions(count):
    return {f"S{i}": {"symbol": f"S{i}", "qty": Decimal(i), "note": "x" * 30} for i in range(count)}


@pytest.fixture
def history(keep):
    """A stopped session with three snapshots: of loop 0 (empty), 1 and 2."""
    session = keep.sessions.start("bot", config={"spread": 4.0})
    session["positions"] = positions(100)
    session["n"] = 1
    session.loop_count = 1
    session.save(snapshot="on_trade")
    session["positions"]["S1"]["qty"] = Decimal("7.5")
    session["n"] = 2
    session.loop_count = 2
    session.stop()
    return session


def damage(keep, record, key, column):
    keep.backend.backdoor().flip(keep.table(record).collection, key, column)


def damage_newest_snapshot(keep, history):
    newest = keep.sessions.snapshots("bot")[-1].revision
    damage(keep, SnapshotRecord, (history.session_id, newest), "body")


def damage_entry(keep, history):
    damage(keep, EntryRecord, (history.session_id, "positions", '["S5"]'), "body")


def damage_section(keep, history):
    damage(keep, EntryRecord, (history.session_id, "n", "[]"), "body")


def damage_split(keep, history):
    key = (history.session_id, "positions", "[]")
    keep.backend.backdoor().remove(keep.table(EntryRecord).collection, key)


def lose_entry(keep, history):
    key = (history.session_id, "positions", '["S5"]')
    keep.backend.backdoor().remove(keep.table(EntryRecord).collection, key)


def old_entry(keep, history):
    """A row that is sound by itself, and not the one that was saved last."""
    table = keep.table(EntryRecord)
    row = EntryRecord(session_id=history.session_id, section="n", path="[]", layout="whole", body=1)
    keep.commit(table.put(row))


def lose_newest_snapshot(keep, history):
    newest = keep.sessions.snapshots("bot")[-1].revision
    key = (history.session_id, newest)
    keep.backend.backdoor().remove(keep.table(SnapshotRecord).collection, key)


def damage_session(keep, history):
    damage(keep, SessionRecord, (history.session_id,), "loop_count")


def damage_config(keep, history):
    damage(keep, SessionRecord, (history.session_id,), "config")


LIVE = [damage_entry, damage_section, damage_split, lose_entry, old_entry]
LIVE += [damage_session, damage_config]
SNAPSHOTS = [damage_newest_snapshot, lose_newest_snapshot]


@pytest.mark.requirement("D70-19", "D70-2", api="SessionStore.resume")
def test_everything_goes_on_where_it_was(keep, history):
    session = keep.sessions.resume("bot")
    assert session.session_id == history.session_id
    assert session.plain() == history.plain()
    assert session.loop_count == 2
    assert session.start_time == history.start_time
    assert session.config == {"spread": 4.0}
    assert session.status == "running"
    assert session.resumed_from.source == "live"
    assert session.resumed_from.damaged == ()
    record = keep.sessions.get("bot")
    assert (record.status, record.end_time, record.number) == ("running", None, 1)
    session.loop_count += 1
    session.save()
    assert keep.sessions.get("bot").loop_count == 3


@pytest.mark.requirement("D70-38", "Z-8", api="SessionStore.resume")
def test_what_was_saved_after_the_last_snapshot_is_there(keep):
    session = keep.sessions.start("bot")
    session["n"] = 1
    session.save(snapshot="periodic")
    session["n"] = 2
    session.save()
    session.close("crashed")
    assert keep.sessions.resume("bot")["n"] == 2


@pytest.mark.requirement("D70-27", "Z-41", "D70-38", api="SessionStore.resume")
@pytest.mark.parametrize("harm", LIVE + SNAPSHOTS)
def test_damage_fails_closed_and_names_the_newest_good_snapshot(keep, reopened, history, harm):
    harm(keep, history)
    keep = reopened()
    good = 2 if harm in SNAPSHOTS else 3
    for _ in range(2):  # and still does the second time
        with pytest.raises(Corrupt, match="allow_older=True") as caught:
            keep.sessions.resume("bot")
        assert caught.value.newest_good == good
        assert caught.value.locator
    if harm not in (damage_session, damage_config):
        assert keep.sessions.get("bot").status == "stopped"
    assert keep.sessions.lease(history.session_id).pid is None
    assert keep.sessions.verify("bot") != []


@pytest.mark.requirement("D70-27", "Z-41", api="SessionStore.resume")
@pytest.mark.parametrize("harm", LIVE + SNAPSHOTS)
def test_the_newest_good_snapshot_is_taken_on_request(keep, reopened, history, harm):
    harm(keep, history)
    keep = reopened()
    good = 2 if harm in SNAPSHOTS else 3
    session = keep.sessions.resume("bot", allow_older=True)
    assert (session.resumed_from.source, session.resumed_from.revision) == ("snapshot", good)
    assert session.resumed_from.damaged
    assert session["n"] == session.loop_count == good - 1
    assert session.config == {"spread": 4.0}
    assert session["positions"]["S5"]["qty"] == Decimal(5)
    assert keep.sessions.state("bot") == session.plain()
    session["n"] = 50
    session.stop()
    again = keep.sessions.resume("bot")
    assert again.resumed_from.source == "live"
    assert again["n"] == 50
    assert {p.what for p in keep.sessions.verify("bot")} <= {"snapshot"}


@pytest.mark.requirement("Z-41", api="SessionStore.resume")
@pytest.mark.parametrize("harm", SNAPSHOTS)
def test_the_live_state_can_be_kept_where_only_a_snapshot_is_damaged(keep, reopened, history, harm):
    harm(keep, history)
    keep = reopened()
    with pytest.raises(Corrupt, match='at="live"'):
        keep.sessions.resume("bot")
    session = keep.sessions.resume("bot", at="live")
    assert session.plain() == history.plain()
    session.stop()
    assert keep.sessions.resume("bot").plain() == history.plain()


@pytest.mark.parametrize("harm", LIVE)
def test_at_live_does_not_excuse_a_damaged_live_state(keep, history, harm):
    harm(keep, history)
    with pytest.raises(Corrupt):
        keep.sessions.resume("bot", at="live")


def test_older_means_older_only_where_something_is_damaged(keep, history):
    session = keep.sessions.resume("bot", allow_older=True)
    assert session.resumed_from.source == "live"
    assert session["n"] == 2


@pytest.mark.requirement("D70-19", api="SessionStore.resume")
def test_going_back_in_time_leaves_the_history(keep, history):
    session = keep.sessions.resume("bot", at=2)
    assert (session["n"], session.loop_count) == (1, 1)
    assert (session.resumed_from.source, session.resumed_from.revision) == ("snapshot", 2)
    assert session["positions"]["S1"]["qty"] == Decimal(1)
    assert keep.sessions.state("bot") == session.plain()
    assert [s.revision for s in keep.sessions.snapshots("bot")] == [1, 2, 3, 4]
    session.stop()
    session = keep.sessions.resume("bot", at=3)
    assert session["n"] == 2
    session.stop()
    session = keep.sessions.resume("bot", at=1)
    assert dict(session) == {}
    assert keep.sizes()["session_entries"] == 0
    session.stop()
    with pytest.raises(NotFound, match="no snapshot 99"):
        keep.sessions.resume("bot", at=99)
    assert keep.sessions.verify("bot") == []


def test_a_snapshot_that_is_asked_for_must_be_sound(keep, history):
    damage(keep, SnapshotRecord, (history.session_id, 2), "body_sha256")
    with pytest.raises(Corrupt):
        keep.sessions.resume("bot", at=2)
    assert keep.sessions.resume("bot", at=3)["n"] == 2


@pytest.mark.requirement("Z-4", api="SessionStore.resume")
def test_a_class_that_is_not_registered_is_named_with_its_path(tmp_path, arbitrage):
    url = f"json:///{tmp_path}/bot"
    with quantkeep.open(url, types=arbitrage.TYPES) as keep:
        engine = arbitrage.Engine.start(keep, "bot")
        engine.loop(["open", "BTC", "1", "1"])
        engine.session.stop()
    with quantkeep.open(url, types=[arbitrage.Order]) as keep:
        for read in (keep.sessions.resume, keep.sessions.state):
            with pytest.raises(InvalidValue, match="ArbitrageTrade") as caught:
                read("bot")
            assert caught.value.field.startswith("positions.active_orders['BTC'].trade")
        assert keep.sessions.get("bot").status == "stopped"


def test_what_is_not_there(keep):
    for wanted in ("nobody", "../x"):
        with pytest.raises(NotFound, match="neither by id nor by name"):
            keep.sessions.resume(wanted)


@pytest.mark.requirement("Z-44", api="SessionStore.resume")
def test_a_paper_session_is_never_taken_for_a_live_one(keep):
    live = keep.sessions.start("bot", "live")
    paper = keep.sessions.start("bot", "paper")
    other = keep.sessions.start("bot", "paper", account="x")
    for session in (live, paper, other):
        session.stop()
    with pytest.raises(InvalidValue, match="of several kinds"):
        keep.sessions.resume("bot")
    with pytest.raises(InvalidValue, match="of several kinds"):
        keep.sessions.resume("bot", mode="paper")
    assert keep.sessions.resume("bot", mode="live").session_id == live.session_id
    resumed = keep.sessions.resume("bot", mode="paper", account="default")
    assert resumed.session_id == paper.session_id
    assert keep.sessions.resume("bot", account="x").session_id == other.session_id
    with pytest.raises(NotFound):
        keep.sessions.resume("bot", mode="test")


def test_what_is_finished_is_finished(keep):
    keep.sessions.start("bot").stop("finished")
    with pytest.raises(ResumeRefused, match="start a new one"):
        keep.sessions.resume("bot")
    assert keep.sessions.get("bot").status == "finished"


def test_a_running_session_is_not_resumed_beside_itself(keep):
    session = keep.sessions.start("bot")
    with pytest.raises(Busy, match="steal=True"):
        keep.sessions.resume("bot")
    session.save()
    session.close()
    keep.sessions.resume("bot")


# -- checks ----------------------------------------------------------------------------------------


@pytest.mark.requirement("D70-35", api="checks.plausible")
def test_a_plausible_state_is_resumed(keep, history):
    session = keep.sessions.resume("bot", checks=checks.plausible({"spread": 4.0}))
    assert session["n"] == 2


@pytest.mark.requirement("D70-35", api="checks.plausible")
@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (checks.same_config({"spread": 5.0, "x": 1}), "differs in 'spread', 'x'"),
        (checks.same_config([]), "configuration differs"),
        (checks.younger_than(timedelta(0)), "0:00:00 is allowed"),
        (checks.positions_at_most(99, ("positions",)), "holds 100 positions, and 99"),
        (checks.positions_at_most(1, ("n",)), "no collection"),
        (checks.pnl_between(-1.0, 1.5, ("n",)), "n is 2, and -1.0 to 1.5"),
        (checks.pnl_between(-1.0, 1.0, ("positions",)), "is plausible"),
        (lambda _: "my own rule", "my own rule"),
    ],
)
def test_a_check_that_fails_refuses_and_recommends_a_clean_start(keep, history, check, problem):
    before = keep.sessions.get("bot")
    with pytest.raises(ResumeRefused, match=problem) as caught:
        keep.sessions.resume("bot", checks=[check, lambda _: None])
    assert caught.value.problems[0] in str(caught.value)
    assert "clean start" in str(caught.value)
    assert keep.sessions.get("bot") == before
    keep.sessions.resume("bot")


@pytest.mark.parametrize("pnl", [float("nan"), "12", None, Decimal("NaN"), Decimal("1e9")])
def test_a_profit_must_be_a_plausible_number(keep, pnl):
    session = keep.sessions.start("bot")
    session["metrics"] = {"total_pnl_usd": pnl}
    session.stop()
    if pnl is None:
        keep.sessions.resume("bot", checks=checks.plausible())
    else:
        with pytest.raises(ResumeRefused):
            keep.sessions.resume("bot", checks=checks.plausible())


@pytest.mark.requirement("D70-35", api="checks.advisory")
def test_a_check_may_only_warn(keep, history):
    check = checks.advisory(checks.positions_at_most(1, ("positions",)))
    with pytest.warns(ResumeWarning, match="100 positions"):
        session = keep.sessions.resume("bot", checks=[check])
    assert session["n"] == 2


# -- versions --------------------------------------------------------------------------------------


def to_2(sections):
    sections["count"] = sections.pop("n")  # in place, as people do
    return sections


def to_3(sections):
    return {**sections, "count": {"total": sections["count"]}}


@pytest.mark.requirement("D70-32", api="SessionStore.resume")
def test_a_state_of_an_older_version_is_upgraded_and_kept(keep, history):
    session = keep.sessions.resume("bot", upgrades={1: to_2, 2: to_3})
    assert session["count"] == {"total": 2}
    assert "n" not in session
    assert session.state_version == 3
    assert keep.sessions.state("bot") == session.plain()
    assert keep.sessions.get("bot").state_version == 3
    old, new = keep.sessions.snapshots("bot")[-2:]
    assert (old.snapshot_type, old.state_version) == ("manual", 1)
    assert keep.sessions.snapshot("bot", old.revision).sections["n"] == 2
    assert (new.snapshot_type, new.state_version) == ("initial", 3)
    session.stop()
    again = keep.sessions.resume("bot", upgrades={1: to_2, 2: to_3})
    assert again["count"] == {"total": 2}
    again.stop()
    assert keep.sessions.resume("bot", at=2, upgrades={1: to_2, 2: to_3})["count"] == {"total": 1}
    assert keep.sessions.verify("bot") == []


@pytest.mark.requirement("D70-32", api="SessionStore.resume")
def test_versions_that_do_not_fit_are_refused_and_nothing_is_changed(keep, history):
    with pytest.raises(UpgradeNeeded, match=r"upgrades=\{1"):
        keep.sessions.resume("bot", state_version=2)
    with pytest.raises(UpgradeNeeded, match=r"upgrades=\{1"):
        keep.sessions.resume("bot", upgrades={2: to_3})
    assert keep.sessions.state("bot")["n"] == 2
    keep.sessions.resume("bot", upgrades={1: to_2}).stop()
    with pytest.raises(FormatTooNew, match="state version 2"):
        keep.sessions.resume("bot", state_version=1)


def test_an_upgrade_that_fails_changes_nothing(keep, history):
    def broken(sections):
        sections["positions"].clear()
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        keep.sessions.resume("bot", upgrades={1: broken})
    assert keep.sessions.state("bot") == history.plain()
    assert keep.sessions.resume("bot").plain() == history.plain()


# -- the tape --------------------------------------------------------------------------------------


def trade(number):
    return Trade(
        mode="paper",
        timestamp=quantkeep.columns.instant(1_768_824_000_000_000 + number),
        symbol="BTC",
        side="LONG",
        action="OPEN",
        qty=1.0,
        fill_price=float(number),
    )


@pytest.fixture
def behind(keep):
    """A session that crashed after three trades, of which its state has the first."""
    session = keep.sessions.start("bot")
    keep.tape.append(trade(1))
    session["sum"] = 1.0
    session.save(watermarks=keep.tape.watermarks(mode="paper"))
    keep.tape.append([trade(2), trade(3)])
    session.close("crashed")
    return session


def add(session, event):
    session["sum"] += event.fill_price


@pytest.mark.requirement("Z-8", "D70-38", api="SessionStore.resume")
def test_the_tapes_events_after_the_watermark_are_applied_once(keep, behind):
    session = keep.sessions.resume("bot", tape=keep.tape, reducer=add)
    assert session["sum"] == 6.0
    assert session.watermarks["trades/paper/default"] == 3
    session.save()
    session.close("crashed")
    assert keep.sessions.resume("bot", tape=keep.tape, reducer=add)["sum"] == 6.0


@pytest.mark.requirement("Z-8", "CODEX-24", api="SessionStore.resume")
def test_without_a_reducer_the_program_gets_the_events(keep, behind):
    session = keep.sessions.resume("bot", tape=keep.tape)
    assert [event.fill_price for event in session.events] == [2.0, 3.0]
    assert session["sum"] == 1.0
    assert session.replay(keep.tape, add) == 2
    assert session["sum"] == 6.0
    assert session.replay(keep.tape, add) == 0


@pytest.mark.requirement("Z-8", api="SessionStore.resume")
def test_an_older_snapshot_is_brought_up_to_date_from_the_tape(keep, behind):
    session = keep.sessions.resume("bot", at="live")
    session.replay(keep.tape, add)
    session.stop()
    damage_newest_snapshot(keep, session)
    session = keep.sessions.resume("bot", allow_older=True, tape=keep.tape, reducer=add)
    assert session["sum"] == 6.0


def test_a_reducer_or_component_that_fails_lets_the_session_go(keep, behind):
    def broken(session, event):
        raise RuntimeError("no such symbol")

    with pytest.raises(RuntimeError):
        keep.sessions.resume("bot", tape=keep.tape, reducer=broken)
    assert keep.sessions.lease("bot").pid is None
    assert keep.sessions.resume("bot", tape=keep.tape, reducer=add)["sum"] == 6.0


# -- leases ----------------------------------------------------------------------------------------


def lease_of(keep, **changes):
    """Makes the stored lease say something else."""
    table = keep.table(LeaseRecord)
    (lease,) = table.list()
    keep.commit(table.put(lease.replace(**changes)))


@pytest.fixture
def held(keep):
    session = keep.sessions.start("bot", lease_seconds=3600, owner="the first")
    session["n"] = 1
    session.save()
    return session


@pytest.mark.requirement("Z-11", api="SessionStore.resume")
def test_a_lease_says_who_holds_it(keep, held):
    with pytest.raises(Busy) as caught:
        keep.sessions.resume("bot")
    assert "'the first'" in str(caught.value)
    assert caught.value.retryable
    assert caught.value.applied == "no"
    assert keep.sessions.lease("bot").owner == "the first"


@pytest.mark.requirement("Z-11", api="SessionStore.resume")
def test_a_lease_that_has_run_out_is_taken_over_and_the_token_grows(keep, held):
    lease_of(keep, expires_at=quantkeep.columns.instant(keep.backend.now() - 1))
    newer = keep.sessions.resume("bot")
    assert newer.token == held.token + 1
    with pytest.raises(StaleOwner):
        held.save()


def test_a_lease_of_another_machine_holds_until_it_runs_out(keep, held):
    lease_of(keep, host="elsewhere", boot_id="another", pid=1)
    with pytest.raises(Busy):
        keep.sessions.resume("bot")
    lease_of(keep, host="elsewhere", expires_at=quantkeep.columns.instant(1))
    keep.sessions.resume("bot")


@pytest.mark.parametrize("change", [{"pid": 2**22 + 1}, {"process_start": "1"}])
def test_an_owner_that_is_provably_gone_does_not_count(keep, held, change):
    lease_of(keep, **change)
    assert keep.sessions.resume("bot")["n"] == 1


@pytest.mark.parametrize("change", [{"boot_id": "another boot"}, {"boot_id": None}])
def test_an_owner_that_may_be_elsewhere_does_count(keep, held, change):
    lease_of(keep, pid=2**22 + 1, **change)
    with pytest.raises(Busy):
        keep.sessions.resume("bot")


@pytest.mark.requirement("Z-11", api="Session.renew")
def test_a_lease_is_renewed_by_saves_and_by_hand(keep):
    session = keep.sessions.start("bot", lease_seconds=0.3)
    first = keep.sessions.lease("bot").expires_at
    session.save()
    assert keep.sessions.lease("bot").expires_at == first  # not yet a third of it
    session._saver._renewed_at -= 0.2
    session.save()
    second = keep.sessions.lease("bot").expires_at
    assert second > first
    session.renew()
    assert keep.sessions.lease("bot").expires_at > second


@pytest.mark.requirement("Z-11", api="Session.save")
def test_an_owner_that_woke_up_late_may_go_on_while_nobody_has_taken_over(keep, held):
    lease_of(keep, expires_at=quantkeep.columns.instant(1))
    held["n"] = 2
    held._saver._renewed_at -= 3600
    held.save()
    with pytest.raises(Busy):
        keep.sessions.resume("bot")


def test_owners_are_told_apart(keep, held):
    lease = keep.sessions.lease("bot")
    assert attrs.asdict(lease)["pid"] is not None
    held.stop()
    assert keep.sessions.lease("bot").pid is None
    assert keep.sessions.lease("bot").token == 1
