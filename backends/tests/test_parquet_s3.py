"""Over the real S3 protocol: one winner, answers that are lost, stores that cannot do it."""

import time
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest

import quantkeep
from quantkeep import Capability, OutcomeUnknown
from quantkeep.errors import (
    Corrupt,
)
from quantkeep.url import Url
from quantkeep_backends._files.medium import Entry as Seen
from quantkeep_backends.parquet import _blobs, _bulk, _manifest
from quantkeep_backends.parquet._s3 import S3Files
from quantkeep_conformance.records import KIT_RECORDS, Entry

RACER = """
import sys
from quantkeep_backends.parquet._s3 import S3Files
endpoint, prefix, me = sys.argv[1:]
files = S3Files("quantkeep", prefix, {"endpoint_url": endpoint, "key": "k", "secret": "s"}, 20.0)
files.read("warm")
print("ready", flush=True)
sys.stdin.readline()
print(sum(files.create(f"race/{n}", (me * 20_000).encode()) for n in range(60)))
"""


@pytest.fixture
def url(s3_url: str) -> str:
    return s3_url


def files_at(url: str) -> S3Files:
    parts = Url.parse(url)
    return S3Files(parts.parts.netloc, parts.parts.path.strip("/"), dict(parts.options), 20.0)


def opened(url: str, **asked: object) -> quantkeep.Keep:
    return quantkeep.open({"tape": url}, records=KIT_RECORDS, **asked)  # type: ignore[arg-type]


def append(keep: quantkeep.Keep, *numbers: int, op_id: str | None = None) -> quantkeep.Receipt:
    made = [Entry(number=n, uid=f"{n}") for n in numbers]
    return keep.commit(keep.table(Entry).append(made), op_id=op_id)


def numbers(keep: quantkeep.Keep) -> list[int]:
    return [entry.number for entry in keep.table(Entry).list()]


# -- the server that the rest is proved against ----------------------------------------------------


def test_the_servers_conditional_put_is_itself_atomic(
    url: str, program: Callable[..., Any]
) -> None:
    """Threads and two processes race: were the test's server at fault, nothing here would count."""
    files = files_at(url)
    endpoint = Url.parse(url).options["endpoint_url"]
    racers = [program(RACER, endpoint, files.prefix, me) for me in "ab"]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    wins = [int(racer.communicate()[0]) for racer in racers]
    assert sum(wins) == 60
    content = [files.read(f"race/{n}") for n in range(60)]
    assert [sum(c == (me * 20_000).encode() for c in content) for me in "ab"] == wins


