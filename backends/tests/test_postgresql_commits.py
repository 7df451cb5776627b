"""Commits on PostgreSQL: one statement, a transaction or a COPY come to the same."""

import re
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from typing import Any, Literal

import psycopg
import pytest

import quantkeep
from quantkeep import ABSENT, PRESENT, AtRevision, Holding, Keep, Record, Where, failpoints, field
from quantkeep.batch import Require
from quantkeep.errors import (
    AlreadyExists,
    Conflict,
    InvalidReference,
    InvalidValue,
    NotFound,
    OperationConflict,
    Regression,
    StaleOwner,
    StillReferenced,
)
from quantkeep.tape import Trade


@quantkeep.record("desks", key=("name",), stream=("name",))
class Desk(Record):
    name: str
    token: int | None = None
    value: float | None = None


@quantkeep.record("rules", key=("name",), immutable=True)
class Rule(Record):
    name: str
    text: str = ""


@quantkeep.record(
    "fills",
    log=True,
    stream=("account", "mode"),
    identity=("uid",),
    unique=[("ticket", "leg")],
    indexes=[("symbol",)],
)
class Fill(Record):
    account: str | None = None
    mode: Literal["paper", "live"] = "paper"
    uid: str | None = None
    number: int = 0
    price: float = 0.0
    symbol: str | None = None
    desk: str | None = field(default=None, references="desks", on_delete="cascade")
    ticket: str | None = None
    leg: int | None = field(factory=count(1_000_000).__next__)


RECORDS = (Desk, Rule, Fill)


@pytest.fixture
def keep(postgresql_url: str) -> Iterator[Keep]:
    with quantkeep.open({"tape": postgresql_url}, records=RECORDS) as keep:
        yield keep


def fills(many: int) -> list[Fill]:
    return [Fill(account="a", uid=f"u{n}", number=n, ticket="t", leg=n) for n in range(many)]


def append(keep: Keep, *entries: Fill, op_id: str | None = None) -> quantkeep.Receipt:
    return keep.commit(keep.table(Fill).append(entries), op_id=op_id)


# -- one trip --------------------------------------------------------------------------------------


def trips(keep: Keep, work: Any) -> int:
    """How often *work* waits for the server: that is what each trip ends with."""
    pool = keep.backend.engine._database.pool  # type: ignore[attr-defined]
    link = pool.take()
    with tempfile.TemporaryFile() as trace:
        link.connection.pgconn.trace(trace.fileno())
        pool.give(link)
        work()
        link.connection.pgconn.untrace()
        trace.seek(0)
        return len(re.findall(rb"\t(?:Sync|Query|CopyDone)\b", trace.read()))


def test_a_single_write_is_one_trip(keep: Keep) -> None:
    table = keep.table(Desk)
    for n in range(3):
        append(keep, Fill(account="a", uid=f"w{n}"))
        keep.commit(table.put(Desk(name="d", value=float(n))))
        keep.commit(table.put(Desk(name="d", value=0.5), AtRevision(2 * n + 1)))
        append(keep, Fill(account="a", uid=f"o{n}"), op_id=f"warm {n}")
    entry = Fill(account="a", uid="x")
    assert trips(keep, lambda: append(keep, entry)) == 1
    assert trips(keep, lambda: append(keep, Fill(account="a", uid="y"), op_id="op")) == 1
    assert trips(keep, lambda: keep.commit(table.put(Desk(name="d", value=9.0)))) == 1
    at = table.get("d").revision
    assert trips(keep, lambda: keep.commit(table.put(Desk(name="d"), AtRevision(at)))) == 1


def test_entries_that_are_there_already_are_one_trip_when_they_come_in_a_row(keep: Keep) -> None:
    entries = [Fill(account="a", uid=f"w{n}") for n in range(8)]
    receipts = [append(keep, entry) for entry in entries]
    for entry, first in zip(entries[:3], receipts, strict=False):
        again = append(keep, entry)  # the first of them finds out that it is worth asking
        assert (again.revision, again.added) == (first.revision, 0)
    assert trips(keep, lambda: append(keep, entries[3])) == 1
    assert trips(keep, lambda: append(keep, Fill(account="a", uid="new"))) == 1
    assert trips(keep, lambda: append(keep, Fill(account="a", uid="newer"))) == 1
    assert trips(keep, lambda: append(keep, entries[4])) == 2  # taken for new
    assert trips(keep, lambda: append(keep, entries[5])) == 1
    with pytest.raises(AlreadyExists):
        append(keep, entries[6].replace(number=7))
    assert [e.revision for e in keep.table(Fill).scan()] == [*range(1, 11)]


