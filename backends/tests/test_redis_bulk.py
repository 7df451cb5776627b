"""Large appends from tables and in company: their content is told apart, each is answered."""

import math
import struct
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
import redis

import quantkeep
from quantkeep import Keep, Record, arrow, record
from quantkeep.batch import Batch
from quantkeep.collection import Reference
from quantkeep.errors import AlreadyExists, Corrupt, InvalidReference, StoreFull, Unavailable
from quantkeep.hosts import Hosts
from quantkeep.query import Query, Where
from quantkeep_backends.redis import chunks, contents, packing, pipe, staging
from quantkeep_conformance import servers
from quantkeep_conformance.records import KIT_RECORDS, Entry, Specimen


@record("remarks", key=("name",), references=[Reference(("account", "mode", "at"), "kit_entries")])
class Remark(Record):
    """Refers to an entry of a log."""

    name: str
    account: str = "default"
    mode: str = "paper"
    at: int


RECORDS = (*KIT_RECORDS, Remark)


def opened(url: str) -> Keep:
    return quantkeep.open({"tape": url}, records=RECORDS)


def table(*numbers: int, **more: Any) -> pa.Table:
    """Entries as a table, which has no digests."""
    rows = [Entry(number=n, uid=f"u{n}", **more).as_dict() for n in numbers]
    return pa.Table.from_pylist(rows, schema=arrow.schema(Entry.collection))


def entries(*numbers: int, **more: Any) -> list[Entry]:
    return [Entry(number=n, uid=f"u{n}", **more) for n in numbers]


def append(keep: Keep, *numbers: int, **more: Any) -> Any:
    return keep.commit(keep.table(Entry).append(entries(*numbers, **more)))


def append_table(keep: Keep, *numbers: int, **more: Any) -> Any:
    return keep.commit(keep.table(Entry).append_arrow(table(*numbers, **more)))


def numbers(keep: Keep) -> list[int]:
    return [entry.number for entry in keep.table(Entry).scan()]


def client(url: str) -> "redis.Redis":
    return redis.Redis.from_url(url.partition("?")[0])


def key(url: str, rest: str) -> str:
    return f"quantkeep:{{{quantkeep.url.Url.parse(url).options['name']}}}:{rest}"


# -- contents that have to be looked at ------------------------------------------------------------


def single(keep: Keep, *numbers: int, **more: Any) -> list[int]:
    return [append(keep, n, **more).revision for n in numbers]


def in_one_script(keep: Keep, *numbers: int, **more: Any) -> list[int]:
    return [*append(keep, *numbers, **more).revisions]


def among_many(keep: Keep, *numbers: int, **more: Any) -> list[int]:
    write = keep.table(Entry).append([*entries(*numbers, **more), *entries(*range(1_000, 1_030))])
    return [*keep.commit(write).revisions][:-30]


def among_very_many(keep: Keep, *numbers: int, **more: Any) -> list[int]:
    made = pa.concat_tables([table(*range(1_000, 1_090)), table(*numbers, **more)])
    return [*keep.commit(keep.table(Entry).append_arrow(made)).revisions][90:]


WAYS = [single, in_one_script, among_many, among_very_many]


@pytest.mark.requirement("Z-9", "Z-31")
@pytest.mark.parametrize("folded", [False, True], ids=["", "folded"])
@pytest.mark.parametrize("first", [30, 100], ids=["few", "many"])
@pytest.mark.parametrize("way", WAYS)
def test_what_a_table_brought_is_known_by_its_content(
    redis_url, hundred_are_many, way, first, folded
):
    """The server has no digests of it: rows are compared with those in the chunks."""
    with opened(redis_url) as keep:
        append(keep, 500)
        assert append_table(keep, *range(first)).added == first
        assert b" " not in client(redis_url).hget(ids_of(redis_url, first), "u7")
        if folded:
            keep.backend.compact()
        assert way(keep, 7, 3, 29) == [9, 5, 31]
        with pytest.raises(AlreadyExists, match="u5"):
            way(keep, 5, 3, symbol="other")
        assert way(keep, 7) == [9]
        assert {*numbers(keep)} - {*range(1_000, 1_090)} == {500, *range(first)}
        assert keep.backend.check() == []


