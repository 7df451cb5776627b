"""Compaction on Redis: small chunks become large ones beside all others, or stay as they were."""

import threading

import pytest
import redis

import quantkeep
from quantkeep import Keep, Where, failpoints
from quantkeep.errors import Corrupt, QuantkeepError
from quantkeep.query import Query
from quantkeep_backends.redis import chunks, packing, sealing
from quantkeep_conformance.records import KIT_RECORDS, Entry

SMALL = [(chunks, "LEAST", 10), (chunks, "ROWS", 100), (sealing, "_LEAST", 20),
         (sealing, "_ROWS", 30), (packing, "RESERVED", 40)]  # fmt: skip


@pytest.fixture
def url(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A keep's URL, where chunks and lists of identities are small."""
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)
    return redis_url


def opened(url: str) -> Keep:
    return quantkeep.open({"tape": url}, records=KIT_RECORDS)


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url.partition("?")[0])


def keys(url: str, pattern: str) -> list[bytes]:
    name = quantkeep.url.Url.parse(url).options["name"]
    return [*client(url).scan_iter(f"quantkeep:{{{name}}}:{pattern}")]


def append(keep: Keep, *numbers: int) -> int:
    rows = [Entry(number=n, uid=f"{n}", symbol="AB"[n % 2]) for n in numbers]
    return keep.commit(keep.table(Entry).append(rows)).added


def prune(keep: Keep, *revisions: int) -> None:
    keep.commit(*(keep.table(Entry).delete("default", "paper", n) for n in revisions))


def rows(keep: Keep) -> list[tuple[int, int]]:
    """Revisions and numbers, which must be the same however one asks."""
    table = keep.table(Entry)
    found = [(entry.revision or 0, entry.number) for entry in table.scan()]
    assert found == sorted({*found})
    arrow = table.arrow().read_all().select(["revision", "number"]).to_pylist()
    assert [(each["revision"], each["number"]) for each in arrow] == found
    for symbol in "AB":
        some = table.list(Where("symbol", "==", symbol), take="last", limit=2_000)
        assert [e.number for e in some] == [n for _, n in found if "AB"[n % 2] == symbol]
    assert all(table.fetch("default", "paper", revision).number == n for revision, n in found[::9])
    return found


def filled(keep: Keep) -> list[tuple[int, int]]:
    """Chunks of 15 and of 50, single entries between them, and gaps."""
    numbers = iter(range(1_000))
    for count in (15, 15, 1, 3, 15, 50, 15, 2, 15, 15, 15, 30):
        append(keep, *[next(numbers) for _ in range(count)])
    prune(keep, 1, 2, 20, 21, *range(46, 49))
    return rows(keep)


def test_small_chunks_become_large_ones(url):
    with opened(url) as keep, opened(url) as beside:
        before = filled(keep)
        assert rows(beside) == before
        chunked, size = len(keys(url, "chunk:*")), keep.backend.sizes()["bytes"]
        keep.backend.compact()
        left = len(keys(url, "chunk:*"))
        assert left < chunked / 2
        assert keep.backend.sizes()["bytes"] < size
        assert rows(keep) == rows(beside) == before
        assert keep.backend.check() == []
        keep.backend.compact()
        assert len(keys(url, "chunk:*")) == left, "there was nothing left to do"
        assert append(keep, *range(190)) == 7, "the identities that became free, and no others"


def test_what_is_mostly_gone_is_written_anew(url):
    with opened(url) as keep:
        append(keep, *range(80))
        prune(keep, *range(5, 75))
        before = rows(keep)
        keep.backend.compact()
        assert rows(keep) == before
        assert keep.backend.check() == []
        prune(keep, *range(1, 5))
        prune(keep, *range(75, 81))
        keep.backend.compact()
        assert rows(keep) == []
        assert append(keep, *range(80)) == 80
        assert keep.backend.check() == []


def test_a_scan_that_began_before_sees_each_row_once(url):
    with opened(url) as keep, opened(url) as other:
        before = filled(keep)
        table = keep.table(Entry)
        scans = [
            table.scan(),
            table.scan(Query(order=("-revision",))),
            table.scan(Query(order=("-revision",), limit=1_000)),
            (row for batch in table.arrow(batch_rows=7) for row in batch.to_pylist()),
        ]
        begun = [[next(scan) for _ in range(3)] for scan in scans]
        other.backend.compact()
        for some, scan in zip(begun, scans, strict=True):
            found = [each["number"] if isinstance(each, dict) else each.number
                     for each in [*some, *scan]]  # fmt: skip
            assert sorted(found) == [number for _, number in before]


