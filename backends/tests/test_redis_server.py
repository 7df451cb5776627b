"""What becomes of a keep when its server dies, stalls, fills up, forgets, or is set up weakly."""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
import redis

import quantkeep
from quantkeep import Durability, DurabilityNotMet, Keep, QuantkeepError, Unsupported, Where
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
from quantkeep_backends.redis import commits
from quantkeep_backends.redis.commits import Commits
from quantkeep_backends.redis.link import Link
from quantkeep_backends.redis.opening import discard
from quantkeep_backends.redis.scripts import Script
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


def insist(act: Any, seconds: float = 90) -> Any:
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
def test_a_killed_server_has_what_it_acknowledged(kind, settings, level, wait_until):
    with servers.redis(kind, settings, port=servers.free_port()) as server:
        with opened(server.url) as keep:
            assert keep.backend.durability == level
            acknowledged: list[int] = []
            stop = threading.Event()

            def work() -> None:
                number = 0
                while not stop.is_set():
                    with contextlib.suppress(Unavailable, Busy, OutcomeUnknown):
                        append(keep, number, uid=f"{number}")
                        acknowledged.append(number)
                    number += 1

            worker = threading.Thread(target=work)
            worker.start()
            for some in (20, 37, 51):
                wait_until(lambda: len(acknowledged) >= some)  # noqa: B023  # called at once
                server.process.stop(9)
                server.process.start()
            wait_until(lambda: len(acknowledged) > 60)
            stop.set()
            worker.join()
            found = insist(lambda: numbers(keep))
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
def test_a_stall_is_counted_once(kind, impatient):
    """What was sent to a server that is silent is carried out later, and then it is there once."""
    with servers.redis(kind, {}, port=servers.free_port()) as server, opened(server.url) as keep:
        append(keep, -1)
        for number in range(10):
            server.process.pause()
            with impatient(keep, 0.05), pytest.raises(OutcomeUnknown):
                append(keep, number)
            server.process.resume()
            append(keep, -1)
        found = numbers(keep)
        assert found.count(-1) == 11
        assert [n for n in found if n >= 0] == [*range(10)]


@pytest.fixture
def answered_late(impatient, monkeypatch) -> Callable[..., None]:
    """The answer to a commit is waited for in vain; then it is asked patiently what became of it.

    The server may be let go on before that.
    """

    def answered_late(keep: Keep, resume: Callable[[], None] = lambda: None) -> None:
        sent, resolved = Commits._sent, Commits._resolved

        def send(self: Commits, *arguments: Any) -> Any:
            with impatient(keep, 0.1):
                return sent(self, *arguments)

        def resolve(self: Commits, *arguments: Any) -> Any:
            resume()
            return resolved(self, *arguments)

        monkeypatch.setattr(Commits, "_sent", send)
        monkeypatch.setattr(Commits, "_resolved", resolve)

    return answered_late


def test_a_commit_whose_answer_is_lost_is_looked_up(answered_late):
    """The server was silent for too long, and goes on: the answer is found, the caller gets it."""
    with (
        servers.redis("redis", {}, port=servers.free_port()) as server,
        opened(server.url) as keep,
    ):
        append(keep, 0)
        answered_late(keep, server.process.resume)
        server.process.pause()
        assert [*append(keep, 1).revisions] == [2]
        assert numbers(keep) == [0, 1]


def test_a_large_commit_that_outlasts_the_timeout_is_waited_for(answered_late, monkeypatch):
    """The server says BUSY meanwhile, for it is busy with this very commit."""
    said, meaning = list[str](), Link.meaning

    def noted(self: Link, error: BaseException) -> QuantkeepError:
        said.append(str(error))
        return meaning(self, error)

    def busy() -> bool:
        return any("busy" in each.lower() for each in said)

    monkeypatch.setattr(Link, "meaning", noted)
    settings = {"lua-time-limit": "20"}
    with (
        servers.redis("redis", settings, port=servers.free_port()) as server,
        opened(f"{server.url}?timeout=60") as keep,
    ):
        append(keep, 0)
        answered_late(keep)
        for n in range(12):  # until it lasts long enough, however fast the machine is
            with monkeypatch.context() as patch:
                patch.setattr(commits, "script", slowed(commits.script, 5_000_000 << n))
                assert append(keep, *range(1_000), account=f"{n}").added == 1_000
            assert keep.table(Entry).count(Where("account", "==", f"{n}")) == 1_000
            if busy():
                break
        assert busy()


def slowed(script: Callable[[str], Script], counting: int) -> Callable[[str], Script]:
    """Scripts of which the one of large commits counts so far first."""

    def found(name: str) -> Script:
        if name != "commit_packed":
            return script(name)
        text = b"for n = 1, %d do end\n%b" % (counting, script(name).text)
        return Script(text, sha1(text).hexdigest())

    return found


