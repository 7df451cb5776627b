"""What becomes of a keep when its server dies, stalls, fills up, forgets, or is set up weakly."""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import quantkeep
from quantkeep import Durability, DurabilityNotMet, Keep, QuantkeepError, Unsupported
from quantkeep.errors import (
    Busy,
    FormatTooNew,
    NotFound,
    OutcomeUnknown,
    ReadOnly,
    Regression,
    StoreFull,
    Unavailable,
)
from quantkeep.url import Url
from quantkeep_backends.redis.opening import discard
from quantkeep_backends.redis.server import Server
from quantkeep_backends.redis.settings import settings_of
from quantkeep_conformance import servers
from quantkeep_conformance.records import KIT_RECORDS, Entry, Setting

KINDS = pytest.mark.parametrize("kind", ["redis", "valkey"])


def opened(url: str, **asked: Any) -> Keep:
    return quantkeep.open({"tape": url}, records=KIT_RECORDS, **asked)


def append(keep: Keep, *numbers: int, **more: Any) -> Any:
    rows = [Entry(number=number, **more) for number in numbers]
    return keep.commit(keep.table(Entry).append(rows))


def numbers(keep: Keep) -> list[int]:
    return [entry.number for entry in keep.table(Entry).scan()]


def insist(act: Any, seconds: float = 20) -> Any:
    until = time.monotonic() + seconds
    while True:
        try:
            return act()
        except (Unavailable, Busy, OutcomeUnknown):
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.fixture
def url(redis_server: servers.Server) -> Iterator[str]:
    made = f"{redis_server.url}?name=server_{os.urandom(8).hex()}"
    yield made
    discard(Url.parse(made))


# -- the server dies -------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({}, Durability.DISK),
        ({"appendfsync": "everysec"}, Durability.SERVER),
        ({"appendfsync": "no"}, Durability.SERVER),
    ],
    ids=["always", "everysec", "no"],
)
@pytest.mark.requirement("Z-16")
def test_a_killed_server_has_what_it_acknowledged(kind, settings, level):
    with servers.redis(kind, settings, port=servers.free_port()) as server:
        with opened(server.url) as keep:
            assert keep.backend.durability == level
            acknowledged: list[int] = []
            stop = threading.Event()

            def work() -> None:
                number = 0
                while not stop.is_set():
                    with contextlib.suppress(Unavailable, OutcomeUnknown):
                        append(keep, number, uid=f"{number}")
                        acknowledged.append(number)
                    number += 1

            worker = threading.Thread(target=work)
            worker.start()
            for _ in range(3):
                time.sleep(0.15)
                server.process.stop(9)
                server.process.start()
            time.sleep(0.1)
            stop.set()
            worker.join()
            found = insist(lambda: numbers(keep))
        assert len(acknowledged) > 50
        assert set(acknowledged) <= set(found)
        assert len(found) == len(set(found))
        with opened(server.url) as keep:
            assert numbers(keep) == found
            assert keep.backend.check() == []


@KINDS
@pytest.mark.requirement("Z-16")
def test_a_server_that_keeps_nothing_is_noticed_by_a_living_handle(kind):
    with (
        servers.redis(kind, {"appendonly": "no"}, port=servers.free_port()) as server,
        opened(server.url) as keep,
    ):
        assert keep.backend.durability is Durability.PROCESS
        assert any("appendonly" in warning for warning in keep.backend.health().warnings)
        append(keep, 1, 2, 3)
        server.process.stop(9)
        server.process.start()
        for act in (lambda: append(keep, 4), lambda: numbers(keep)):
            with pytest.raises(Regression, match="older file"):
                insist(act)


@pytest.mark.requirement("Z-43")
def test_an_older_snapshot_is_noticed_even_when_others_have_caught_up(tmp_path: Path):
    with servers.redis("redis", {"appendonly": "no"}, port=servers.free_port()) as server:
        with opened(server.url) as keep, opened(server.url) as other:
            append(keep, 1)
            redis.Redis.from_url(server.url).save()
            for number in range(2, 6):
                append(keep, number)
            server.process.stop(9)
            server.process.start()
            with pytest.raises(Regression):
                insist(lambda: append(keep, 6))
            with opened(server.url) as fresh:
                for number in range(100, 110):
                    append(fresh, number)
            with pytest.raises(Regression):
                append(keep, 7)
            append(other, 8)  # had seen nothing that was lost
        shutil.rmtree(tmp_path)


@KINDS
def test_forgotten_scripts_are_sent_again(kind, request):
    server = request.getfixturevalue(f"{kind}_server")
    client = redis.Redis.from_url(server.url)
    url = f"{server.url}?name=scripts_{os.urandom(8).hex()}"
    with opened(url) as keep:
        for number in range(5):
            client.script_flush()
            append(keep, number)
            client.script_flush()
            append(keep, *range(10 * number + 100, 10 * number + 110))
            client.script_flush()
            assert keep.table(Entry).count() == 11 * (number + 1)
    discard(Url.parse(url))


