"""How often an object store is asked, which costs time and money; no answer is older for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Barrier, Thread
from typing import Any

import pytest

import quantkeep
from quantkeep import ABSENT, AtRevision, Conflict
from quantkeep.url import Url
from quantkeep_backends._files import log
from quantkeep_backends.parquet._s3 import S3Files
from quantkeep_conformance.records import KIT_RECORDS, Entry, Setting

Asked = list[str]


def opened(url: str) -> quantkeep.Keep:
    return quantkeep.open({"tape": url}, records=KIT_RECORDS)


def append(keep: quantkeep.Keep, *numbers: int, op_id: str | None = None) -> quantkeep.Receipt:
    made = [Entry(number=n, uid=f"{n}") for n in numbers]
    return keep.commit(keep.table(Entry).append(made), op_id=op_id)


def put(keep: quantkeep.Keep, value: int, expect: Any) -> None:
    keep.commit(keep.table(Setting).put(Setting(owner="a", name="x", value=value), expect))


@contextmanager
def asked(url: str) -> Iterator[Asked]:
    """The requests that this process makes meanwhile, by the name of their operation."""
    parts = Url.parse(url)
    files = S3Files(parts.parts.netloc, parts.parts.path.strip("/"), dict(parts.options), 20.0)
    events, made = files._system.s3.meta.events, Asked()

    def note(request: Any, operation_name: str, **_: object) -> None:
        waits = " and waits" if "Expect" in request.headers else ""
        made.append(f"{operation_name}{waits}")

    events.register_last("before-sign.s3", note)
    try:
        yield made
    finally:
        events.unregister("before-sign.s3", note)


def test_a_commit_of_one_who_is_alone_is_one_request(s3_url: str) -> None:
    with opened(s3_url) as keep, asked(s3_url) as made:
        append(keep, 1)
        append(keep, 2, op_id="op")
        put(keep, 1, ABSENT)
    assert made == ["PutObject"] * 3


def test_large_content_is_not_sent_before_it_is_wanted(s3_url: str) -> None:
    with opened(s3_url) as keep, asked(s3_url) as made:
        keep.commit(keep.table(Entry).append([Entry(note="x" * 100_000)]))
    assert made == ["PutObject and waits"]


def test_a_read_is_one_request(s3_url: str) -> None:
    with opened(s3_url) as keep:
        append(keep, 1)
        with asked(s3_url) as made:
            assert keep.table(Entry).count() == 1
            assert keep.table(Setting).get("a", "x") is None
    assert made == ["GetObject"] * 2


def test_an_opening_asks_for_nothing_twice(s3_url: str) -> None:
    with opened(s3_url) as keep:
        append(keep, 1)
    with asked(s3_url) as made, opened(s3_url):
        pass
    # current.json; the log: the keep, its description, a commit, and that there is no other
    assert sorted(made) == ["GetObject"] * 5 + ["ListObjectsV2"]


@pytest.mark.parametrize(
    "refused",
    [
        lambda keep: put(keep, 3, AtRevision(1)),
        lambda keep: put(keep, 3, ABSENT),
        lambda keep: append(keep, 1, 7),
        lambda keep: put(keep, 3, AtRevision(5)),
    ],
)
def test_what_others_have_done_decides_what_is_refused(
    s3_url: str, refused: Callable[[quantkeep.Keep], object]
) -> None:
    with opened(s3_url) as keep, opened(s3_url) as other:
        put(other, 1, ABSENT)
        put(other, 2, AtRevision(1))
        other.commit(other.table(Entry).append([Entry(number=9, uid="1")]))
        with pytest.raises(Conflict):
            refused(keep)
        assert keep.table(Setting).fetch("a", "x").value == 2
        assert keep.table(Entry).count() == 1


def test_what_others_have_undone_refuses_nothing(s3_url: str) -> None:
    """By what this handle saw last, each of these would be refused."""
    with opened(s3_url) as keep, opened(s3_url) as other:
        put(keep, 1, ABSENT)
        other.commit(other.table(Setting).delete("a", "x"))
        put(keep, 2, ABSENT)
        put(other, 3, AtRevision(2))
        put(keep, 4, AtRevision(3))
        put(other, 5, AtRevision(4))
        keep.commit(keep.table(Setting).require("a", "x", expect=AtRevision(5)))
        assert keep.table(Setting).fetch("a", "x").value == 5


def test_what_comes_to_nothing_is_looked_up_too(s3_url: str) -> None:
    """A commit that writes nothing is not refused by the store, however old it is."""
    with opened(s3_url) as keep, opened(s3_url) as other:
        put(keep, 1, ABSENT)
        put(other, 2, AtRevision(1))
        with pytest.raises(Conflict):
            keep.commit(keep.table(Setting).require("a", "x", expect=AtRevision(1)))


def test_what_was_committed_by_another_is_replayed(s3_url: str) -> None:
    with opened(s3_url) as keep, opened(s3_url) as other:
        append(other, 1, op_id="op")
        assert append(keep, 1, op_id="op").replayed
        assert keep.table(Entry).count() == 1


def test_who_slept_does_not_write_into_the_past(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have compacted, and removed the commits that this handle would run into."""
    with opened(s3_url) as sleeper, opened(s3_url) as other:
        append(sleeper, 1)
        append(other, 2)
        other.backend.compact()
        monkeypatch.setattr(log, "TRUSTED", 0.0)
        other.backend.remove_garbage(other.backend.now() + 3_600_000_000)
        append(sleeper, 3)
        assert [e.number for e in other.table(Entry).list()] == [1, 2, 3]
    with opened(s3_url) as keep:
        assert [e.number for e in keep.table(Entry).list()] == [1, 2, 3]


def test_a_reader_far_behind_asks_for_many_at_once(s3_url: str) -> None:
    with opened(s3_url) as reader, opened(s3_url) as writer:
        for number in range(40):
            append(writer, number)
        alone = list[str]()
        read = S3Files.read

        def noted(self: S3Files, name: str) -> bytes | None:
            alone.append(name)
            return read(self, name)

        with pytest.MonkeyPatch.context() as patch, asked(s3_url) as made:
            patch.setattr(S3Files, "read", noted)
            assert reader.table(Entry).count() == 40
        assert len(alone) < 10
        assert len(made) < 80


def test_who_makes_a_keep_at_the_same_time_makes_one(s3_url: str) -> None:
    barrier, keeps = Barrier(4), list[quantkeep.Keep]()

    def make() -> None:
        barrier.wait()
        keeps.append(opened(s3_url))

    threads = [Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    replicas = [keep.backend.usable()._replica for keep in keeps]  # type: ignore[attr-defined]
    for number, keep in enumerate(keeps):
        append(keep, number)
    for keep in keeps:
        assert keep.table(Entry).count() == 4
    assert len({replica.state.identity for replica in replicas}) == 1
    first = replicas[0]._files.read(log.name_of(1))
    assert replicas[0].state.identity.encode() in first
    for keep in keeps:
        keep.close()
