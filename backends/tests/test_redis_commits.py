"""A commit on Redis does what it does in the model, packed or not, whatever refuses it."""

import os
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import quantkeep
from quantkeep import ABSENT, ANYTHING, PRESENT, AtRevision, QuantkeepError, Record, record
from quantkeep.batch import Append, Batch, Delete, Holding, Put, Require, Write
from quantkeep.collection import Reference
from quantkeep.errors import AlreadyExists, InvalidReference, StillReferenced
from quantkeep.hosts import Hosts
from quantkeep.query import Query
from quantkeep.records import field
from quantkeep_backends.memory import MemoryBackend
from quantkeep_backends.redis import chunks, packing, sealing
from quantkeep_backends.redis.opening import discard
from quantkeep_conformance.records import Entry, Lease, Leg, Order, Party, Seat, Setting

KINDS = (Entry, Setting, Party, Order, Leg, Seat, Lease)


@record(
    "visits",
    log=True,
    stream=("party",),
    unique=[("ticket",)],
    references=[Reference(("party",), "kit_parties", on_delete="cascade")],
)
class Visit(Record):
    """An entry that goes with what it refers to."""

    party: str
    ticket: str | None = None
    note: str = ""


@record("reviews", key=("name",), references=[Reference(("visitor", "visit"), "visits")])
class Review(Record):
    """Refers to an entry of a log."""

    name: str
    visitor: str | None = None
    visit: int | None = field(default=None)


@record("remarks", key=("name",), references=[Reference(("account", "mode", "at"), "kit_entries")])
class Remark(Record):
    """Refers to an entry of a log that refers to nothing."""

    name: str
    account: str | None = None
    mode: str = "paper"
    at: int | None = None


RECORDS = (*KINDS, Visit, Review, Remark)
COLLECTIONS = [kind.collection for kind in RECORDS]


def sealed(made: Record) -> Any:
    return type(made).collection.seal(made, Hosts(()))


names = st.sampled_from(["a", "b", "A:b", "%", "*?[x]"])
few = st.integers(0, 3)
expectations = st.sampled_from([ANYTHING, ANYTHING, ABSENT, PRESENT]) | st.builds(AtRevision, few)


def entries() -> st.SearchStrategy[Write]:
    one = st.builds(
        Entry,
        account=st.sampled_from(["x", "y"]),
        mode=st.sampled_from(["paper", "live"]),
        uid=st.none() | st.sampled_from(["u", "v", "", "w w"]),
        number=st.integers(0, 1),
    )
    return st.lists(one, max_size=5).map(
        lambda rows: Append(Entry.collection, [*map(sealed, rows)])
    )


def visits() -> st.SearchStrategy[Write]:
    one = st.builds(Visit, party=names, ticket=st.sampled_from([None, "1", "2", "3", "4"]))
    return st.lists(one, min_size=1, max_size=2).map(
        lambda rows: Append(Visit.collection, [*map(sealed, rows)])
    )


def put(strategy: st.SearchStrategy[Record]) -> st.SearchStrategy[Write]:
    return st.builds(
        lambda made, expect: Put(type(made).collection, sealed(made), expect),
        strategy,
        expectations,
    )


def deletion(kind: type[Record], *key: st.SearchStrategy[Any]) -> st.SearchStrategy[Write]:
    what = st.sampled_from([Delete, Delete, Delete, Require])
    return st.builds(
        lambda what, key, expect: what(kind.collection, key, expect),
        what, st.tuples(*key), expectations,
    )  # fmt: skip