# -- it stalls -------------------------------------------------------------------------------------


@KINDS
def test_a_stall_is_counted_once(kind):
    """250 ms of silence, and a client that waits for 100: the store says what became of it."""
    with servers.redis(kind, {}, port=servers.free_port()) as server:
        opened(server.url).close()
        with opened(f"{server.url}?timeout=0.1") as keep:
            for number in range(10):
                server.process.pause()
                threading.Timer(0.25, server.process.resume).start()
                with contextlib.suppress(Unavailable, OutcomeUnknown):
                    append(keep, number)
                time.sleep(0.3)
                insist(lambda: append(keep, -1))
            found = insist(lambda: numbers(keep))
            assert found.count(-1) == 10
            assert len([n for n in found if n >= 0]) == len({n for n in found if n >= 0})


def test_a_commit_whose_answer_is_lost_is_looked_up(url):
    """Longer than the timeout, shorter than twice: the answer is found, and the caller gets it."""
    with servers.redis("redis", {}, port=servers.free_port()) as server:
        opened(server.url).close()
        with opened(f"{server.url}?timeout=0.3") as keep:
            append(keep, 0)
            server.process.pause()
            threading.Timer(0.45, server.process.resume).start()
            assert [*append(keep, 1).revisions] == [2]
            assert numbers(keep) == [0, 1]


def test_a_large_commit_that_outlasts_the_timeout_is_waited_for():
    """The server says BUSY meanwhile, for it is busy with this very commit."""
    settings = {"lua-time-limit": "20"}
    with servers.redis("redis", settings, port=servers.free_port()) as server:
        opened(server.url).close()
        rows = [Entry(number=number, uid=f"{number}") for number in range(60_000)]
        with opened(f"{server.url}?timeout=0.1") as keep:
            assert insist(lambda: keep.commit(keep.table(Entry).append(rows))).added == 60_000
        with opened(server.url) as keep:
            assert keep.table(Entry).count() == 60_000


def test_a_busy_server_says_so(redis_server):
    with servers.redis("redis", {"lua-time-limit": "50"}, port=servers.free_port()) as server:
        opened(server.url).close()
        with opened(f"{server.url}?timeout=5") as keep:
            client = redis.Redis.from_url(server.url, socket_timeout=None)
            endless = "while redis.call('EXISTS', 'never') == 0 do end"
            worker = threading.Thread(
                target=lambda: (
                    contextlib.suppress(redis.RedisError).__enter__()
                    or _ignored(client.eval, endless, 0)
                )
            )
            worker.start()
            time.sleep(0.3)
            with pytest.raises(Busy):
                append(keep, 1)
            redis.Redis.from_url(server.url).script_kill()
            worker.join()
            append(keep, 2)
            assert numbers(keep) == [2]


def _ignored(act: Any, *arguments: Any) -> None:
    with contextlib.suppress(redis.RedisError):
        act(*arguments)


def test_all_connections_in_use_says_so(url):
    with opened(f"{url}&connections=1&timeout=0.2") as keep:
        link = keep.backend.usable()._link
        with link._turn(), pytest.raises(Busy, match="connections="):
            append(keep, 1)
        append(keep, 2)


# -- it fills up -----------------------------------------------------------------------------------


@KINDS
def test_a_full_server_refuses_and_keeps(kind):
    settings = {"maxmemory": "3mb"}
    with (
        servers.redis(kind, settings, port=servers.free_port()) as server,
        opened(server.url) as keep,
    ):
        acknowledged = 0
        with pytest.raises(StoreFull, match="maxmemory") as caught:
            for number in range(100):
                append(keep, *range(number * 100, number * 100 + 100), note="x" * 900)
                acknowledged += 100
        assert caught.value.applied == "no"
        assert numbers(keep) == [*range(acknowledged)]
        doomed = range(1, acknowledged // 2)
        keep.commit(*(keep.table(Entry).delete("default", "paper", n) for n in doomed))
        redis.Redis.from_url(server.url).config_set("maxmemory", "0")
        append(keep, -1)
        assert keep.backend.check() == []


@pytest.mark.requirement("Z-16")
@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "allkeys-lfu"])
def test_a_server_that_evicts_is_refused(policy):
    with servers.redis("redis", {"maxmemory-policy": policy}, port=servers.free_port()) as server:
        with pytest.raises(Unsupported, match="noeviction"):
            opened(server.url)
        assert redis.Redis.from_url(server.url).dbsize() == 0


def test_a_server_that_evicts_what_is_to_vanish_anyway_is_taken():
    policy = {"maxmemory-policy": "volatile-lru"}
    with servers.redis("redis", policy, port=servers.free_port()) as server:
        with opened(server.url) as keep:
            append(keep, *range(300))
            keep.commit(keep.table(Setting).put(Setting(owner="a", name="b", value=1)))
        client = redis.Redis.from_url(server.url)
        assert {client.ttl(key) for key in client.scan_iter()} == {-1}


