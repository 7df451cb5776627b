"""What of the tape a session's state holds: no trade is lost by a resume, and none counts twice."""

import importlib.util
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import quantkeep
from quantkeep.batch import Batch
from quantkeep.errors import (
    AlreadyExists,
    Conflict,
    InvalidValue,
    OutcomeUnknown,
    Regression,
    StaleOwner,
    Unsupported,
)
from quantkeep.tape import Diagnostic, EquityPoint, Trade

PROGRAM = Path(__file__).parent / "programs" / "desk.py"
TRADES = "trades/paper/default"


@pytest.fixture(scope="module")
def desk():
    """The program, as a module."""
    spec = importlib.util.spec_from_file_location("desk", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def session(keep):
    session = keep.sessions.start("bot")
    session["known"] = []
    return session


def fill(keep, session, *events, op_id=None, **options):
    """Puts *events* on the tape and the state that has them in the session, in one commit."""
    session["known"] = [*session["known"], *(event.uid for event in events)]
    with keep.batch(op_id=op_id) as batch:
        keep.tape.append(*events, batch=batch)
        session.save(batch=batch, **options)
    return batch.receipt


def resumed(keep, desk):
    return keep.sessions.resume("bot", steal=True, reducer=desk.take_in)


# -- a session that starts -------------------------------------------------------------------------


@pytest.mark.requirement("Z-8", "D70-38", api="SessionStore.start")
def test_a_trade_made_before_the_first_save_is_given_by_the_resume(keep, desk):
    keep.tape.append(desk.trade("before", 1))
    session = keep.sessions.start("bot")
    keep.tape.append(desk.trade("bot", 1))
    session.close("crashed")  # without a single save
    again = keep.sessions.resume("bot")
    assert [event.uid for event in again.events] == ["bot-1"]


@pytest.mark.requirement("Z-8", api="SessionStore.start")
def test_watermarks_are_of_the_account_and_mode_that_is_traded(keep, desk):
    keep.tape.append(desk.trade("a", 1), desk.trade("b", 1).replace(mode="live"))
    keep.tape.append(desk.trade("c", 1).replace(account="fund/a"))
    live = keep.sessions.start("live", mode="live", account="fund/a")
    assert live.watermarks == dict.fromkeys(keep.tape.watermarks(mode="live", account="fund/a"), 0)
    assert keep.sessions.start("paper").watermarks[TRADES] == 1


@pytest.mark.requirement("Z-8", api="SessionStore.start")
def test_a_session_may_be_given_all_of_the_tape_or_none(keep, desk):
    keep.tape.append(desk.trade("a", 1))
    whole = keep.sessions.start("whole", watermarks={TRADES: 0})
    assert [event.uid for event in whole.events] == ["a-1"]
    apart = keep.sessions.start("apart", watermarks={})
    keep.tape.append(desk.trade("a", 2))
    assert [*apart.events] == []
    with keep.batch() as batch:
        keep.tape.append(desk.trade("a", 3), batch=batch)
        apart.save(batch=batch)
    assert apart.watermarks == {}


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        (5, "are a int; expected revisions by stream"),
        ({"trades": 1}, "'trades' names no stream; expected a log, its mode and account"),
        ({TRADES: -1}, "cannot be -1; expected a revision from 0 on"),
        ({TRADES: "1"}, "cannot be '1'"),
    ],
)
def test_what_is_no_watermark_is_refused_at_once(keep, session, marks, said):
    with pytest.raises(InvalidValue, match=said):
        keep.sessions.start("other", watermarks=marks)
    assert len(keep.sessions.list()) == 1
    with pytest.raises(InvalidValue, match="names no stream"):
        session.watermark("trades", 1)


def test_what_no_save_said_is_in_the_state_is_given_again(keep, desk, session):
    keep.tape.append(desk.trade("bot", 1))
    session.save()
    assert [event.uid for event in session.events] == ["bot-1"]
    session.save(watermarks=keep.tape.watermarks(mode="paper"))
    assert [*session.events] == []


def test_a_reducer_needs_a_tape(tmp_path):
    with quantkeep.open({"sessions": f"sqlite:///{tmp_path}/sessions.db"}) as keep:
        session = keep.sessions.start("bot")
        assert (session.watermarks, [*session.events]) == ({}, [])
        session.stop()
        with pytest.raises(Unsupported, match="no tape"):
            keep.sessions.resume("bot", reducer=print)


# -- a trade and the state it led to, in one commit ------------------------------------------------