def plans(keep: Keep, words: str) -> Iterator[str]:
    """How the server goes about statements that it was asked already, whatever their values."""
    pool = keep.backend.engine._database.pool  # type: ignore[attr-defined]
    link = pool.take()
    try:
        sql = (
            "SELECT name, cardinality(parameter_types) FROM pg_prepared_statements "
            "WHERE statement LIKE '%' || $1 || '%'"
        )
        link.script("SET plan_cache_mode = force_generic_plan")
        for name, count in link.run(sql, [words]).fetchall():
            values = ", ".join(["NULL"] * count)
            lines = link.connection.execute(f"EXPLAIN EXECUTE {name}({values})").fetchall()
            yield "\n".join(line for (line,) in lines)
    finally:
        link.script("RESET plan_cache_mode")
        pool.give(link)


def test_identities_are_found_by_their_index(keep: Keep) -> None:
    """Even by a plan that was made when the table was empty, and every index as good."""

    def trade(uid: str) -> Trade:
        return Trade(
            mode="paper", uid=uid, timestamp=datetime(2026, 1, 1, tzinfo=UTC), symbol="BTC",
            side="LONG", action="OPEN", qty=1.0,
        )  # fmt: skip

    for n in range(8):
        keep.tape.append(trade(f"s{n // 2}"))
        keep.tape.append([trade(f"p{n}"), trade(f"q{n}")])
    found = [*plans(keep, "ON CONFLICT"), *plans(keep, "WITH ORDINALITY")]
    asking = [plan for plan in found if " on trades" in plan]
    assert len(asking) >= 2
    for plan in asking:
        scans = [line for line in plan.splitlines() if "Scan" in line and " on trades" in line]
        assert scans, plan
        assert all("uq_trades_identity" in line for line in scans), plan


def test_a_batch_is_two_trips(keep: Keep) -> None:
    def work(n: int) -> None:
        table = keep.table(Desk)
        keep.commit(table.put(Desk(name="d")), table.put(Desk(name="e")), op_id=f"op {n}")

    work(0), work(1), work(2)
    assert trips(keep, lambda: work(3)) == 2


# -- many entries ----------------------------------------------------------------------------------


@pytest.fixture
def begun(keep: Keep) -> Keep:
    """With a stream of fills that is there already."""
    append(keep, Fill(account="a", uid="first"))
    return keep


def test_many_entries_are_two_trips(begun: Keep) -> None:
    append(begun, *fills(1_000)[:70])
    table = begun.table(Fill)
    plain, named = table.append(fills(1_000)[100:500]), table.append(fills(1_000)[500:])
    assert trips(begun, lambda: begun.commit(plain)) == 2
    assert trips(begun, lambda: begun.commit(named, op_id="it's")) == 2
    assert [e.revision for e in table.scan()] == [*range(1, 972)]
    receipt = begun.resolve("it's")
    assert (receipt.revisions, receipt.added) == (tuple(range(472, 972)), 500)


def test_an_operation_of_many_is_applied_once(begun: Keep) -> None:
    first = append(begun, *fills(100), op_id="op")
    again = append(begun, *fills(100), op_id="op")
    assert (again.replayed, again.outcomes, again.at) == (True, first.outcomes, first.at)
    with pytest.raises(OperationConflict):
        append(begun, *fills(101), op_id="op")
    assert begun.table(Fill).count() == 101
    assert begun.backend.heads(Fill.collection)[0].revision == 101


def test_many_that_refer_to_nothing(begun: Keep) -> None:
    with pytest.raises(InvalidReference, match=r"fills\.desk refers to desks 'd'"):
        append(begun, *(Fill(account="a", desk="d") for _ in range(100)), op_id="op")
    assert begun.resolve("op") is None
    assert append(begun, Fill(account="a")).revision == 2


