"""Appends too large for one command: sent ahead in pieces, made by one small script, or not."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

import quantkeep
from quantkeep import Keep
from quantkeep.batch import Append, Batch
from quantkeep.errors import AlreadyExists, TooLarge, Unavailable
from quantkeep_backends.redis import batches, sealing, staging
from quantkeep_backends.redis.opening import discard
from quantkeep_conformance.records import KIT_RECORDS, Entry, Setting


def opened(url: str) -> Keep:
    return quantkeep.open({"tape": url}, records=KIT_RECORDS)


def entries(*numbers: int, **more: Any) -> list[Entry]:
    return [Entry(number=n, uid=f"u{n}", **more) for n in numbers]


def append(keep: Keep, *numbers: int, **more: Any) -> Any:
    return keep.commit(keep.table(Entry).append(entries(*numbers, **more)))


def numbers(keep: Keep) -> list[int]:
    return [entry.number for entry in keep.table(Entry).scan()]


def keys(url: str, pattern: str) -> list[bytes]:
    client = redis.Redis.from_url(url.partition("?")[0])
    name = quantkeep.url.Url.parse(url).options["name"]
    return [*client.scan_iter(f"quantkeep:{{{name}}}:{pattern}")]


# -- what it means ---------------------------------------------------------------------------------


@pytest.mark.requirement("Z-31", "Z-9")
def test_identities_are_found_wherever_they_stand(redis_url, hundred_are_many):
    """In the hash of the stream, in segments of large appends, and after they were folded."""
    with opened(redis_url) as keep:
        append(keep, 0)
        assert append(keep, *range(100)).added == 99
        assert append(keep, *range(100, 200)).added == 100
        assert len(keys(redis_url, "ids:*")) == 3
        for _ in range(2):
            assert append(keep, 50).added == 0
            assert [*append(keep, 150).revisions] == [151]
            assert [*append(keep, *range(90, 115)).revisions] == [*range(91, 116)]
            assert [*append(keep, *range(200)).revisions] == [*range(1, 201)]
            several = [Append(Entry.collection, keep.table(Entry).sealed(entries(n)))
                       for n in (60, 160, 250)]  # fmt: skip
            receipt = keep.backend.commit(Batch(tuple(several)))
            assert [*receipt.revisions] == [61, 161, 201]
            with pytest.raises(AlreadyExists, match="u150"):
                append(keep, 150, note="other")
            with pytest.raises(AlreadyExists, match="u150"):
                append(keep, *range(300, 400), 150, note="other")
            keep.backend.compact()
            assert len(keys(redis_url, "ids:*")) == 1
        assert numbers(keep) == [*range(200), 250]
        assert keep.backend.check() == []
        assert not keys(redis_url, "staged:*")


@pytest.mark.requirement("Z-31")
def test_rows_that_repeat_each_other_are_one(redis_url, hundred_are_many):
    with opened(redis_url) as keep:
        rows = [*range(60), *range(30), *range(60, 100)]
        receipt = append(keep, *rows)
        assert (receipt.added, [*receipt.revisions]) == (100, [n + 1 for n in rows])
        with pytest.raises(AlreadyExists, match="u205"):
            keep.commit(keep.table(Entry).append(
                [*entries(*range(200, 300)), Entry(number=1, uid="u205")]
            ))  # fmt: skip
        assert numbers(keep) == [*range(100)]


@pytest.mark.requirement("Z-31")
def test_hundred_thousand_told_again_are_all_known(redis_server):
    url = f"{redis_server.url}?name=again_{os.urandom(8).hex()}"
    with opened(url) as keep:
        rows = keep.table(Entry).append(entries(*range(100_000)))
        assert keep.commit(rows).added == 100_000
        again = keep.commit(rows)
        assert (again.added, again.outcomes[0].revisions) == (0, range(1, 100_001))
    discard(quantkeep.url.Url.parse(url))


def test_a_pruned_identity_of_a_large_append_is_free_again(redis_url, hundred_are_many):
    with opened(redis_url) as keep:
        append(keep, *range(100))
        keep.commit(*(keep.table(Entry).delete("default", "paper", n) for n in range(1, 51)))
        assert [*append(keep, 7).revisions] == [101]
        assert [*append(keep, *range(20, 90)).revisions][:31] == [*range(102, 132), 51]
        keep.backend.compact()
        assert append(keep, *range(50, 100)).added == 0
        assert keep.backend.check() == []


# -- who is first ----------------------------------------------------------------------------------


def single(keep: Keep) -> None:
    append(keep, 10)


def in_a_batch(keep: Keep) -> None:
    several = [Append(Entry.collection, keep.table(Entry).sealed(entries(n))) for n in (10, 1_000)]
    keep.backend.commit(Batch(tuple(several)))


def packed(keep: Keep) -> None:
    append(keep, *range(1_000, 1_029), 10)


def large(keep: Keep) -> None:
    append(keep, *range(1_000, 1_099), 10)


def pruning(keep: Keep) -> None:
    keep.commit(keep.table(Entry).delete("default", "paper", 1))


WAYS: list[Callable[[Keep], None]] = [single, in_a_batch, packed, large]


def overtaken(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], at: int) -> None:
    """Let *act* happen once, when the piece number *at* of an append was sent."""
    send, passed = staging.Staging._sent, [0]

    def and_then(self: Any, *arguments: Any) -> bool:
        new = send(self, *arguments)
        passed[0] += 1
        if passed[0] == at:
            act()
        return new

    monkeypatch.setattr(staging.Staging, "_sent", and_then)


@pytest.mark.requirement("Z-31", "Z-9")
@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("way", WAYS)
def test_who_commits_an_identity_meanwhile_is_first(
    redis_url, hundred_are_many, monkeypatch, way, at
):
    with opened(redis_url) as keep, opened(redis_url) as other:
        overtaken(monkeypatch, lambda: way(other), at)
        receipt = append(keep, *range(100))
        assert receipt.added == 99
        found = numbers(keep)
        assert len(found) == len({*found})
        assert {*range(100)} <= {*found}
        assert keep.backend.check() == []
        assert not keys(redis_url, "staged:*")


@pytest.mark.requirement("Z-9")
@pytest.mark.parametrize("way", [single, packed, large])
def test_what_differs_from_what_was_committed_meanwhile_is_refused_whole(
    redis_url, hundred_are_many, monkeypatch, way
):
    with opened(redis_url) as keep, opened(redis_url) as other:
        overtaken(monkeypatch, lambda: way(other), 1)
        with pytest.raises(AlreadyExists, match="u10"):
            append(keep, *range(100), note="mine")
        assert 10 in numbers(keep)
        assert 11 not in numbers(keep)


def test_an_identity_that_becomes_free_meanwhile_is_added(redis_url, hundred_are_many, monkeypatch):
    with opened(redis_url) as keep, opened(redis_url) as other:
        append(keep, 0, 1)
        overtaken(monkeypatch, lambda: pruning(other), 5)
        receipt = append(keep, *range(100))
        assert receipt.added == 99
        assert sorted(numbers(keep)) == [*range(100)]


def test_many_at_once_add_each_once(redis_url, hundred_are_many):
    """Large appends, small ones and foldings race over the same identities."""
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            with opened(redis_url) as keep:
                for n in range(0, 600, 60):
                    first = n + seed * 7
                    append(keep, *range(first, first + (90 if seed % 2 else 3)))
                    if seed == 0:
                        keep.backend.compact()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with opened(redis_url) as keep:
        found = numbers(keep)
        assert len(found) == len({*found})
        assert keep.backend.check() == []
        keep.backend.compact()
        assert numbers(keep) == found


def test_segments_do_not_pile_up(redis_url, hundred_are_many, monkeypatch):
    with opened(redis_url) as keep:
        for n in range(12):
            append(keep, *range(100 * n, 100 * n + 100))
        assert len(keys(redis_url, "ids:*")) == 1 + sealing._SEGMENTS
        assert append(keep, *range(1_200)).added == 0


def test_what_would_keep_all_others_waiting_is_refused(redis_url, hundred_are_many, monkeypatch):
    monkeypatch.setattr(batches, "MOST", 30)
    with opened(redis_url) as keep:
        one = keep.table(Entry).delete("default", "paper", 1)
        many = Append(Entry.collection, keep.table(Entry).sealed(entries(*range(100))))
        with pytest.raises(TooLarge, match="in portions"):
            keep.backend.commit(Batch((one, many)))
        puts = [keep.table(Setting).put(Setting(owner="a", name=f"{n}")) for n in range(31)]
        with pytest.raises(TooLarge, match="31 records"):
            keep.commit(*puts)
        assert numbers(keep) == []
        keep.commit(*puts[:30])
        assert append(keep, *range(100)).added == 100


# -- what dies -------------------------------------------------------------------------------------

WRITER = """
import sys, quantkeep
from quantkeep import failpoints
from quantkeep_backends.redis import batches, chunks, packing, staging
from quantkeep_conformance.records import KIT_RECORDS, Entry, Setting
packing.RESERVED, staging._PIECE, chunks.LEAST, chunks.ROWS, staging._INLINE = 50, 30, 20, 40, 0
with quantkeep.open({"tape": sys.argv[1]}, records=KIT_RECORDS) as keep:
    failpoints.arm(sys.argv[2])
    rows = [Entry(number=n, uid=f"u{n}") for n in range(100)]
    keep.commit(keep.table(Entry).append(rows))