def ids_of(url: str, count: int) -> str:
    """Where the identities of that many rows stand, which came behind one."""
    return key(url, "ids:kit_entries:default:paper" + (":2" if count > packing.RESERVED else ""))


@pytest.mark.requirement("Z-9")
@pytest.mark.parametrize("first", [30, 100], ids=["few", "many"])
def test_a_content_that_was_looked_at_is_noted(redis_url, hundred_are_many, first):
    """So that it is looked at once."""
    with opened(redis_url) as keep:
        append(keep, 500)
        append_table(keep, *range(first))
        append(keep, 7)
        (sealed,) = keep.table(Entry).sealed(entries(7))
        assert client(redis_url).hget(ids_of(redis_url, first), "u7").endswith(b" " + sealed.digest)
        assert append(keep, 7).added == 0


@pytest.mark.requirement("Z-31")
def test_a_table_told_again_adds_nothing(redis_url, hundred_are_many):
    with opened(redis_url) as keep:
        made = table(*range(300))
        assert keep.commit(keep.table(Entry).append_arrow(made)).added == 300
        again = keep.commit(keep.table(Entry).append_arrow(made.take([*range(299, -1, -1)])))
        assert (again.added, [*again.revisions]) == (0, [*range(300, 0, -1)])
        assert append_table(keep, *range(250, 350)).added == 50
        with pytest.raises(AlreadyExists, match="u260"):
            among_very_many(keep, 260, symbol="other")
        assert numbers(keep) == [*range(350)]


def test_an_entry_that_was_pruned_is_compared_with_nothing(redis_url, hundred_are_many):
    with opened(redis_url) as keep:
        append_table(keep, *range(100))
        keep.commit(keep.table(Entry).delete("default", "paper", 8))
        assert single(keep, 7, symbol="other") == [101]
        assert append_table(keep, *range(7), *range(8, 100)).added == 0


@pytest.mark.parametrize("texts", [["a:b", "%", "ä ö", "", "x\n"], ["a", "b"]])
def test_identities_are_the_same_from_tables_and_from_records(redis_url, hundred_are_many, texts):
    with opened(redis_url) as keep:
        made = [Entry(number=n, uid=f"{n}{text}" if text else "") for n, text in enumerate(texts)]
        more = entries(*range(100))
        rows = [entry.as_dict() for entry in (*made, *more)]
        given = pa.Table.from_pylist(rows, schema=arrow.schema(Entry.collection))
        keep.commit(keep.table(Entry).append_arrow(given))
        for entry in made:
            assert keep.commit(keep.table(Entry).append([entry])).added == 0
        without = [Entry(number=n) for n in range(60)]
        keep.commit(keep.table(Entry).append([*made, *without]))
        assert keep.table(Entry).count() == len(texts) + 160


(NAN,) = struct.unpack(">d", bytes.fromhex("7ff8000000000001"))  # another than math.nan
HARD: dict[str, list[Any]] = {
    "text": [None, "", "a", "A", "\u00e4", "a\u0308"],
    "integer": [None, 0, 1, -(2**63), 2**63 - 1],
    "real": [None, 0.0, -0.0, 1.5, math.nan, NAN],
    "decimal": [None, Decimal(0), Decimal("1.5"), Decimal("-1.5")],
    "flag": [None, True, False],
    "instant": [None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC)],
    "day": [None, date(2026, 1, 1), date(2026, 1, 2)],
    "token": [None, UUID(int=1), UUID(int=2)],
    "blob": [None, b"", b"a", b"aa"],
    "document": [None, {}, {"a": 1}, {"a": 1.0}, []],
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_contents_are_the_same_where_their_digests_are(name):
    collection = Specimen.collection
    rows = [collection.seal(Specimen(name="x", **{name: value}), Hosts(())) for value in HARD[name]]
    pairs = [(one, other) for one in rows for other in rows]
    ours, theirs = (chunks.of_rows(collection, [pair[n] for pair in pairs]) for n in (0, 1))
    void = [n for n in theirs.schema.names if theirs.column(n).null_count == theirs.num_rows]
    found = contents.same(collection, ours, theirs.drop_columns(void)).to_pylist()
    assert found == [one.digest == other.digest for one, other in pairs]
    assert found.count(True) == len(rows)