def test_many_of_a_stream_that_is_there_and_others(begun: Keep) -> None:
    for start in (0, 600):
        entries = [Fill(account="aab"[n % 3], uid=f"u{n}") for n in range(start, start + 600)]
        assert append(begun, *entries).added == 600
    heads = {h.stream: h.revision for h in begun.backend.heads(Fill.collection)}
    assert heads == {("a", "paper"): 801, ("b", "paper"): 400}
    assert begun.table(Fill).count() == 1_201


def test_several_load_one_stream_at_once(begun: Keep, postgresql_url: str) -> None:
    def load(name: str) -> list[int]:
        with quantkeep.open({"tape": postgresql_url}, records=RECORDS) as keep:
            batches = [[Fill(account="a", uid=f"{name}{m}.{n}") for n in range(90)] for m in "1234"]
            return [revision for batch in batches for revision in append(keep, *batch).revisions]

    with ThreadPoolExecutor(3) as pool:
        given = [revision for revisions in pool.map(load, "xyz") for revision in revisions]
    assert sorted(given) == [*range(2, 2 + 3 * 4 * 90)]
    assert [e.revision for e in begun.table(Fill).scan()] == [*range(1, 2 + 3 * 4 * 90)]


@pytest.fixture
def pausing(begun: Keep) -> Iterator[Keep]:
    """Its next commit pauses for a moment before it is sent."""
    failpoints.arm("postgresql.commit.before_commit=pause:0.6")
    yield begun
    failpoints.arm("")


def test_a_connection_that_ends_amid_the_rows(
    pausing: Keep, postgresql: psycopg.Connection[Any]
) -> None:
    """The server says so, and so it is known that nothing was committed."""
    ended: list[Any] = []

    def end() -> None:
        copying = "pg_stat_activity WHERE query LIKE 'BEGIN;%COPY%'"
        ended.extend(postgresql.execute(f"SELECT pg_terminate_backend(pid) FROM {copying}"))

    killing = threading.Timer(0.3, end)
    killing.start()
    assert append(pausing, *fills(500)).added == 500
    killing.join()
    assert ended == [(True,)]
    assert pausing.table(Fill).count() == 501


# -- preconditions, by every way -------------------------------------------------------------------


@pytest.mark.parametrize("together", [False, True])
def test_preconditions(keep: Keep, *, together: bool) -> None:
    table = keep.table(Desk)
    more = [keep.table(Rule).put(Rule(name="r"))] if together else []

    def put(desk: Desk, expect: Any) -> quantkeep.Receipt:
        return keep.commit(*more, table.put(desk, expect))

    with pytest.raises(NotFound):
        put(Desk(name="d"), PRESENT)
    with pytest.raises(Conflict, match="not stored"):
        put(Desk(name="d"), AtRevision(1))
    assert put(Desk(name="d", token=7), ABSENT).added == 1 + together
    with pytest.raises(AlreadyExists):
        put(Desk(name="d"), ABSENT)
    with pytest.raises(StaleOwner) as stale:
        put(Desk(name="d"), Holding(6))
    assert (stale.value.held, stale.value.current) == (6, 7)
    assert put(Desk(name="d", token=8), Holding(7)).added == 0
    assert put(Desk(name="d"), AtRevision(2)).revision == 3
    with pytest.raises(Conflict, match="at revision 3"):
        put(Desk(name="d"), AtRevision(2))
    assert put(Desk(name="d"), PRESENT).revision == 4
    stored = table.get("d")
    assert stored.envelope.revision == 4
    assert stored.envelope.created < stored.envelope.updated


def test_immutable(keep: Keep) -> None:
    table = keep.table(Rule)
    first = keep.commit(table.put(Rule(name="r", text="x")))
    assert keep.commit(table.put(Rule(name="r", text="x"))).outcomes[0].added == 0
    assert keep.commit(table.put(Rule(name="r", text="x"))).revision == first.revision
    with pytest.raises(AlreadyExists):
        keep.commit(table.put(Rule(name="r", text="y")))
    assert table.get("r").text == "x"
    for expect in (PRESENT, AtRevision(1)):
        with pytest.raises((NotFound, Conflict), match="not stored"):
            keep.commit(table.put(Rule(name="other"), expect))
    assert table.get("other") is None