def test_threads_that_create_the_same_object_have_one_winner(url: str) -> None:
    barrier, won = Barrier(4), list[bool]()

    def race(me: int) -> None:
        files = files_at(url)
        for n in range(25):
            barrier.wait()
            won.append(files.create(f"race/{n}", f"{me}".encode()))

    threads = [Thread(target=race, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 25


# -- keeps -----------------------------------------------------------------------------------------


def test_handles_share_a_keep_and_compact_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bulk, "LARGE", 50)
    with opened(url) as one, opened(url) as other:
        assert Capability.MULTI_HOST in one.backend.capabilities
        append(one, 0, op_id="first")
        append(other, *range(1, 100))
        one.backend.compact()
        append(other, 100)
        assert numbers(one) == numbers(other) == [*range(101)]
        assert append(other, 0, op_id="first").replayed
        assert [*one.backend.scrub()] == []
    with opened(url, durability="replicated") as keep:
        assert numbers(keep) == [*range(101)]


def test_a_listing_of_long_ago_hides_no_commit(url: str) -> None:
    """GUARANTEES case 23: nobody asks a listing what is there."""
    with opened(url) as reader, opened(url) as writer:
        system = reader.backend.usable()._files._system  # type: ignore[attr-defined]
        prefix = Url.parse(url).parts.path.strip("/")
        before = system.ls(f"quantkeep/{prefix}/_log")
        append(writer, 1)
        assert numbers(reader) == [1]
        assert len(system.ls(f"quantkeep/{prefix}/_log", refresh=True)) == len(before) + 1


def test_an_answer_that_was_lost_is_looked_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """GUARANTEES case 22: our own commit is no conflict, another's is, and neither is unknown."""
    put = S3Files._put

    def lossy(self: S3Files, name: str, data: bytes, **how: str) -> None:
        put(self, name, data, **how)
        if how:
            raise TimeoutError("the answer was lost")

    with opened(url) as keep:
        monkeypatch.setattr(S3Files, "_put", lossy)
        assert append(keep, 1).added == 1
        monkeypatch.setattr(S3Files, "_put", put)
        assert numbers(keep) == [1]

        def unseen(self: S3Files, name: str, data: bytes, **how: str) -> None:
            raise TimeoutError("it is still on its way")

        monkeypatch.setattr(S3Files, "_put", unseen)
        with pytest.raises(OutcomeUnknown) as caught:
            append(keep, 2, op_id="op")
        assert caught.value.op_id == "op"
        monkeypatch.setattr(S3Files, "_put", put)
        assert keep.resolve("op") is None
        assert append(keep, 2, op_id="op").added == 1


def test_an_upload_cut_off_half_way_is_nowhere(url: str) -> None:
    with opened(url) as keep:
        append(keep, 1)
        keep.backend.compact()
        files = keep.backend.usable()._files  # type: ignore[attr-defined]
        where = files._at("segments/kit_entries/half.parquet")
        begun = files._system.call_s3("create_multipart_upload", **where)
        files._system.call_s3(
            "upload_part", **where, UploadId=begun["UploadId"], PartNumber=1, Body=b"x" * 1_000
        )
        assert files.look("segments/kit_entries/half.parquet") is None
        assert numbers(keep) == [1]
        assert not [g for g in keep.backend.garbage(keep.backend.now() + 1) if "half" in g.name]


@pytest.mark.requirement("Z-6")
def test_a_damaged_object_is_corrupt_and_named(url: str) -> None:
    with opened(url) as keep:
        append(keep, 1)
        keep.backend.compact()
    files = files_at(url)
    (segment,) = [e.name for e in files.entries("segments/kit_entries")]
    data = files.read(segment)
    assert data is not None
    files.write(segment, data[:100] + bytes([data[100] ^ 4]) + data[101:])
    with opened(url) as keep, pytest.raises(Corrupt, match=segment):
        keep.table(Entry).list()


# -- beside gc and compaction ----------------------------------------------------------------------


def test_a_compactor_that_stalled_does_not_set_current_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at ``current.json`` and its put, others compact and remove what it names."""
    with opened(url) as slow, opened(url) as quick:
        append(slow, 1)
        put = S3Files._put

        def stalled(self: S3Files, name: str, data: bytes, **how: str) -> None:
            if name == _manifest.CURRENT:
                monkeypatch.setattr(S3Files, "_put", put)
                append(quick, 2)
                quick.backend.compact()
            put(self, name, data, **how)

        monkeypatch.setattr(S3Files, "_put", stalled)
        slow.backend.compact()
        files = files_at(url)
        newest = max(entry.name for entry in files.entries(_manifest.FOLDER))
        reference = _manifest.current(files)
        assert reference is not None
        assert reference.path == newest
        assert _manifest.read(files, reference) is not None
    with opened(url) as keep:
        assert numbers(keep) == [1, 2]


def test_two_first_compactions_leave_the_newer_one(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, where there is no ``current.json`` at all when the stalled one looks."""
    files, identity = files_at(url), "i"
    old, new = (_manifest.Manifest(n, "p", identity, None, {}) for n in (1, 2))
    references = [_manifest.write(files, each) for each in (old, new)]
    look = S3Files.look

    def overtaken(self: S3Files, name: str) -> Seen | None:
        seen = look(self, name)
        monkeypatch.setattr(S3Files, "look", look)
        read = S3Files.read

        def late(self: S3Files, name: str) -> bytes | None:
            data = read(self, name)
            monkeypatch.setattr(S3Files, "read", read)
            _manifest.publish(files, new, references[1])
            return data

        monkeypatch.setattr(S3Files, "read", late)
        return seen

    monkeypatch.setattr(S3Files, "look", overtaken)
    _manifest.publish(files, old, references[0])
    current = _manifest.current(files)
    assert current == references[1]


@pytest.mark.requirement("Z-7")
def test_a_blob_staged_again_while_gc_removes_it_stays(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, digest, data = files_at(url), "ab" * 32, b"bytes"
    _blobs.put(files, digest, data)
    look = S3Files.look

    def overtaken(self: S3Files, name: str) -> Seen | None:
        seen = look(self, name)
        _blobs.put(files_at(url), digest, data)
        return seen

    long_after = (time.time_ns() + 3_600 * 10**9) // 1_000
    monkeypatch.setattr(S3Files, "look", overtaken)
    _blobs.delete(files, digest, long_after)
    assert _blobs.read(files, digest) == data
    monkeypatch.setattr(S3Files, "look", look)
    _blobs.delete(files, digest, long_after)
    assert _blobs.read(files, digest) is None
    _blobs.delete(files, digest, long_after)