@pytest.mark.requirement("Z-9")
def test_binaries_and_texts_are_compared_whatever_their_arrow_type():
    one = pa.RecordBatch.from_pydict({"text": ["a"], "blob": pa.array([b"ab"], pa.binary(2))})
    long = {"text": pa.array(["a"], pa.large_string()), "blob": pa.array([b"a"], pa.large_binary())}
    other = pa.RecordBatch.from_pydict(long)
    for ours, theirs in ((one, other), (other, one)):
        assert contents.same(Specimen.collection, ours, theirs).to_pylist() == [False]
        assert contents.same(Specimen.collection, ours, ours).to_pylist() == [True]


# -- several appends in one batch ------------------------------------------------------------------


def several(keep: Keep, *appends: list[Entry] | pa.Table) -> Any:
    log = keep.table(Entry)
    return keep.backend.commit(Batch(tuple(
        log.append_arrow(each) if isinstance(each, pa.Table) else log.append(each)
        for each in appends
    )))  # fmt: skip


def outcomes(receipt: Any) -> list[tuple[int, list[int]]]:
    return [(outcome.added, [*outcome.revisions]) for outcome in receipt.outcomes]


@pytest.mark.requirement("Z-2", "Z-31")
@pytest.mark.parametrize("made", [entries, table], ids=["records", "tables"])
@pytest.mark.parametrize("size", [2, 15, 60])
def test_several_appends_to_a_log_are_answered_one_by_one(redis_url, hundred_are_many, size, made):
    with opened(redis_url) as keep:
        receipt = several(keep, made(*range(size)), made(), made(*range(size, 2 * size)))
        assert outcomes(receipt) == [
            (size, [*range(1, size + 1)]), (0, []), (size, [*range(size + 1, 2 * size + 1)])
        ]  # fmt: skip
        packed = client(redis_url).hlen(key(redis_url, "chunks:kit_entries:default:paper"))
        assert bool(packed) == (2 * size >= 20)
        again = several(keep, made(1, 0), entries(2 * size, 1), made(2 * size))
        new = 2 * size + 1
        assert outcomes(again) == [(0, [2, 1]), (1, [new, 2]), (0, [new])]
        assert numbers(keep) == [*range(new)]


@pytest.mark.requirement("Z-2", "Z-31")
def test_identities_are_of_all_appends_of_a_batch(redis_url, hundred_are_many):
    with opened(redis_url) as keep:
        receipt = several(keep, entries(*range(40)), table(*range(30, 90)), entries(5, 95))
        assert outcomes(receipt) == [
            (40, [*range(1, 41)]), (50, [*range(31, 91)]), (1, [6, 91])
        ]  # fmt: skip
        for other in (entries(*range(200, 300)), table(*range(200, 300)), entries(200)):
            with pytest.raises(AlreadyExists, match="u200"):
                several(keep, other, entries(200, symbol="other"))
        with pytest.raises(AlreadyExists, match="u3"):
            several(keep, table(*range(200, 300)), entries(3, symbol="other"))
        assert numbers(keep) == [*range(90), 95]


