"""Owners that are killed, sleep too long, or are one too many: all in processes of their own."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import quantkeep
from quantkeep.errors import Busy, StaleOwner

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def keep(persistent_url, arbitrage):
    with quantkeep.open(persistent_url, types=arbitrage.TYPES) as opened:
        yield opened


@pytest.mark.requirement("D70-34", "Z-11", api="SessionStore.resume")
def test_the_owner_is_waited_for_while_it_lives_and_not_once_it_is_killed(
    keep, persistent_url, program
):
    with program("owner", persistent_url, "bot", 3600) as lines:
        session_id = next(lines).removeprefix("owned ")
        with pytest.raises(Busy, match="'first'"):
            keep.sessions.resume("bot")
        assert keep.sessions.crashed() == []
        stolen = keep.sessions.resume("bot", steal=True)
        assert stolen.token == 2
        stolen.stop()
    with program("owner", persistent_url, "other", 3600) as lines:
        next(lines)
    (crashed,) = keep.sessions.crashed()
    assert (crashed.name, crashed.status) == ("other", "crashed")
    assert keep.sessions.get("other").status == "crashed"
    assert keep.sessions.get("other").end_time is not None
    assert keep.sessions.crashed() == []
    session = keep.sessions.resume("other")  # its lease had an hour to go
    assert session["n"] == 1
    assert keep.sessions.get("other").status == "running"
    assert keep.sessions.get(session_id).status == "stopped"


@pytest.mark.requirement("Z-11", api="Session.save")
def test_an_owner_that_slept_past_its_lease_is_fenced_off(keep, persistent_url, monkeypatch):
    """An hour of the store's clock: for the process that is stopped it is as if it had slept."""
    command = [sys.executable, PROGRAMS / "owner.py", persistent_url, "bot", "3600", "save"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        try:
            assert process.stdout.readline().startswith("owned")
            process.stdin.write("save\n")
            assert process.stdout.readline() == "saved 2\n"
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(Busy):
                keep.sessions.resume("bot")
            now = keep.backend.engine.now
            monkeypatch.setattr(keep.backend.engine, "now", lambda: now() + 3_601_000_000)
            session = keep.sessions.resume("bot")
            session["n"] = 100
            session.save()
            process.send_signal(signal.SIGCONT)
            process.stdin.write("save\n")
            assert process.stdout.readline() == "StaleOwner\n"
        finally:
            process.kill()  # a stopped process would be waited for without end
    assert keep.sessions.state("bot") == {"n": 100}
    session["n"] = 101
    session.save()


def test_a_slow_owner_that_lives_has_not_crashed(keep, persistent_url, program):
    with program("owner", persistent_url, "bot", 0.1) as lines:
        next(lines)
        time.sleep(0.2)
        assert keep.sessions.crashed() == []
        keep.sessions.resume("bot").stop()  # but it may be taken over


@pytest.mark.requirement("D70-34", api="SessionStore.crashed")
def test_an_owner_declared_crashed_can_write_no_more(keep):
    session = keep.sessions.start("bot", lease_seconds=0.05)
    table = keep.table(quantkeep.sessions.LeaseRecord)
    keep.commit(table.put(table.list()[0].replace(host="elsewhere")))
    time.sleep(0.1)
    assert [r.session_id for r in keep.sessions.crashed()] == [session.session_id]
    session["n"] = 1
    with pytest.raises(StaleOwner):
        session.save()


@pytest.mark.requirement("D70-33", "D70-34", api="SessionStore.resume_all")
def test_all_that_crashed_are_resumed_and_failures_reported_one_by_one(
    keep, persistent_url, killed, arbitrage
):
    opened = ["open", "BTC", "50000", "1"]
    good = [killed(persistent_url, "start", name, [opened]) for name in ("a", "b", "c")]
    keep.sessions.start("stopped").stop()
    running = keep.sessions.start("running")
    damaged = good.pop()
    snapshot = keep.sessions.snapshots(damaged)[-1]
    collection = keep.table(type(snapshot)).collection
    keep.backend.backdoor().flip(collection, (damaged, snapshot.revision), "body")
    guards = {}

    def components(record):
        guards[record.name] = arbitrage.RiskGuard()
        return {"risk_guard": guards[record.name]}

    result = keep.sessions.resume_all(components=components, mode="paper")
    assert sorted(result.sessions) == sorted(good)
    assert [*result.failures] == [damaged]
    assert isinstance(result.failures[damaged], quantkeep.Corrupt)
    for session in result.sessions.values():
        assert session["positions"]["active_orders"]["BTC"]["trade"].symbol == "BTC"
        session.save()
    assert keep.sessions.get(damaged).status == "crashed"
    again = keep.sessions.resume_all(components=components, allow_older=True)
    assert [*again.sessions] == [damaged]
    running.save()


@pytest.mark.requirement("D70-33", api="SessionStore.resume_all")
def test_only_those_of_a_name(keep, persistent_url, killed):
    for name in ("a", "b"):
        killed(persistent_url, "start", name, [["idle"]])
    assert [s.name for s in keep.sessions.resume_all(name="a").sessions.values()] == ["a"]
    assert keep.sessions.get("b").status == "crashed"


@pytest.mark.requirement("D70-38", "D70-13", api="Session.save")
def test_killed_at_any_moment_nothing_acknowledged_is_lost_and_nothing_is_half_there(
    keep, persistent_url, arbitrage, seed
):
    """Position and risk change together in each save; whenever the engine dies, they agree."""
    moments = random.Random(seed)
    script = json.dumps([["open", "BTC", "1", "1"], ["close", "BTC", -1.0]] * 500)
    how, kills, acknowledged = "start", 8, 0
    for _ in range(kills):
        command = [sys.executable, PROGRAMS / "arbitrage.py", persistent_url, how, "arb", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline().startswith("running")
            saved = [process.stdout.readline() for _ in range(moments.randrange(2 * kills))]
            time.sleep(moments.uniform(0.0, 0.02))
            process.kill()
            saved += [line for line in process.stdout if line.endswith("\n")]
        how, before = "resume", acknowledged
        acknowledged = int(saved[-1].split()[1]) if saved else acknowledged
        record, state = keep.sessions.get("arb"), keep.sessions.state("arb")
        assert record.loop_count in (acknowledged, acknowledged + 1)
        assert record.loop_count >= before
        traded = "metrics" in state  # else it was killed before the first loop was saved
        losses = state["risk_guard"]["daily_loss_usd"] if traded else 0.0
        assert losses == (state["metrics"]["total_trades_closed"] if traded else 0)
        assert keep.sessions.verify("arb") == []
        acknowledged = record.loop_count
    assert acknowledged > kills


def test_a_forked_child_does_not_save_for_its_parent(keep):
    session = keep.sessions.start("bot")
    child = os.fork()
    if child == 0:
        try:
            session["n"] = "child"
            session.save()
        except quantkeep.errors.UsedAfterFork:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    session["n"] = "parent"
    session.save()
    assert keep.sessions.state("bot") == {"n": "parent"}