@pytest.mark.requirement("Z-8", "D70-38", api="Session.save")
def test_what_is_committed_with_the_state_is_in_it(keep, desk, session):
    receipt = fill(keep, session, desk.trade("bot", 1), desk.trade("bot", 2), snapshot="on_trade")
    assert receipt.outcomes[0].revisions == range(1, 3)
    stored, (*_, snapshot) = keep.sessions.get("bot"), keep.sessions.snapshots("bot")
    assert session.watermarks[TRADES] == 2
    assert stored.watermarks == snapshot.watermarks == session.watermarks
    again = resumed(keep, desk)
    assert (again["known"], [*again.events]) == (["bot-1", "bot-2"], [])
    assert keep.sessions.verify("bot") == []


@pytest.mark.requirement("Z-8", api="Session.save")
def test_several_logs_move_together_and_others_stay(keep, desk, session):
    point = EquityPoint(mode="paper", timestamp=desk.FIRST_DAY, total_equity=1.0)
    elsewhere = desk.trade("bot", 1).replace(account="other")
    with keep.batch() as batch:
        session.save(batch=batch)
        keep.tape.append(desk.trade("bot", 1), elsewhere, point, batch=batch)
    assert session.watermarks[TRADES] == session.watermarks["equity_history/paper/default"] == 1
    assert session.watermarks["diagnostics/paper/default"] == 0
    assert "trades/paper/other" not in session.watermarks


@pytest.mark.requirement("Z-8", "Z-31", api="Session.save")
def test_trades_that_were_there_already_move_nothing(keep, desk, session):
    fill(keep, session, desk.trade("bot", 1))
    fill(keep, session, desk.trade("bot", 1), desk.trade("bot", 2), desk.trade("bot", 2))
    assert session.watermarks[TRADES] == len(keep.tape.trades(mode="paper")) == 2
    fill(keep, session, desk.trade("bot", 2))
    assert keep.sessions.get("bot").watermarks[TRADES] == 2
    assert [*session.events] == []


@pytest.mark.requirement("Z-8", api="Session.save")
def test_a_trade_of_another_writer_is_not_passed_over(keep, desk, session):
    fill(keep, session, desk.trade("bot", 1))
    keep.tape.append(desk.trade("other", 1))
    with pytest.raises(Conflict, match="at revision 2, but the state holds it to 1 only"):
        fill(keep, session, desk.trade("bot", 2), snapshot="on_trade")
    assert [t.uid for t in keep.tape.trades(mode="paper")] == ["bot-1", "other-1"]
    session["known"] = ["bot-1"]
    assert session.replay(keep.tape, desk.take_in) == 1
    fill(keep, session, desk.trade("bot", 2))
    assert resumed(keep, desk)["known"] == ["bot-1", "other-1", "bot-2"]


def test_the_program_may_say_that_it_knows_the_others_trades(keep, desk, session):
    keep.tape.append(desk.trade("other", 1))
    fill(keep, session, desk.trade("bot", 1), watermarks=keep.tape.watermarks(mode="paper"))
    assert session.watermarks[TRADES] == 2


def test_an_entry_in_a_log_that_the_batch_leaves_alone_does_not_matter(keep, desk, session):
    keep.tape.append(
        Diagnostic(mode="paper", timestamp=desk.FIRST_DAY, metric_type="engine", data={})
    )
    fill(keep, session, desk.trade("bot", 1))
    assert session.watermarks[TRADES] == 1


def test_other_refusals_of_the_batch_are_told_as_they_are(keep, desk, session):
    fill(keep, session, desk.trade("bot", 1))
    with pytest.raises(AlreadyExists, match="uid"):
        fill(keep, session, desk.trade("bot", 1).replace(qty=2.0))
    session["known"] = ["bot-1"]
    keep.sessions.resume("bot", steal=True).close()
    with pytest.raises(StaleOwner):
        fill(keep, session, desk.trade("bot", 2))
    assert len(keep.tape.trades(mode="paper")) == 1


def test_a_tape_that_was_pruned_goes_on(keep, desk, session):
    fill(keep, session, *(desk.trade("bot", n) for n in range(3)))
    keep.tape.prune(desk.FIRST_DAY.replace(year=2030))
    assert keep.tape.trades(mode="paper") == []
    fill(keep, session, desk.trade("bot", 3))
    assert session.watermarks[TRADES] == 4
    assert [*session.events] == []


def test_a_tape_that_fell_behind_is_not_taken_for_the_same(keep, desk, session):
    session.watermark(TRADES, 7)
    with pytest.raises(Regression, match="7"):
        fill(keep, session, desk.trade("bot", 1))
    assert keep.tape.trades(mode="paper") == []