modes, accounts = st.sampled_from(["paper", "live"]), st.sampled_from(["x", "y"])
writes = st.one_of(
    entries(),
    entries(),
    visits(),
    put(st.builds(Setting, owner=names, name=names, value=few)),
    put(st.builds(Party, party=names, name=names)),
    put(st.builds(Order, order=names, party=st.none() | names)),
    put(st.builds(Leg, order=names, leg=few)),
    put(st.builds(Seat, seat=names, hall=names, number=st.none() | few)),
    put(st.builds(Review, name=names, visitor=st.none() | names, visit=st.none() | few)),
    put(st.builds(Remark, name=names, account=st.none() | accounts, mode=modes, at=few)),
    deletion(Entry, accounts, modes, few),
    deletion(Visit, names, few),
    deletion(Setting, names, names),
    deletion(Party, names),
    deletion(Order, names),
    deletion(Leg, names, few),
    deletion(Seat, names),
    deletion(Review, names),
    deletion(Remark, names),
)
batches = st.builds(
    Batch,
    st.lists(writes, min_size=1, max_size=4).map(tuple),
    st.none() | st.sampled_from(["op 1", "op 2"]),
)


@settings(
    max_examples=120, deadline=None, database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    history=st.lists(batches, min_size=1, max_size=8),
    least=st.sampled_from([1, 2, 1000]),
    reserved=st.sampled_from([0, 1, 1000]),
)
@pytest.mark.requirement("Z-2", "Z-9", "Z-10", "Z-31", "Z-32")
def test_histories_are_those_of_the_model(redis_server, history, least, reserved):
    url = f"{redis_server.url}?name=history_{os.urandom(8).hex()}"
    model = MemoryBackend()
    model.ensure(COLLECTIONS, "")
    with (
        pytest.MonkeyPatch.context() as patch,
        quantkeep.open({"tape": url}, records=RECORDS) as keep,
    ):
        patch.setattr(chunks, "LEAST", least)
        patch.setattr(chunks, "ROWS", 2)
        patch.setattr(packing, "RESERVED", reserved)
        patch.setattr(sealing, "_LEAST", 1)
        patch.setattr(sealing, "_ROWS", 3)
        for number, batch in enumerate(history):
            assert came_of(keep.backend, batch) == came_of(model, batch)
            if number == 2:
                patch.setattr(chunks, "ROWS", 6)
                keep.backend.compact()
                patch.setattr(chunks, "ROWS", 2)
        for collection in COLLECTIONS:
            found = [row[:2] for row in keep.backend.scan(collection, Query())]
            assert found == [row[:2] for row in model.scan(collection, Query().bound(collection))]
            assert keep.backend.heads(collection) == model.heads(collection)
        assert keep.backend.check() == []
    discard(quantkeep.url.Url.parse(url))


def came_of(backend: Any, batch: Batch) -> object:
    try:
        receipt = backend.commit(batch)
    except QuantkeepError as error:
        return type(error).__name__, str(error).split(" {")[0][:60]
    return [(o.added, [*o.revisions]) for o in receipt.outcomes], receipt.replayed


# -- what random batches meet too seldom ---------------------------------------------------------


@pytest.mark.requirement("Z-31")
def test_a_large_append_told_again_adds_nothing(redis_url):
    with quantkeep.open({"tape": redis_url}, records=RECORDS) as keep:
        table = keep.table(Entry)
        rows = [Entry(number=n, uid=f"u{n}") for n in range(1_000)]
        assert keep.commit(table.append(rows[:600])).added == 600
        again = keep.commit(table.append(rows))
        assert (again.added, [*again.revisions]) == (400, [*range(1, 1001)])
        assert [entry.number for entry in table.scan()] == [*range(1_000)]


def test_a_large_append_with_one_that_differs_is_refused_whole(redis_url):
    with quantkeep.open({"tape": redis_url}, records=RECORDS) as keep:
        table = keep.table(Entry)
        keep.commit(table.append([Entry(number=1, uid="u500")]))
        rows = [Entry(number=n, uid=f"u{n}") for n in range(1_000)]
        with pytest.raises(AlreadyExists, match="u500"):
            keep.commit(table.append(rows))
        assert table.count() == 1
        twice = [Entry(number=n % 999, uid=f"w{n % 999}") for n in range(1_000)]
        assert keep.commit(table.append(twice)).added == 999
        with pytest.raises(AlreadyExists, match="z0"):
            keep.commit(table.append([*twice, Entry(number=1, uid="z0"), Entry(uid="z0")]))