def test_what_is_required_absent_stays_absent(keep: Keep, postgresql_url: str) -> None:
    """Two commits that each require what the other writes to be absent: one of them wins."""
    desks = keep.table(Desk)

    def crossed(other: Keep, mine: str, theirs: str) -> bool:
        absent = Require(desks.collection, (theirs,), ABSENT)
        try:
            other.commit(absent, desks.put(Desk(name=mine)))
        except (AlreadyExists, Conflict):
            return False
        return True

    from concurrent.futures import ThreadPoolExecutor

    with (
        quantkeep.open({"tape": postgresql_url}, records=RECORDS) as second,
        ThreadPoolExecutor(2) as threads,
    ):
        for n in range(15):
            one = threads.submit(crossed, keep, f"a{n}", f"b{n}")
            two = threads.submit(crossed, second, f"b{n}", f"a{n}")
            assert [one.result(), two.result()].count(True) == 1


# -- operations ------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-10")
@pytest.mark.parametrize("many", [1, 2, 100])
def test_operations(keep: Keep, many: int) -> None:
    first = append(keep, *fills(many), op_id="op")
    again = append(keep, *fills(many), op_id="op")
    assert again.replayed
    assert not first.replayed
    assert (again.outcomes, again.at) == (first.outcomes, first.at) == (first.outcomes, first.at)
    assert keep.resolve("op") == again
    with pytest.raises(OperationConflict):
        append(keep, *fills(many + 1), op_id="op")
    assert keep.table(Fill).count() == many


# -- logs ------------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-31")
@pytest.mark.parametrize("many", [1, 30, 300, 6_000])
def test_appending_again_adds_nothing(keep: Keep, many: int) -> None:
    first = append(keep, *fills(many))
    assert list(first.revisions) == [*range(1, many + 1)]
    again = append(keep, *fills(many))
    assert again.revisions == first.revisions
    assert again.added == 0
    more = append(keep, *fills(many + 2))
    assert more.added == 2
    assert list(more.revisions) == [*range(1, many + 3)]
    doubled = [Fill(account="a", uid="new", number=9)] * 2
    assert append(keep, *fills(many), *doubled).revisions[-2:] == (many + 3, many + 3)


@pytest.mark.parametrize("many", [2, 300])
def test_other_content_is_refused_whole(keep: Keep, many: int) -> None:
    append(keep, *fills(many))
    other = Fill(account="a", uid="u1", number=99)
    with pytest.raises(AlreadyExists, match=r"uid\) = \('a', 'paper', 'u1'\)"):
        append(keep, *fills(many + 5)[many:], other)
    with pytest.raises(AlreadyExists, match=r"\(ticket, leg\) = \('t', 0\)"):
        append(keep, *(Fill(account="b", ticket="t", leg=n) for n in range(many)))
    assert keep.table(Fill).count() == many


def connection_of(keep: Keep) -> "psycopg.Connection[Any]":
    """The one that will be used next."""
    pool = keep.backend.engine._database.pool  # type: ignore[attr-defined]
    link = pool.take()
    pool.give(link)
    connection: psycopg.Connection[Any] = link.connection
    return connection


def trades(count: int, **more: Any) -> list[Trade]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Trade(
            mode="paper", uid=f"t{n}", timestamp=at, symbol="BTC", side="LONG", action="OPEN",
            qty=1.0, **more,
        )
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [0, 60, 1_500, 11_999])
def test_an_invalid_record_of_many_refuses_them_all(keep: Keep, wrong: int) -> None:
    """Though most of those before it are with the server by then."""
    keep.tape.append(trades(1)[0].replace(uid=None))
    connection = connection_of(keep)
    given = trades(12_000)
    given[wrong] = given[wrong].replace(qty=float("nan"))
    with pytest.raises(InvalidValue) as refused:
        keep.tape.append(given)
    assert refused.value.field == "qty"
    assert (f"trades[{wrong}]" in str(refused.value)) == bool(wrong)
    assert keep.table(Trade).count() == 1
    assert connection_of(keep) is connection, "it was given up"
    receipt = keep.tape.append(trades(100))
    assert receipt.revisions == tuple(range(2, 102))


def test_an_invalid_record_behind_some_that_are_there(keep: Keep) -> None:
    keep.tape.append(trades(3))
    given = trades(2_000)
    given[-1] = given[-1].replace(qty=float("nan"))
    with pytest.raises(InvalidValue):
        keep.tape.append(given)
    receipt = keep.tape.append(trades(2_000))
    assert (receipt.added, receipt.revisions) == (1_997, tuple(range(1, 2_001)))