@pytest.mark.requirement("Z-2")
def test_appends_to_several_logs_and_streams_share_a_batch(redis_url, hundred_are_many):
    with opened(redis_url) as keep:
        log = keep.table(Entry)
        receipt = keep.backend.commit(Batch((
            log.append(entries(*range(30))),
            keep.table(Remark).put(Remark(name="a", at=30)),
            log.append([*entries(*range(30), account="b"), *entries(30)]),
            keep.table(Remark).put(Remark(name="b", account="b", at=1)),
        )))  # fmt: skip
        assert [o.added for o in receipt.outcomes] == [30, 1, 31, 1]
        assert [*receipt.outcomes[2].revisions] == [*range(1, 31), 31]
        assert log.count() == 61


@pytest.mark.requirement("Z-2", "X-6")
@pytest.mark.parametrize("count", [1, 2, 30, 100])
def test_what_a_batch_appends_can_be_referred_to_in_it(redis_url, hundred_are_many, count):
    with opened(redis_url) as keep:
        log, remarks = keep.table(Entry), keep.table(Remark)
        write = log.append(entries(*range(count)))
        for at in (count + 1, 0, -1):
            with pytest.raises(InvalidReference):
                keep.commit(remarks.put(Remark(name="a", at=at)), write)
        keep.commit(remarks.put(Remark(name="a", at=count)), write)
        assert log.count() == count


# -- what works ahead ------------------------------------------------------------------------------


def test_no_thread_is_left_behind(redis_url, hundred_are_many):
    before = {*threading.enumerate()}
    with opened(redis_url) as keep:
        append_table(keep, *range(1_000))
        assert {*threading.enumerate()} <= before


def test_an_error_while_packing_leaves_nothing(redis_url, hundred_are_many, monkeypatch):
    before, packed = {*threading.enumerate()}, chunks.packed
    calls = iter(range(100))

    def breaks(batch: Any) -> bytes:
        if next(calls) == 5:
            raise MemoryError
        return packed(batch)

    with opened(redis_url) as keep:
        monkeypatch.setattr(chunks, "packed", breaks)
        with pytest.raises(MemoryError):
            append_table(keep, *range(1_000))
        monkeypatch.setattr(chunks, "packed", packed)
        assert {*threading.enumerate()} <= before
        assert not [*client(redis_url).scan_iter(key(redis_url, "staged:*").replace("[", "\\["))]
        assert append_table(keep, *range(1_000)).added == 1_000
        assert numbers(keep) == [*range(1_000)]