def test_a_damaged_chunk_is_not_joined_to_others(url):
    with opened(url) as keep:
        filled(keep)
        name = sorted(keys(url, "chunk:*"))[2]
        client(url).setrange(name, 200, b"damage")
        chunked = {*keys(url, "chunk:*")}
        with opened(url) as again, pytest.raises(Corrupt):
            again.backend.compact()
        assert name in keys(url, "chunk:*")
        assert len(keys(url, "chunk:*")) <= len(chunked)


# -- in the midst ----------------------------------------------------------------------------------

WORKER = """
import sys, quantkeep
from quantkeep import failpoints
from quantkeep_backends.redis import chunks, packing, sealing
from quantkeep_conformance.records import KIT_RECORDS
chunks.LEAST, chunks.ROWS, sealing._LEAST, sealing._ROWS, packing.RESERVED = 10, 100, 20, 30, 40
keep = quantkeep.open({"tape": sys.argv[1]}, records=KIT_RECORDS)
failpoints.arm(sys.argv[2])
keep.backend.compact()
"""


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("passing", [1, 2, 3])
def test_killed_in_its_midst_it_loses_and_doubles_nothing(url, passing, program):
    with opened(url) as keep:
        before = filled(keep)
        armed = f"redis.seal.send=kill@{passing}"
        assert program(WORKER, url, armed).ended() == -9, "the step was not passed"
        assert rows(keep) == before
        assert keep.backend.check() == []
        keep.backend.compact()
        with opened(url) as again:
            assert rows(again) == rows(keep) == before
            assert append(again, *range(190)) == 7


def test_one_that_fails_changes_nothing_and_the_handle_goes_on(url):
    with opened(url) as keep:
        before = filled(keep)
        failpoints.arm("redis.seal.send=ECONNRESET@2")
        try:
            with pytest.raises(QuantkeepError):
                keep.backend.compact()
        finally:
            failpoints.arm("")
        assert rows(keep) == before
        keep.backend.compact()
        assert rows(keep) == before


GONE = {m for n in range(90, 900, 90) for m in range(n - 90, n - 60)}


def test_beside_writers_prunings_and_readers_it_loses_nothing(url):
    stop, failures = threading.Event(), list[BaseException]()

    def compact() -> None:
        try:
            with opened(url) as keep:
                while not stop.is_set():
                    keep.backend.compact()
        except BaseException as error:
            failures.append(error)

    def read() -> None:
        try:
            with opened(url) as keep:
                while not stop.is_set():
                    found = [e.number for e in keep.table(Entry).scan()]
                    last = found[-1] if found else -1
                    assert found == sorted({*found})
                    assert GONE | {*found} >= {*range(last + 1)}
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=act) for act in (compact, compact, read)]
    for thread in threads:
        thread.start()
    with opened(url) as keep:
        for n in range(0, 900, 15):
            append(keep, *range(n, n + 15))
            if n and n % 90 == 0:
                prune(keep, *range(n - 89, n - 59))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    with opened(url) as keep:
        keep.backend.compact()
        numbers = [number for _, number in rows(keep)]
        assert numbers == [n for n in range(900) if n not in GONE]
        assert keep.backend.check() == []


# -- what it weighs --------------------------------------------------------------------------------


def test_the_size_is_about_what_its_keys_take(url):
    with quantkeep.open(url, records=KIT_RECORDS) as keep:
        filled(keep)
        for n in range(300):
            keep.commit(keep.table(Entry).append([Entry(number=n, account="other")]))
        session = keep.sessions.start("s", mode="paper")
        session["book"] = {f"k{n}": "x" * 500 for n in range(200)}
        session.save()
        session.snapshot()
        every = keys(url, "*")
        whole = sum(client(url).memory_usage(key, samples=0) or 0 for key in every)
        told = keep.backend.sizes()["bytes"]
        session.stop()
    assert 0.8 < told / whole < 1.25