def test_streams_side_by_side(keep: Keep) -> None:
    """Entries of several streams in one COPY, one of them with a null in its name."""
    entries = [Fill(account=(None, "a", "b")[n % 3], number=n) for n in range(900)]
    receipt = append(keep, *entries)
    assert receipt.revisions[:6] == (1, 1, 1, 2, 2, 2)
    for account in (None, "a", "b"):
        found = keep.table(Fill).list(Where("account", "==", account))
        assert [entry.revision for entry in found] == [*range(1, 301)]
        assert [entry.number for entry in found] == [
            e.number for e in entries if e.account == account
        ]
    append(keep, Fill(account=None, number=-1))
    assert {h.stream: h.revision for h in keep.backend.heads(Fill.collection)} == {
        (None, "paper"): 301,
        ("a", "paper"): 300,
        ("b", "paper"): 300,
    }


# -- references ------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [1, 5, 300])
def test_references_are_judged_at_the_end(keep: Keep, many: int) -> None:
    entries = [Fill(account="a", desk="d", number=n) for n in range(many)]
    with pytest.raises(InvalidReference, match=r"fills\.desk refers to desks 'd'"):
        append(keep, *entries)
    assert keep.table(Fill).count() == 0
    keep.commit(keep.table(Fill).append(entries), keep.table(Desk).put(Desk(name="d")))
    assert keep.table(Fill).count() == many


def test_cascades_are_accounted_for(keep: Keep) -> None:
    keep.commit(keep.table(Desk).put(Desk(name="d")), keep.table(Desk).put(Desk(name="e")))
    append(keep, *(Fill(account="a", desk="de"[n % 2], number=n) for n in range(10)))
    keep.commit(keep.table(Desk).delete("d"))
    assert [fill.desk for fill in keep.table(Fill).scan()] == ["e"] * 5
    assert append(keep, Fill(account="a")).revision == 11
    assert keep.backend.check() == []


def test_earlier_writes_are_judged_first(keep: Keep) -> None:
    """The one to blame is the first in the batch, though constraints speak later than we do."""
    append(keep, *fills(1))
    taken = keep.table(Fill).append([Fill(account="b", ticket="t", leg=0)])
    with pytest.raises(AlreadyExists, match="ticket"):
        keep.commit(taken, keep.table(Desk).put(Desk(name="d"), AtRevision(3)))


# -- an older backup -------------------------------------------------------------------------------


def test_an_older_backup_is_noticed(
    keep: Keep, postgresql: psycopg.Connection[Any], postgresql_schema: str
) -> None:
    append(keep, *fills(3))
    keep.commit(keep.table(Desk).put(Desk(name="d")))
    keep.commit(keep.table(Desk).put(Desk(name="d")))
    postgresql.execute(f'UPDATE "{postgresql_schema}".quantkeep_streams SET head = head - 1')
    postgresql.execute(f'DELETE FROM "{postgresql_schema}".fills WHERE revision = 3')
    for write in (
        lambda: append(keep, Fill(account="a")),
        lambda: append(keep, Fill(account="a"), Fill(account="a")),
        lambda: append(keep, *fills(300)),
        lambda: append(keep, *(Fill(account="a") for _ in range(300))),
        lambda: keep.commit(keep.table(Desk).put(Desk(name="d"))),
        lambda: keep.backend.heads(Fill.collection),
    ):
        with pytest.raises(Regression, match="older backup"):
            write()
    assert keep.table(Fill).count() == 2


def test_still_referenced(postgresql_url: str) -> None:
    @quantkeep.record("owners", key=("party",))
    class Party(Record):
        party: str

    @quantkeep.record("tickets", key=("order",))
    class Order(Record):
        order: str
        party: str = field(references="owners")

    with quantkeep.open({"tape": postgresql_url}, records=[Party, Order]) as keep:
        keep.commit(keep.table(Party).put(Party(party="p")))
        keep.commit(keep.table(Order).put(Order(order="o", party="p")))
        with pytest.raises(StillReferenced, match=r"tickets 'o' refers to it"):
            keep.commit(keep.table(Party).delete("p"))
        keep.commit(keep.table(Party).delete("p"), keep.table(Order).delete("o"))