def test_a_busy_server_says_so(wait_until):
    with (
        servers.redis("redis", {"lua-time-limit": "50"}, port=servers.free_port()) as server,
        opened(server.url) as keep,
    ):
        client = redis.Redis.from_url(server.url, socket_timeout=None)
        endless = "while redis.call('EXISTS', 'never') == 0 do end"
        worker = threading.Thread(target=lambda: _ignored(client.eval, endless, 0))
        worker.start()
        wait_until(lambda: is_busy(redis.Redis.from_url(server.url)))
        with pytest.raises(Busy):
            append(keep, 1)
        redis.Redis.from_url(server.url).script_kill()
        worker.join()
        append(keep, 2)
        assert numbers(keep) == [2]


def is_busy(client: redis.Redis) -> bool:
    try:
        return not client.ping()
    except redis.RedisError as error:
        return "busy" in str(error).lower()


def _ignored(act: Any, *arguments: Any) -> None:
    with contextlib.suppress(redis.RedisError):
        act(*arguments)


def test_all_connections_in_use_says_so(url, impatient):
    with opened(f"{url}&connections=1") as keep:
        link = keep.backend.usable()._link
        with impatient(keep, 0.05), link._turn(), pytest.raises(Busy, match="connections="):
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
def replicated(kind: str, wait_until: Any) -> Iterator[tuple[servers.Server, servers.Server]]:
    at_once = {"repl-diskless-sync-delay": "0"}
    with (
        servers.redis(kind, at_once, port=servers.free_port()) as primary,
        servers.redis(kind, {}, port=servers.free_port()) as replica,
    ):
        client = redis.Redis.from_url(replica.url)
        client.replicaof("127.0.0.1", str(Url.parse(primary.url).parts.port))
        wait_until(lambda: client.info("replication")["master_link_status"] == "up")
        # A first log that is still being written would hold up the server's end.
        wait_until(lambda: not is_rewriting(client.info("persistence")))
        yield primary, replica


def is_rewriting(said: dict[str, Any]) -> bool:
    return bool(said["aof_rewrite_in_progress"] or said["aof_rewrite_scheduled"])


@KINDS
@pytest.mark.requirement("Z-16")
def test_a_replica_has_all_that_a_killed_primary_acknowledged(kind, wait_until):
    with replicated(kind, wait_until) as (primary, replica):
        acknowledged, told = list[int](), set[int]()

        def kill() -> None:
            wait_until(lambda: len(acknowledged) > 40)
            primary.process.stop(9)

        killer = threading.Thread(target=kill)
        with opened(f"{primary.url}?wait=1&timeout=2", durability="replicated") as keep:
            killer.start()
            with pytest.raises((Unavailable, OutcomeUnknown)):
                for number in range(1_000_000):
                    told.add(number)
                    with contextlib.suppress(DurabilityNotMet):  # a replica that was too slow
                        append(keep, number)
                        acknowledged.append(number)
        killer.join()
        redis.Redis.from_url(replica.url).replicaof("NO", "ONE")
        with opened(replica.url) as keep:
            found = numbers(keep)
        assert len(acknowledged) > 40
        assert found == sorted({*found})
        assert {*acknowledged} <= {*found} <= told


def test_too_few_replicas_are_told_of(url, impatient, wait_until):
    with pytest.raises(DurabilityNotMet, match="1 replicas are"):
        opened(f"{url}&wait=1", durability="disk")
    with opened(f"{url}&wait=1") as keep:
        assert keep.backend.durability is Durability.DISK

        def refused() -> DurabilityNotMet | None:
            try:
                keep.commit(keep.table(Entry).append([Entry(number=1)]), op_id="op")
            except OutcomeUnknown:  # the server itself took so long
                return None
            except DurabilityNotMet as error:
                return error
            raise AssertionError

        with impatient(keep, 0.1):
            assert wait_until(refused).applied == "yes"
        assert numbers(keep) == [1]


def test_a_replica_is_for_reading(wait_until):
    with replicated("redis", wait_until) as (primary, replica):
        with opened(f"{primary.url}?wait=1&timeout=60", durability="replicated") as keep:
            append(keep, 1, 2)
        with pytest.raises(Unavailable, match="name its primary"):
            opened(replica.url)
        with opened(replica.url, read_only=True) as keep:
            assert numbers(keep) == [1, 2]


def test_a_primary_that_becomes_a_replica_takes_no_more_writes(wait_until):
    with replicated("redis", wait_until) as (primary, replica), opened(primary.url) as keep:
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
