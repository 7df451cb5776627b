"""The key layout: as documented, injective, apart from neighbours, and damage to it is noticed."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

import quantkeep
from quantkeep import Record, record
from quantkeep.columns import Column, Kind
from quantkeep.errors import Corrupt, InvalidRecord
from quantkeep.query import Query, Where
from quantkeep.url import Url
from quantkeep_backends.redis import chunks, keys, ordering
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.opening import discard
from quantkeep_conformance.records import KIT_RECORDS, Entry, Leg, Order, Party, Setting

TEXT = Column(name="text", kind=Kind.TEXT, nullable=True)
COLUMNS = (TEXT, TEXT)
texts = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.fixture
def url(redis_server) -> Iterator[str]:
    made = f"{redis_server.url}?name=keys_{os.urandom(8).hex()}"
    yield made
    discard(Url.parse(made))


@pytest.fixture
def client(redis_server) -> redis.Redis:
    return redis.Redis.from_url(redis_server.url)


def prefix(url: str) -> str:
    return Names(Url.parse(url).options["name"]).prefix


# -- names -----------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None, database=None)
@given(one=st.tuples(texts, texts), other=st.tuples(texts, texts))
def test_other_ids_are_other_keys(one, other):
    made = keys.joined(COLUMNS, one)
    assert keys.taken_apart(COLUMNS, made) == one
    assert (made == keys.joined(COLUMNS, other)) == (one == other)
    assert not set(made) & set("{}|*?[]\\ \n")


@settings(max_examples=500, deadline=None, database=None)
@given(one=texts, other=texts)
def test_encodings_compare_as_texts_do(one, other):
    ours, theirs = ordering.encoded(Kind.TEXT, one), ordering.encoded(Kind.TEXT, other)
    assert (ours < theirs) == ((one is not None, one or "") < (other is not None, other or ""))


@pytest.mark.parametrize("name", ["a", "a*", "a[bc]", "a?", "a\\", "a-z", "{a}", "a:b", "a b"])
def test_discarding_a_keep_leaves_its_neighbours(redis_server, client, name):
    """Patterns are escaped: ``a*`` is not everything that begins with an a."""
    neighbours = ["ab", "a", "a*", "abc", "a:b", "az", "a-z", "{a}", "a b"]
    for other in {*neighbours, name}:
        with quantkeep.open(
            {"tape": f"{redis_server.url}?name={_quoted(other)}"}, records=KIT_RECORDS
        ) as k:
            k.commit(k.table(Entry).append([Entry(number=1)]))
    client.set("quantkeep:stranger", "mine")
    discard(Url.parse(f"{redis_server.url}?name={_quoted(name)}"))
    for other in {*neighbours} - {name}:
        with quantkeep.open(
            {"tape": f"{redis_server.url}?name={_quoted(other)}"}, records=KIT_RECORDS
        ) as k:
            assert k.table(Entry).count() == 1
        discard(Url.parse(f"{redis_server.url}?name={_quoted(other)}"))
    assert client.get("quantkeep:stranger") == b"mine"
    assert not [*client.scan_iter(keys.Names(name).pattern)]


def _quoted(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode())


def test_no_script_flushes_lists_keys_or_lets_them_expire():
    folder = Path(keys.__file__).parent
    code = "\n".join(p.read_text() for p in folder.rglob("*.lua") if p.name != "reserve.lua")
    expiring = re.findall(r"'EXPIRE', (\w+)", (folder / "lua" / "reserve.lua").read_text())
    assert expiring == ["key"]  # what is sent ahead
    assert not re.search(r"'(FLUSH\w+|KEYS|EXPIRE\w*|SETEX|PEXPIRE\w*)'", code)
    python = "\n".join(path.read_text() for path in folder.glob("*.py"))
    assert not re.search(r'"(FLUSH\w+|KEYS|EXPIRE\w*|SETEX)"', python)
    assert re.findall(r'"EX"', python) == ['"EX"']  # what is sent ahead, alone


# -- the layout ------------------------------------------------------------------------------------


@pytest.mark.requirement("D70-1")
def test_live_state_is_read_without_quantkeep(url, client):
    with quantkeep.open(url) as keep:
        session = keep.sessions.start("arb", mode="paper")
        session["risk_guard"] = {"max_drawdown": 0.1}
        session.save()
        at = prefix(url)
        found = client.hgetall(f"{at}sessions:{session.session_id}")
        assert found[b"status"] == b"running"
        assert found[b"_revision"] == b"2"
        names = [*client.scan_iter(f"{at}session_entries:*")]
        bodies = [client.hget(name, "body") for name in names]
        assert b'{"max_drawdown":0.1}' in bodies
        session.stop()


def test_every_key_is_in_the_documentation(url, client):
    """What stands first in a key, behind the keep's name, has a row in the table."""
    page = (Path(__file__).parents[2] / "docs" / "redis-keys.md").read_text()
    with quantkeep.open(url, records=KIT_RECORDS) as keep:
        session = keep.sessions.start("s", mode="paper")
        session["x"] = 1
        session.save()
        session.stop()
        table = keep.table(Entry)
        keep.commit(table.append([Entry(number=n, uid=f"{n}") for n in range(600)]), op_id="o")
        keep.commit(table.append([Entry(number=n) for n in range(300)]))
        keep.commit(table.delete("default", "paper", 2))
        keep.backend.compact()
        keep.backend.put_blob("ab" * 32, b"x")
    collections = {kind.collection.name for kind in KIT_RECORDS} | {"sessions", "session_entries"}
    collections |= {"session_leases", "session_snapshots"}
    found = {key.decode().removeprefix(prefix(url)) for key in client.scan_iter(f"{prefix(url)}*")}
    kinds = {name.partition(":")[0] for name in found} - collections
    assert {"meta", "ops", "recent", "tail", "chunks", "chunk", "ids", "gone"} - {"tail"} <= kinds
    assert not [kind for kind in kinds if f"`{kind}" not in page]