"""


@pytest.mark.requirement("Z-9", "Z-18", "Z-42")
@pytest.mark.parametrize(
    ("point", "made"),
    [
        *((f"redis.stage.send=kill@{n}", False) for n in (1, 2, 4, 7)),
        ("redis.commit.send=kill", False),
        ("redis.commit.answered=kill", True),
    ],
)
def test_a_killed_writer_leaves_all_or_nothing(redis_url, hundred_are_many, point, made, program):
    with opened(redis_url) as keep:
        assert program(WRITER, redis_url, point).ended() == -9
        assert numbers(keep) == ([*range(100)] if made else [])
        left = keys(redis_url, "staged:*")
        client = redis.Redis.from_url(redis_url.partition("?")[0])
        assert all(0 < client.ttl(key) <= 3_600 for key in left)
        assert append(keep, 10).added == (0 if made else 1)
        now = keep.backend.now()
        assert not keep.backend.garbage(now - 60_000_000), "it may still be wanted"
        found = keep.backend.garbage(now + 60_000_000)
        assert {each.name.encode() for each in found} == {*left}
        assert all(each.size > 0 for each in found)
        removed = keep.backend.remove_garbage(now + 60_000_000)
        assert [each.name for each in removed] == [each.name for each in found]
        assert not keys(redis_url, "staged:*")
        assert append(keep, *range(100)).added == (0 if made else 99)
        assert sorted(numbers(keep)) == [*range(100)]
        assert keep.backend.check() == []


@pytest.mark.requirement("Z-42")
def test_what_was_sent_ahead_and_is_gone_is_sent_again(redis_url, hundred_are_many, monkeypatch):
    """As a server does that may drop what has a time to live, or after an hour."""
    client = redis.Redis.from_url(redis_url.partition("?")[0])
    with opened(redis_url) as keep:
        overtaken(monkeypatch, lambda: client.delete(*keys(redis_url, "staged:*")), 3)
        assert append(keep, *range(100)).added == 100
        assert numbers(keep) == [*range(100)]


def test_a_connection_that_breaks_while_it_is_sent_says_so(
    redis_url, hundred_are_many, monkeypatch
):
    from quantkeep import failpoints

    with opened(redis_url) as keep:
        failpoints.arm("redis.stage.send=ECONNRESET@2")
        try:
            with pytest.raises(Unavailable) as caught:
                append(keep, *range(100))
        finally:
            failpoints.arm("")
        assert caught.value.applied == "no"
        assert numbers(keep) == []
        assert append(keep, *range(100)).added == 100


# -- how long others wait --------------------------------------------------------------------------


def test_others_do_not_wait_for_a_large_append(redis_server):
    """The longest command of two hundred thousand rows takes a hundredth of all."""
    shares = (longest_share(redis_server.url) for _ in range(5))
    # A machine that pauses makes one command long; an append that is one command is long each time.
    assert any(share < 1 / 10 for share in shares)


def longest_share(server: str) -> float:
    """How much of the time that a large append takes is that of one command."""
    client = redis.Redis.from_url(server)
    url = f"{server}?name=wait_{os.urandom(8).hex()}"
    before = client.config_get("slowlog-log-slower-than")
    client.config_set("slowlog-log-slower-than", 0)
    client.config_set("slowlog-max-len", 10_000)
    with opened(url) as keep:
        write = keep.table(Entry).append(entries(*range(200_000)))
        client.slowlog_reset()
        started = time.perf_counter()
        assert keep.commit(write).added == 200_000
        whole = time.perf_counter() - started
        slow = max(entry["duration"] for entry in client.slowlog_get(10_000)) / 1e6
    client.config_set("slowlog-log-slower-than", *before.values())
    discard(quantkeep.url.Url.parse(url))
    return float(slow / whole)