@pytest.mark.requirement("Z-8", "Z-10", api="Keep.batch")
@pytest.mark.parametrize("applied", [True, False])
def test_a_batch_whose_answer_was_lost_is_committed_once(keep, desk, session, monkeypatch, applied):
    engine = keep.backend.engine
    commit = engine.commit

    def lose(batch: Batch):
        monkeypatch.setattr(engine, "commit", commit)
        if applied:
            commit(batch)
        raise OutcomeUnknown("the connection was lost", op_id=batch.op_id)

    session["known"] = ["bot-1"]
    batch = keep.batch(op_id="fill-1")
    keep.tape.append(desk.trade("bot", 1), batch=batch)
    session.save(batch=batch)
    monkeypatch.setattr(engine, "commit", lose)
    with pytest.raises(OutcomeUnknown):
        batch.commit()
    assert batch.commit().replayed == applied
    assert session.watermarks[TRADES] == 1
    fill(keep, session, desk.trade("bot", 2))
    assert resumed(keep, desk)["known"] == ["bot-1", "bot-2"]


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_that_nobody_asks_for_is_found_out(keep, desk, session, monkeypatch, applied):
    engine = keep.backend.engine
    commit = engine.commit

    def lose(batch: Batch):
        monkeypatch.setattr(engine, "commit", commit)
        if applied:
            commit(batch)
        raise OutcomeUnknown("the connection was lost", op_id=batch.op_id)

    monkeypatch.setattr(engine, "commit", lose)
    with pytest.raises(OutcomeUnknown):
        fill(keep, session, desk.trade("bot", 1))
    session.save()
    assert session.watermarks[TRADES] == (1 if applied else 0)
    assert keep.sessions.get("bot").watermarks == session.watermarks


def test_of_two_batches_of_a_session_the_second_is_refused_and_nothing_is_forgotten(
    keep, desk, session
):
    first, second = keep.batch(), keep.batch()
    session["a"] = 1
    session.save(batch=first)
    session["b"] = 1
    session.save(batch=second)
    first.commit()
    with pytest.raises(Conflict):
        second.commit()
    session.save()
    assert keep.sessions.state("bot") == {"known": [], "a": 1, "b": 1}


# -- killed, and two at once -----------------------------------------------------------------------


def run(url, name, times):
    command = [sys.executable, str(PROGRAM), url, name, str(times)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def as_committed(keep):
    return [t.uid for t in keep.tape.follow(Trade, mode="paper", patience=0)]


def begin(keep, *names):
    for name in names:
        with keep.sessions.start(name) as session:
            session["known"] = []


@pytest.mark.requirement("Z-8", "D70-38", api="Session.save")
def test_killed_at_any_moment_the_state_is_exactly_the_tape(persistent_url, desk, seed):
    moments, kills, acknowledged = random.Random(seed), 10, 0
    with quantkeep.open(persistent_url) as keep:
        begin(keep, "bot")
        for _ in range(kills):
            with run(persistent_url, "bot", 10_000) as process:
                process.stdin.write("go\n")
                process.stdin.flush()
                said = [process.stdout.readline() for _ in range(moments.randrange(2 * kills))]
                time.sleep(moments.uniform(0.0, 0.01))
                process.kill()
                said += [line for line in process.stdout if line[-1] == "\n"]
                filled = [int(line.split()[1]) + 1 for line in said]
            acknowledged = max([acknowledged, *filled])
            tape = as_committed(keep)
            assert tape == [f"bot-{n}" for n in range(len(tape))]
            assert len(tape) in (acknowledged, acknowledged + 1)
            assert keep.sessions.state("bot")["known"] == tape
            assert keep.sessions.get("bot").watermarks[TRADES] == len(tape)
    assert acknowledged > kills


@pytest.mark.requirement("Z-8", "D70-38", api="Session.save")
def test_two_desks_on_one_account_both_know_every_trade(persistent_url, desk):
    names, times = ("a", "b"), 40
    with quantkeep.open(persistent_url) as keep, ExitStack() as stack:
        begin(keep, *names)
        processes = [stack.enter_context(run(persistent_url, name, times)) for name in names]
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.stdout.read() for process in processes]
        assert [text.count("filled") for text in said] == [times, times]
        assert "taken in" in "".join(said)
        tape = as_committed(keep)
        assert sorted(tape) == sorted(f"{name}-{n}" for name in names for n in range(times))
        for name in names:
            session = keep.sessions.resume(name, steal=True, reducer=desk.take_in)
            assert session["known"] == tape