# -- added to what is there ------------------------------------------------------------------------


@record("plants", key=("name",))
class Plant(Record):
    name: str
    colour: str | None = None
    height: int | None = None


@record("plants", key=("name",), indexes=[("colour", "height"), ("created_at",)])
class IndexedPlant(Record):
    name: str
    colour: str | None = None
    height: int | None = None


@record("plants", key=("name",), unique=[("colour",)])
class UniquePlant(Record):
    name: str
    colour: str | None = None
    height: int | None = None


def test_an_index_that_is_added_is_filled_while_others_write(url):
    with quantkeep.open({"tape": url}, records=[Plant]) as old:
        table = old.table(Plant)
        many = [
            Plant(name=f"{n:03}", colour="red" if n % 2 else "blue", height=n) for n in range(99)
        ]
        old.commit(*map(table.put, many))
        with quantkeep.open({"tape": url}, records=[IndexedPlant]) as new:
            old.commit(table.put(Plant(name="zz", colour="red", height=-1)))
            red = (Where("colour", "==", "red"),)
            found = new.table(IndexedPlant).list(*red, order=("height",))
            assert [plant.height for plant in found] == [-1, *range(1, 99, 2)]
            old.commit(*(table.delete(f"{n:03}") for n in range(50)))
            assert new.table(IndexedPlant).count(*red) == 25
            assert new.backend.check() == []
            newest = new.table(IndexedPlant).list(order=("-created_at",), limit=1)
            assert newest[0].name == "zz"


def test_a_uniqueness_that_does_not_hold_is_not_added(url):
    with quantkeep.open({"tape": url}, records=[Plant]) as keep:
        keep.commit(*(keep.table(Plant).put(Plant(name=n, colour="red")) for n in "ab"))
    with pytest.raises(InvalidRecord, match="unique"):
        quantkeep.open({"tape": url}, records=[UniquePlant])
    with quantkeep.open({"tape": url}, records=[Plant]) as keep:
        assert keep.table(Plant).count() == 2


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-6")
def test_a_record_that_was_removed_moved_or_restamped_is_noticed(url, client):
    with quantkeep.open({"tape": url}, records=KIT_RECORDS) as keep:
        table, at = keep.table(Setting), prefix(url)
        keep.commit(*(table.put(Setting(owner="o", name=n, value=1)) for n in "abcd"))
        assert keep.backend.check() == []
        name = f"{at}kit_settings:o:"
        client.hset(f"{name}a", "_revision", "9")
        client.rename(f"{name}b", f"{name}c")
        for key in "ac":
            with pytest.raises(Corrupt):
                table.get("o", key)
        client.delete(f"{name}d")
        with pytest.raises(Corrupt):
            table.list()
        assert keep.backend.check()


@pytest.mark.requirement("Z-6")
def test_a_chunk_that_was_changed_or_removed_is_noticed(url, client):
    with quantkeep.open({"tape": url}, records=KIT_RECORDS) as keep:
        table, at = keep.table(Entry), prefix(url)
        keep.commit(table.append([Entry(number=n) for n in range(chunks.ROWS + 500)]))
        first = f"{at}chunk:kit_entries:default:paper:1"
        second = f"{at}chunk:kit_entries:default:paper:{chunks.ROWS + 1}"
        whole = client.get(first)
        flipped = bytearray(whole)
        flipped[len(whole) // 3] ^= 1
        client.set(first, bytes(flipped))
        with pytest.raises(Corrupt, match="digest"):
            table.get("default", "paper", 7)
        assert table.fetch("default", "paper", chunks.ROWS + 7).number == chunks.ROWS + 6
        client.set(first, whole)
        client.delete(second)
    with quantkeep.open({"tape": url}, records=KIT_RECORDS) as keep:
        with pytest.raises(Corrupt, match="missing"):
            keep.table(Entry).list()
        assert keep.backend.check()


@pytest.mark.requirement("Z-6")
def test_entries_that_were_swapped_or_removed_are_noticed(url, client):
    with quantkeep.open({"tape": url}, records=KIT_RECORDS) as keep:
        table, at = keep.table(Entry), prefix(url)
        keep.commit(table.append([Entry(number=n) for n in range(5)]))
        tail = f"{at}tail:kit_entries:default:paper"
        one, two = client.hmget(tail, "1", "2")
        client.hset(tail, mapping={"1": two, "2": one})
        with pytest.raises(Corrupt):
            table.list()
        client.hset(tail, mapping={"1": one, "2": two})
        client.hdel(tail, "3")
        assert keep.backend.check()


# -- what stays behind -----------------------------------------------------------------------------


def test_what_is_deleted_leaves_nothing_behind(url, client):
    with quantkeep.open({"tape": url}, records=KIT_RECORDS) as keep:
        keep.commit(keep.table(Party).put(Party(party="p", name="n")))
        before = client.dbsize()
        keep.commit(
            keep.table(Order).put(Order(order="o", party="p")),
            keep.table(Leg).put(Leg(order="o", leg=1)),
        )
        keep.commit(keep.table(Order).delete("o"))
        assert keep.table(Leg).count() == 0
        left = {key.decode() for key in client.scan_iter(f"{prefix(url)}*")}
        assert not [key for key in left if "kit_legs:" in key and "heads" not in key]
        assert client.dbsize() <= before + 2  # the heads of two collections' streams
        keep.commit(keep.table(Party).delete("p"))
        assert [*keep.backend.scan(Party.collection, Query())] == []
