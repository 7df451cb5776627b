"""Saves: all that changed in one commit, or nothing."""

import threading
from decimal import Decimal

import pytest

import quantkeep
from quantkeep.batch import Batch
from quantkeep.errors import (
    Closed,
    Conflict,
    InvalidValue,
    OperationConflict,
    OutcomeUnknown,
    Regression,
    StaleOwner,
    Unavailable,
)
from quantkeep.sessions import EntryRecord, SessionRecord
from quantkeep.tape import EquityPoint


@pytest.fixture
def session(keep):
    return keep.sessions.start("bot", snapshot_every=None)


def test_nothing_is_stored_before_a_save(keep, session):
    session["a"] = 1
    session.loop_count = 7
    assert keep.sessions.state("bot") == {}
    session.save()
    assert keep.sessions.state("bot") == {"a": 1}
    assert keep.sessions.get("bot").loop_count == 7


@pytest.mark.requirement("D70-12", "Z-45", api="Session.save")
def test_a_save_gives_a_receipt(session):
    receipt = session.save()
    assert session.revision == 2
    assert [*receipt.outcomes[1].revisions] == [2]
    assert receipt.at > 0
    assert not receipt.replayed


@pytest.mark.requirement("D70-13", api="Session.save")
def test_state_counters_and_snapshot_are_one_commit(keep, session):
    session["positions"] = {f"S{i}": {"qty": i} for i in range(200)}
    session.save()
    session["positions"]["S1"] = {"qty": Decimal("1.5")}
    session["positions"]["S2"] = {"qty": object()}  # the commit is refused as a whole
    session.loop_count = 5
    with pytest.raises(InvalidValue) as caught:
        session.save(snapshot="on_trade", watermarks={"trades/paper/default": 3})
    assert caught.value.field == "positions['S2'].qty"
    assert keep.sessions.get("bot").loop_count == 0
    assert len(keep.sessions.snapshots("bot")) == 1
    session["positions"]["S2"] = {"qty": 2}
    receipt = session.save(snapshot="on_trade")
    assert receipt.revision == 2  # of the snapshot
    snapshot = keep.sessions.snapshot("bot", 2)
    assert snapshot.sections == keep.sessions.state("bot") == session.plain()
    assert snapshot.record.loop_count == keep.sessions.get("bot").loop_count == 5
    assert snapshot.record.watermarks["trades/paper/default"] == 3


@pytest.mark.requirement("D70-13", api="Session.save")
def test_a_refused_save_forgets_nothing(keep, session):
    session["bad"] = object()
    session["a"] = 1
    session["large"] = {f"k{i}": "x" * 100 for i in range(50)}
    with pytest.raises(InvalidValue):
        session.save()
    assert keep.sessions.state("bot") == {}
    del session["bad"]
    session.save()
    assert keep.sessions.state("bot") == session.plain()


@pytest.mark.requirement("D70-15", "Z-40", api="Session.save")
def test_what_goes_in_comes_out_type_included(keep, session, arbitrage):
    now = quantkeep.columns.instant(1_768_824_000_123_456)
    values = {
        "int": 1,
        "float": 0.1 + 0.2,
        "nan": float("inf"),
        "decimal": Decimal("0.10"),
        "none": None,
        "instant": now,
        "date": now.date(),
        "bytes": b"\0\xff",
        "tuple": (1, (2,)),
        "set": {1, 2},
        "list": [None, True, {"$decimal": "no tag"}],
        "enum": arbitrage.Side.BUY,
        "trade": arbitrage.ArbitrageTrade("BTC", now, 4.2, Decimal(1)),
        "": {"": {}},
        "$key": "escaped",
    }
    session.update(values)
    session.stop()
    back = keep.sessions.resume("bot")
    assert back == values
    assert {k: type(v) for k, v in back.plain().items()} == {k: type(v) for k, v in values.items()}


@pytest.mark.parametrize("value", [None, 0, [], {}, "", False])
def test_a_section_may_be_anything_and_may_become_anything(keep, session, value):
    large = {f"k{i}": "x" * 100 for i in range(50)}
    for content in (value, large, value, {"k1": large}, value, large, {}, value):
        session["s"] = content
        session.save()
        assert keep.sessions.state("bot") == {"s": content}
    del session["s"]
    session.save()
    assert keep.sessions.state("bot") == {}
    assert keep.sizes()["session_entries"] == 0