@pytest.mark.parametrize("turn", [1, 3, 64])
def test_one_connection_is_enough_for_all_threads(redis_url, hundred_are_many, monkeypatch, turn):
    """A large append gives the others a turn."""
    monkeypatch.setattr(pipe, "_TURN", turn)
    monkeypatch.setattr(staging, "_INLINE", 0)
    failures: list[BaseException] = []

    def work(keep: Keep, first: int) -> None:
        try:
            append_table(keep, *range(first, first + 2_000))
        except BaseException as error:  # the test's own thread is to see it
            failures.append(error)

    with opened(f"{redis_url}&connections=1&timeout=20") as keep:
        threads = [threading.Thread(target=work, args=(keep, 10_000 * n)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(numbers(keep)) == 6_000


def test_a_server_that_forgets_its_scripts_is_told_them_again(
    redis_url, hundred_are_many, monkeypatch
):
    send = staging.Staging._sent

    def and_flush(self: Any, *arguments: Any) -> None:
        client(redis_url).script_flush()
        send(self, *arguments)

    with opened(redis_url) as keep:
        append_table(keep, *range(100))
        monkeypatch.setattr(staging.Staging, "_sent", and_flush)
        assert append_table(keep, *range(50, 200)).added == 100
        assert numbers(keep) == [*range(200)]


@pytest.mark.requirement("Z-31", "Z-9")
@pytest.mark.parametrize("others", [[90], [*range(80, 95)], [*range(80, 300)]], ids=len)
def test_an_identity_that_was_not_sent_yet_may_be_taken(
    redis_url, hundred_are_many, monkeypatch, others
):
    """Of a stream that had none when the first were sent, so that none is looked up."""
    send, sent = staging.Staging._sent, []
    with opened(redis_url) as keep, opened(redis_url) as other:

        def and_then(self: Any, *arguments: Any) -> None:
            send(self, *arguments)
            sent.append(arguments)
            if len(sent) == 1:
                self.settle()
                monkeypatch.setattr(staging.Staging, "_sent", send)
                append_table(other, *others)

        monkeypatch.setattr(staging.Staging, "_sent", and_then)
        assert append_table(keep, *range(100)).added == 100 - len({*others} & {*range(100)})
        assert sorted(numbers(keep)) == sorted({*range(100), *others})
        assert keep.backend.check() == []


# -- what is lost on the way -----------------------------------------------------------------------


@pytest.mark.requirement("Z-9", "Z-18")
@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("at", [1, 2, 9, 20, 40])
def test_a_server_that_dies_while_answers_are_due_has_nothing(
    kind, at, hundred_are_many, monkeypatch
):
    """Pieces are sent before the ones in front of them were answered: all of them are in vain."""
    monkeypatch.setattr(staging, "_INLINE", 0)
    send, sent = pipe.Pipe.send, [0]
    with servers.redis(kind, {}, port=servers.free_port()) as server:

        def and_crash(self: Any, *arguments: Any) -> None:
            send(self, *arguments)
            sent[0] += 1
            if sent[0] == at:
                assert server.process is not None
                server.process.crash()

        with opened(server.url) as keep:
            append(keep, 500)
            with monkeypatch.context() as patch:
                patch.setattr(pipe.Pipe, "send", and_crash)
                with pytest.raises(Unavailable) as caught:
                    append_table(keep, *range(1_000))
            assert caught.value.applied == "no"
            assert server.process is not None
            server.process.revive()
            assert numbers(keep) == [500]
            assert append_table(keep, *range(1_000)).added == 999
            assert keep.backend.check() == []


@pytest.mark.requirement("Z-9")
def test_a_full_server_refuses_what_is_sent_ahead(hundred_are_many, monkeypatch):
    monkeypatch.setattr(staging, "_INLINE", 0)
    with servers.redis("redis", {}, port=servers.free_port()) as server:
        control = redis.Redis.from_url(server.url)
        with opened(server.url) as keep:
            append_table(keep, *range(30))
            control.config_set("maxmemory", "1mb")
            with pytest.raises(StoreFull):
                append_table(keep, *range(1_000))
            assert single(keep, 7) == [8], "it is there, and its digest is noted"
            control.config_set("maxmemory", "0")
            assert not [*control.scan_iter("*staged*")]
            assert append_table(keep, *range(1_000)).added == 970


# -- reading ahead ---------------------------------------------------------------------------------


def test_columns_are_read_ahead_in_order_and_no_further_than_needed(redis_url, hundred_are_many):
    before = {*threading.enumerate()}
    with opened(redis_url) as keep:
        append_table(keep, *range(500))
        append(keep, *range(500, 510))
        append_table(keep, *range(510, 700))
        keep.commit(*(keep.table(Entry).delete("default", "paper", n) for n in range(41, 81)))
        log = keep.table(Entry)
        whole = [*range(40), *range(80, 700)]
        assert log.arrow().read_all().column("number").to_pylist() == whole
        some = log.arrow(Query(where=(Where("revision", ">", 300),)))
        assert some.read_all().column("number").to_pylist() == [*range(300, 700)]
        reader = log.arrow()
        assert reader.read_next_batch().num_rows == 40
        del reader, some
        assert {*threading.enumerate()} <= before


def test_a_damaged_chunk_is_told_where_it_is_read(redis_url, hundred_are_many):
    with opened(redis_url) as keep:
        append_table(keep, *range(500))
        client(redis_url).setrange(
            key(redis_url, "chunk:kit_entries:default:paper:121"), 100, b"????"
        )
        reader = keep.table(Entry).arrow()
        for _ in range(3):
            assert reader.read_next_batch().num_rows == 40
        with pytest.raises(Corrupt, match="121 to 160"):
            reader.read_next_batch()