@pytest.mark.requirement("Z-42")
def test_what_is_sent_ahead_vanishes_and_nothing_else_does(url, redis_server, monkeypatch):
    from quantkeep_backends.redis import staging

    monkeypatch.setattr(staging, "_INLINE", 1_000)
    client = redis.Redis.from_url(redis_server.url)
    with opened(url) as keep:
        receipt = append(keep, *range(20_000))
        assert receipt.added == 20_000
        prefix = f"quantkeep:{{{Url.parse(url).options['name']}}}:"
        keys = [*client.scan_iter(f"{prefix}*")]
        assert not [key for key in keys if b"staged" in key]
        assert {client.ttl(key) for key in keys} == {-1}
        assert keep.backend.check() == []
        with pytest.raises(QuantkeepError, match="other content"):
            append(keep, 1, 2, *range(3, 20_000), uid="same")
        assert not [*client.scan_iter(f"{prefix}staged*")]
        assert numbers(keep) == [*range(20_000)]


# -- replicas --------------------------------------------------------------------------------------


@contextlib.contextmanager
def replicated(kind: str) -> Iterator[tuple[servers.Server, servers.Server]]:
    with (
        servers.redis(kind, {}, port=servers.free_port()) as primary,
        servers.redis(kind, {}, port=servers.free_port()) as replica,
    ):
        client = redis.Redis.from_url(replica.url)
        client.replicaof("127.0.0.1", str(Url.parse(primary.url).parts.port))
        while client.info("replication")["master_link_status"] != "up":
            time.sleep(0.02)
        yield primary, replica


@KINDS
@pytest.mark.requirement("Z-16")
def test_a_replica_has_all_that_a_killed_primary_acknowledged(kind):
    with replicated(kind) as (primary, replica):
        acknowledged = []
        with opened(f"{primary.url}?wait=1&timeout=2", durability="replicated") as keep:
            threading.Timer(0.4, lambda: primary.process.stop(9)).start()
            with pytest.raises((Unavailable, OutcomeUnknown)):
                for number in range(100_000):
                    append(keep, number)
                    acknowledged.append(number)
        redis.Redis.from_url(replica.url).replicaof("NO", "ONE")
        with opened(replica.url) as keep:
            found = numbers(keep)
        assert len(acknowledged) > 20
        assert found[: len(acknowledged)] == acknowledged
        assert len(found) <= len(acknowledged) + 1


def test_too_few_replicas_are_told_of(url):
    with pytest.raises(DurabilityNotMet, match="1 replicas are"):
        opened(f"{url}&wait=1", durability="disk")
    with opened(f"{url}&wait=1&timeout=0.2") as keep:
        assert keep.backend.durability is Durability.DISK
        with pytest.raises(DurabilityNotMet) as caught:
            append(keep, 1)
        assert caught.value.applied == "yes"
        assert numbers(keep) == [1]


def test_a_replica_is_for_reading():
    with replicated("redis") as (primary, replica):
        with opened(primary.url) as keep:
            append(keep, 1, 2)
            redis.Redis.from_url(primary.url).wait(1, 1000)
        with pytest.raises(Unavailable, match="name its primary"):
            opened(replica.url)
        with opened(replica.url, read_only=True) as keep:
            assert numbers(keep) == [1, 2]


def test_a_primary_that_becomes_a_replica_takes_no_more_writes():
    with replicated("redis") as (primary, replica), opened(primary.url) as keep:
        append(keep, 1)
        redis.Redis.from_url(replica.url).replicaof("NO", "ONE")
        port = str(Url.parse(replica.url).parts.port)
        redis.Redis.from_url(primary.url).replicaof("127.0.0.1", port)
        with pytest.raises((ReadOnly, Unavailable)) as caught:
            append(keep, 2)
        assert caught.value.applied == "no"


# -- what it is ------------------------------------------------------------------------------------


def test_an_older_server_is_refused(redis_server):
    settings = settings_of(Url.parse(redis_server.url))
    for version in ("5.0.14", "6.0.9"):
        with pytest.raises(Unsupported, match=r"6\.2"):
            Server(settings, {"redis_version": version}, "always").check(writing=True)
    Server(settings, {"redis_version": "6.2.0"}, "always").check(writing=True)


def test_a_newer_layout_is_refused(url, redis_server):
    opened(url).close()
    name = f"quantkeep:{{{Url.parse(url).options['name']}}}:meta"
    client = redis.Redis.from_url(redis_server.url)
    client.hset(name, "layout", "99")
    with pytest.raises(FormatTooNew, match="layout 99"):
        opened(url)


def test_no_keep_is_made_to_be_read(url, redis_server):
    before = redis.Redis.from_url(redis_server.url).dbsize()
    for asked in ({"create": False}, {"read_only": True}):
        with pytest.raises(NotFound):
            opened(url, **asked)
    assert redis.Redis.from_url(redis_server.url).dbsize() == before