@pytest.mark.requirement("D70-21", "Z-42", api="Session.save")
def test_live_state_stays_however_old_it_is(keep, session):
    session["a"] = 1
    session.save()
    keep.sessions.prune(older_than=quantkeep.columns.instant(2**52))
    assert keep.sessions.state("bot") == {"a": 1}


# -- operation ids and batches ---------------------------------------------------------------------


def lost_answers(keep, monkeypatch, *, applied):
    """The next commit's answer is lost, after or before it was applied."""
    engine = keep.backend.engine
    commit = engine.commit

    def lose(batch: Batch):
        monkeypatch.setattr(engine, "commit", commit)
        if applied:
            commit(batch)
        raise OutcomeUnknown("the connection was lost", op_id=batch.op_id)

    monkeypatch.setattr(engine, "commit", lose)


@pytest.mark.requirement("Z-10", api="Session.save")
@pytest.mark.parametrize("applied", [True, False])
def test_a_save_whose_answer_was_lost_is_made_once_under_its_operation_id(
    keep, session, monkeypatch, applied
):
    session["n"] = 1
    lost_answers(keep, monkeypatch, applied=applied)
    with pytest.raises(OutcomeUnknown):
        session.save(op_id="loop-1")
    session["n"] = 2
    receipt = session.save(op_id="loop-1")
    assert receipt.replayed == applied
    assert keep.sessions.state("bot") == {"n": 1}
    assert session.revision == keep.sessions.get("bot").revision == 2
    session.save()
    assert keep.sessions.state("bot") == {"n": 2}


@pytest.mark.parametrize("applied", [True, False])
def test_after_a_lost_answer_the_next_save_finds_out(keep, session, monkeypatch, applied):
    session["n"] = 1
    session["other"] = 1
    lost_answers(keep, monkeypatch, applied=applied)
    with pytest.raises(OutcomeUnknown):
        session.save(snapshot="manual")
    session["n"] = 2
    session.save()
    assert keep.sessions.state("bot") == {"n": 2, "other": 1}
    assert keep.sessions.verify("bot") == []
    session.stop()
    assert keep.sessions.resume("bot") == {"n": 2, "other": 1}


def test_an_operation_id_of_another_save_is_a_conflict(keep, session):
    session.save(op_id="once")
    session["n"] = 2
    with pytest.raises(OperationConflict):
        session.save(op_id="once")
    session.save(op_id="twice")
    assert keep.sessions.state("bot") == {"n": 2}


def test_a_save_that_failed_is_made_up_for_by_the_next(keep, session, monkeypatch):
    session["n"] = {"a": 1}
    engine = keep.backend.engine
    with monkeypatch.context() as context:
        context.setattr(engine, "commit", lambda _: (_ for _ in ()).throw(Unavailable("gone")))
        with pytest.raises(Unavailable):
            session.save(snapshot="manual")
    session.save()
    assert keep.sessions.state("bot") == {"n": {"a": 1}}


def point(equity):
    now = quantkeep.columns.instant(1_768_824_000_000_000)
    return EquityPoint(mode="paper", timestamp=now, total_equity=equity)


@pytest.mark.requirement("Z-8", api="Session.save")
def test_a_save_joins_a_batch_of_the_keep(keep, session):
    session["equity"] = 10_000.0
    with keep.batch(op_id="loop-1") as batch:
        keep.tape.append(point(10_000.0), batch=batch)
        assert session.save(batch=batch).outcomes == ()
        assert keep.sessions.state("bot") == {}
    assert keep.sessions.state("bot") == {"equity": 10_000.0}
    assert keep.sizes()["equity_history"] == 1
    session["equity"] = 10_001.0
    session.save()
    assert session.revision == keep.sessions.get("bot").revision == 3


