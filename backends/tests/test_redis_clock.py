"""The server's clock: asked for where nothing has just told it, and never behind what is known."""

import os
import time
from collections.abc import Iterator

import pytest
import redis

import quantkeep
from quantkeep import Keep
from quantkeep_backends.redis import clock
from quantkeep_backends.redis.opening import discard
from quantkeep_conformance.records import KIT_RECORDS, Entry, Setting


@pytest.fixture
def keep(redis_server) -> Iterator[Keep]:
    url = f"{redis_server.url}?name=clock_{os.urandom(8).hex()}"
    with quantkeep.open(url, records=KIT_RECORDS) as made:
        yield made
    discard(quantkeep.url.Url.parse(url))


def asked(keep: Keep) -> tuple[int, int]:
    """The time, and how many questions it took."""
    link = keep.backend.engine._link  # type: ignore[attr-defined]
    before = link.asked
    return keep.backend.now(), link.asked - before


@pytest.mark.requirement("Z-11")
def test_what_was_read_just_now_tells_the_time(keep, redis_server, monkeypatch):
    monkeypatch.setattr(clock, "_FRESH", 5.0)
    server = redis.Redis.from_url(redis_server.url)
    keep.table(Setting).get("a", "b")
    time.sleep(0.01)
    told, questions = asked(keep)
    assert questions == 0
    seconds, microseconds = server.time()
    now = seconds * 1_000_000 + microseconds
    assert now - 2_000_000 < told <= now


@pytest.mark.requirement("Z-11")
def test_what_was_done_since_is_not_in_the_future(keep, monkeypatch):
    """However long the answer took that told the time before it."""
    monkeypatch.setattr(clock, "_FRESH", 5.0)
    tells = clock.Clock.note

    def late(self: clock.Clock, told: int) -> None:
        tells(self, told - 1_000_000)

    monkeypatch.setattr(clock.Clock, "note", late)
    keep.table(Setting).get("a", "b")
    receipt = keep.commit(keep.table(Entry).append([Entry()]))
    told, questions = asked(keep)
    assert questions == 1
    assert told >= receipt.at
    assert asked(keep)[1] == 1, "that tells it to nobody else"


def test_an_answer_of_some_time_ago_does_not(keep):
    keep.table(Setting).get("a", "b")
    time.sleep(2 * clock._FRESH)
    assert asked(keep)[1] == 1


@pytest.mark.requirement("D70-19")
def test_a_session_is_resumed_in_five_round_trips(keep, monkeypatch):
    monkeypatch.setattr(clock, "_FRESH", 5.0)
    session = keep.sessions.start("bot", mode="paper")
    session["positions"] = {"BTC/USDT": {"qty": 1.0}}
    session.save(snapshot="manual")
    session.stop()
    keep.sessions.resume("bot").stop()  # now the server knows all scripts
    link = keep.backend.engine._link  # type: ignore[attr-defined]
    before = link.asked
    resumed = keep.sessions.resume("bot")
    assert link.asked - before == 5
    assert resumed["positions"]["BTC/USDT"]["qty"] == 1.0