def test_a_pruned_identity_is_free_again(redis_url):
    with quantkeep.open({"tape": redis_url}, records=RECORDS) as keep:
        table = keep.table(Entry)
        rows = [Entry(number=n, uid=f"u{n}") for n in range(600)]
        keep.commit(table.append(rows))
        keep.commit(*(table.delete("default", "paper", n) for n in range(1, 601)))
        assert table.count() == 0
        assert keep.backend.check() == []
        assert [*keep.commit(table.append(rows[:300])).revisions] == [*range(601, 901)]


def test_many_threads_seal_and_append_at_once(redis_url, monkeypatch):
    """Whoever crosses the line packs; no entry is lost or doubled, in whatever order they come."""
    with quantkeep.open({"tape": redis_url}, records=RECORDS) as keep:
        table = keep.table(Entry)
        failures: list[BaseException] = []

        def work(first: int) -> None:
            try:
                for n in range(first, first + 1_200):
                    keep.commit(table.append([Entry(number=n)]))
                    if n % 100 == 0:
                        keep.backend.compact()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(10_000 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        seen = []
        while any(thread.is_alive() for thread in threads):
            found = [entry.revision for entry in table.scan()]
            assert found == [*range(1, len(found) + 1)]
            seen.append(len(found))
        assert not failures
        assert seen == sorted(seen)
        numbers = sorted(entry.number for entry in table.scan())
        assert numbers == sorted(10_000 * t + n for t in range(4) for n in range(1_200))
        assert keep.backend.check() == []


@pytest.mark.requirement("Z-11")
def test_a_token_decides(redis_url):
    with quantkeep.open({"tape": redis_url}, records=RECORDS) as keep:
        keep.commit(Put(Lease.collection, sealed(Lease(name="l", token=3, owner="me"))))
        held = Put(Lease.collection, sealed(Lease(name="l", token=4, owner="you")), Holding(3))
        keep.commit(held)
        with pytest.raises(quantkeep.StaleOwner, match="fencing token 3"):
            keep.commit(held)


def test_a_record_that_is_put_twice_is_judged_by_what_it_refers_to(redis_url):
    with quantkeep.open({"tape": redis_url}, records=RECORDS) as keep:
        order = Put(Order.collection, sealed(Order(order="o", party="nobody")))
        with pytest.raises(InvalidReference):
            keep.commit(order, order)
        party = Put(Party.collection, sealed(Party(party="nobody")))
        keep.commit(party, order, order)
        keep.commit(order, order)
        with pytest.raises(StillReferenced):
            keep.commit(order, Delete(Party.collection, ("nobody",)))
        free = Put(Order.collection, sealed(Order(order="o")))
        keep.commit(free, order)
        keep.commit(free, free)
        assert not keep.table(Order).list(quantkeep.Where("party", "==", "nobody"))
        keep.commit(free, order)
        assert keep.table(Order).list(quantkeep.Where("party", "==", "nobody"))
        assert keep.backend.check() == []


@pytest.mark.parametrize("count", [2, 300])
def test_writes_are_refused_in_order(redis_url, count):
    """Packed entries are looked at before the batch is sent; what is in front comes first."""
    with quantkeep.open({"tape": redis_url}, records=RECORDS) as keep:
        absent = Put(Party.collection, sealed(Party(party="nobody")), PRESENT)
        twice = [Entry(number=n, uid=f"u{n % (count - 1)}") for n in range(count)]
        append = keep.table(Entry).append(twice)
        with pytest.raises(quantkeep.NotFound):
            keep.commit(absent, append)
        with pytest.raises(AlreadyExists, match="u0"):
            keep.commit(append, absent)
        with pytest.raises(AlreadyExists, match="u0"):
            keep.commit(append)