@pytest.mark.requirement("Z-8", api="Session.save")
def test_a_batch_that_fails_takes_nothing_from_the_session(keep, session):
    session["equity"] = 1.0
    batch = keep.batch()
    session.save(batch=batch, snapshot="manual")
    batch.add(keep.backend, [keep.table(SessionRecord).delete("x", expect=quantkeep.PRESENT)])
    with pytest.raises(quantkeep.NotFound):
        batch.commit()
    assert keep.sessions.state("bot") == {}
    session.save()
    assert keep.sessions.state("bot") == {"equity": 1.0}


def test_a_batch_that_comes_too_late_is_a_conflict(keep, session):
    session["equity"] = 1.0
    batch = keep.batch()
    session.save(batch=batch)
    session["equity"] = 2.0
    session.save()
    with pytest.raises(Conflict):
        batch.commit()
    assert keep.sessions.state("bot") == {"equity": 2.0}


# -- who may ---------------------------------------------------------------------------------------


@pytest.mark.requirement("D70-13", api="Session.save")
def test_a_backup_put_back_under_a_session_is_noticed(keep, session):
    session["n"] = 1
    session.save()
    record = keep.table(SessionRecord)
    row = keep.backend.get(record.collection, (session.session_id,))
    assert row.revision == 2
    keep.backend.backdoor().remove(record.collection, (session.session_id,))
    with pytest.raises(Regression, match="older backup"):
        session.save()


def test_somebody_elses_write_is_a_conflict(keep, session):
    table = keep.table(SessionRecord)
    keep.commit(table.put(table.fetch(session.session_id).replace(loop_count=99)))
    session["n"] = 1
    with pytest.raises(Conflict):
        session.save()
    assert keep.sessions.state("bot") == {}


@pytest.mark.requirement("Z-11", api="Session.save")
def test_a_stale_owner_changes_nothing(keep, session):
    session["n"] = 1
    session.save()
    newer = keep.sessions.resume("bot", steal=True)
    newer["n"] = 2
    newer.save()
    session["n"] = 3
    before = keep.sizes()
    for write in (session.save, lambda: session.save(snapshot="manual"), session.renew):
        with pytest.raises(StaleOwner) as caught:
            write()
        assert (caught.value.held, caught.value.current) == (1, 2)
        assert caught.value.applied == "no"
    with pytest.raises(StaleOwner):
        session.stop()
    session.close()
    assert keep.sizes() == before
    assert keep.sessions.state("bot") == {"n": 2}
    assert keep.sessions.get("bot").status == "running"
    newer["n"] = 4
    newer.save()


@pytest.mark.requirement("D70-20", api="Session.stop")
def test_stop_saves_with_a_snapshot_and_lets_go(keep, session):
    session["n"] = 1
    session.loop_count = 3
    session.stop()
    record = keep.sessions.get("bot")
    assert (record.status, record.loop_count) == ("stopped", 3)
    assert record.end_time is not None
    assert keep.sessions.snapshots("bot")[-1].snapshot_type == "on_stop"
    assert keep.sessions.snapshots("bot")[-1].status == "stopped"
    assert session.status == "stopped"
    for use in (session.save, session.stop, session.snapshot, session.renew):
        with pytest.raises(Closed):
            use()
    session.close()
    assert session["n"] == 1  # what it had can still be read
    keep.sessions.resume("bot")


def test_a_stop_that_fails_can_be_made_again(keep, session):
    session["bad"] = object()
    with pytest.raises(InvalidValue):
        session.stop()
    assert session.status == "running"
    del session["bad"]
    session.stop()
    assert keep.sessions.get("bot").status == "stopped"


def test_close_lets_go_without_saving(keep, session):
    session["n"] = 1
    session.save()
    session["n"] = 2
    session.close()
    session.close()
    assert keep.sessions.get("bot").status == "stopped"
    assert keep.sessions.resume("bot")["n"] == 1


def test_a_block_stops_the_session(keep):
    with keep.sessions.start("bot") as session:
        session["n"] = 1
    assert keep.sessions.get("bot").status == "stopped"
    assert keep.sessions.state("bot") == {"n": 1}


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError, "crashed"), (KeyboardInterrupt, "stopped")]
)
def test_a_block_that_raises_leaves_what_was_saved(keep, error, status):
    def run():
        with keep.sessions.start("bot") as session:
            session["n"] = 1
            session.save()
            session["n"] = 2  # half done
            raise error

    with pytest.raises(error):
        run()
    assert keep.sessions.get("bot").status == status
    assert keep.sessions.resume("bot")["n"] == 1


def test_a_block_that_raises_when_the_store_is_gone_keeps_its_error(keep):
    def run():
        with keep.sessions.start("bot"):
            keep.close()
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        run()


def test_threads_share_a_session(keep, session):
    session["counts"] = {}

    def work(name):
        for number in range(20):
            session["counts"][name] = number
            session.save()

    threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.save()
    assert keep.sessions.state("bot")["counts"] == {f"t{i}": 19 for i in range(4)}
    assert keep.sessions.verify("bot") == []


# -- components and watermarks ---------------------------------------------------------------------


class Guard:
    def __init__(self, loss=0.0):
        self.loss = loss
        self.by_symbol = {}

    def get_state(self):
        return {"loss": self.loss, "by_symbol": self.by_symbol}

    def restore_state(self, state):
        self.loss = state["loss"]
        self.by_symbol = state["by_symbol"]


@pytest.mark.requirement("D70-16", api="Session.attach")
def test_components_are_composed_into_one_state(keep, session):
    guard, other = Guard(), Guard(5.0)
    session.attach("risk_guard", guard)
    session.attach("portfolio", other)
    session["plain"] = 1
    guard.by_symbol["BTC"] = 1.5
    session.save(snapshot="manual")
    guard.loss = 2.5
    guard.by_symbol["BTC"] = 2.5
    session.save()
    state = keep.sessions.state("bot")
    assert state["risk_guard"] == {"loss": 2.5, "by_symbol": {"BTC": 2.5}}
    assert state["portfolio"]["loss"] == 5.0
    assert state["plain"] == 1
    session.stop()
    guard, later = Guard(), Guard()
    resumed = keep.sessions.resume("bot", components={"risk_guard": guard})
    assert guard.loss == 2.5
    resumed.attach("portfolio", later)
    assert later.loss == 5.0
    guard.by_symbol["ETH"] = 1.0  # its own, not the session's
    resumed.save()
    assert keep.sessions.state("bot")["risk_guard"]["by_symbol"] == {"BTC": 2.5, "ETH": 1.0}


def test_the_section_of_a_component_is_not_assigned(session):
    session.attach("guard", Guard())
    with pytest.raises(InvalidValue, match="attached component"):
        session["guard"] = {}
    with pytest.raises(InvalidValue, match="attached component"):
        del session["guard"]
    with pytest.raises(InvalidValue, match="get_state"):
        session.attach("other", object())


@pytest.mark.requirement("Z-8", api="Session.watermark")
def test_watermarks_are_saved_with_the_state_and_never_go_back(keep, session):
    session.watermark("trades/paper/default", 5)
    session.save(watermarks={"equity_history/paper/default": 2})
    for wrong in (4, -1, 1.5, "6", True):
        with pytest.raises(InvalidValue, match="from 5 on"):
            session.watermark("trades/paper/default", wrong)
    wanted = dict.fromkeys(keep.tape.watermarks(mode="paper"), 0)
    wanted |= {"trades/paper/default": 5, "equity_history/paper/default": 2}
    assert keep.sessions.get("bot").watermarks == session.watermarks == wanted
    session.stop()
    assert keep.sessions.resume("bot").watermarks == wanted


@pytest.mark.requirement("D70-30", api="Session.save")
def test_rows_of_live_state_are_readable_by_others(keep, session):
    session["positions"] = {"BTC": {"qty": 1.5, "note": "x" * 3000}}
    session["engine"] = {"tick": 1}
    session.save()
    rows = {(r.section, r.path): (r.layout, r.body) for r in keep.table(EntryRecord).scan()}
    assert rows["engine", "[]"] == ("whole", {"tick": 1})
    assert rows["positions", "[]"] == ("entries", None)
    assert rows["positions", '["BTC","qty"]'] == ("whole", 1.5)
