"""Commits on SQLite: the quick ways and the careful ones come to the same."""

import math
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest

import quantkeep
from quantkeep import ABSENT, AtRevision, Holding, Keep, Query, Record, Where, failpoints, field
from quantkeep.batch import Append, Batch, Receipt
from quantkeep.errors import (
    AlreadyExists,
    Conflict,
    InvalidReference,
    OperationConflict,
    Regression,
    StaleOwner,
    StillReferenced,
    StoreFull,
    Unavailable,
    Unsupported,
    WriterPoisoned,
)
from quantkeep_backends.sqlite import appending
from quantkeep_backends.sqlite.transaction import Transaction


@quantkeep.record("desks", key=("name",), stream=("name",))
class Desk(Record):
    name: str
    token: int | None = None
    value: float | None = None


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
    fee: float | None = None
    symbol: str | None = None
    desk: str | None = field(default=None, references="desks", on_delete="cascade")
    ticket: str | None = field(default=None)
    leg: int | None = None


@quantkeep.record("reviews", key=("review",))
class Review(Record):
    review: str
    desk: str | None = field(default=None, references="desks")


RECORDS = (Desk, Fill, Review)


def opened(path: Path, **asked: Any) -> Keep:
    return quantkeep.open({"tape": f"sqlite:///{path}"}, records=RECORDS, **asked)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


@pytest.fixture
def keep(path: Path) -> Iterator[Keep]:
    with opened(path) as keep:
        yield keep


def fill(number: int, **more: Any) -> Fill:
    """An entry without a ticket has one of its own, for null is a value in a unique group."""
    return Fill(number=number, **{"ticket": f"t{number}", **more})


def append(keep: Keep, *fills: Fill, op_id: str | None = None) -> Receipt:
    return keep.commit(keep.table(Fill).append(fills), op_id=op_id)


def numbers(keep: Keep, **where: Any) -> list[int]:
    conditions = tuple(Where(name, "==", value) for name, value in where.items())
    return [f.number for f in keep.table(Fill).scan(Query(where=conditions))]


def revisions(keep: Keep) -> list[int | None]:
    return [f.revision for f in keep.table(Fill).scan()]


# -- appending -----------------------------------------------------------------------------------


@pytest.mark.requirement("Z-2")
def test_one_by_one_and_in_bulk_number_alike(keep):
    for number in range(3):
        assert append(keep, fill(number)).revisions == (number + 1,)
    assert append(keep, *map(fill, range(3, 300))).revisions == tuple(range(4, 301))
    assert append(keep, fill(300)).revisions == (301,)
    mixed = [fill(n, mode="live" if n % 2 else "paper") for n in range(301, 305)]
    assert append(keep, *mixed).revisions == (1, 302, 2, 303)
    assert numbers(keep, mode="live", account=None) == [301, 303]
    assert keep.table(Fill).head(None, "live") == 2


@pytest.mark.requirement("Z-2")
def test_the_quick_way_is_taken_and_is_one_transaction_each(keep, monkeypatch):
    """Guards the benchmark: a live append must not fall back to the careful way unnoticed."""
    taken = []
    quick = appending.append_one

    def counted(*given: Any) -> Receipt | None:
        taken.append(receipt := quick(*given))
        return receipt

    monkeypatch.setattr("quantkeep_backends.sqlite.backend.append_one", counted)
    append(keep, fill(0))
    for number in range(1, 5):
        append(keep, fill(number), op_id=f"op-{number}" if number > 2 else None)
    assert [receipt is not None for receipt in taken] == [False, True, True, True, True]
    assert revisions(keep) == [1, 2, 3, 4, 5]


@pytest.mark.requirement("Z-2")
def test_bulk_takes_the_quick_way_until_something_is_there_already(keep, monkeypatch):
    carefully = []
    careful = Transaction._append_carefully

    def counted(self: Transaction, *given: Any) -> Any:
        carefully.append(given)
        return careful(self, *given)

    monkeypatch.setattr(Transaction, "_append_carefully", counted)
    fills = [fill(n, uid=f"u{n}") for n in range(50)]
    mixed = [f.replace(mode="live") if f.number % 2 else f for f in fills]
    append(keep, *mixed)
    append(keep, *(fill(n, fee=math.nan) for n in range(50, 60)))
    assert carefully == []
    assert [f.revision for f in keep.table(Fill).scan()] == [*range(1, 26), *range(1, 36)]
    assert sum(math.isnan(f.fee or 0.0) for f in keep.table(Fill).scan()) == 10
    append(keep, *mixed)
    assert len(carefully) == 1


@pytest.mark.requirement("Z-2")
def test_two_handles_take_turns(keep, path):
    with opened(path) as other:
        for number in range(10):
            append((keep, other)[number % 2], fill(number))
            append((keep, other)[number % 3 == 0], fill(100 + number), fill(200 + number))
        assert revisions(keep) == [*range(1, 31)]
        assert revisions(other) == revisions(keep)


@pytest.mark.requirement("CODEX-25", "Z-31", "CODEX-26")
@pytest.mark.parametrize("size", [1, 7, 1200])
def test_what_is_there_already_adds_nothing(keep, size):
    fills = [fill(n, uid=f"u{n}") for n in range(size)]
    first = append(keep, *fills)
    again = append(keep, *fills)
    assert (again.revisions, again.added, first.added) == (first.revisions, 0, size)
    more = append(keep, fill(9000, uid="new"), *fills, fill(9001))
    assert more.revisions == (size + 1, *first.revisions, size + 2)
    assert more.added == 2
    assert len(numbers(keep)) == size + 2


@pytest.mark.requirement("Z-31")
def test_the_same_entry_twice_in_one_batch_is_one(keep):
    receipt = append(keep, fill(1, uid="a"), fill(1, uid="a"), fill(2, uid="b"))
    assert (receipt.revisions, receipt.added) == ((1, 1, 2), 2)


@pytest.mark.requirement("Z-31")
@pytest.mark.parametrize("before", [0, 1, 40], ids=["alone", "after one", "in bulk"])
def test_the_same_identity_with_other_content_applies_nothing(keep, before):
    append(keep, fill(0, uid="a"))
    batch = [fill(n, uid=f"u{n}") for n in range(1, before + 1)]
    with pytest.raises(AlreadyExists, match=r"uid\) = \(None, 'paper', 'a'\)"):
        append(keep, *batch, fill(99, uid="a"))
    assert numbers(keep) == [0]
    append(keep, fill(1))
    assert revisions(keep) == [1, 2]


@pytest.mark.requirement("Z-32", "X-6")
def test_a_null_in_a_unique_group_counts(keep):
    append(keep, fill(1, ticket=None, leg=None), fill(2, ticket="t", leg=None))
    for taken in ({"ticket": None, "leg": None}, {"ticket": "t", "leg": None}):
        with pytest.raises(AlreadyExists, match=r"\(ticket, leg\)"):
            append(keep, fill(3, **taken))
        with pytest.raises(AlreadyExists, match=r"\(ticket, leg\)"):
            append(keep, fill(4), fill(3, **taken))
    append(keep, fill(5, ticket=None, leg=1))
    assert numbers(keep) == [1, 2, 5]


@pytest.mark.requirement("X-3")
def test_nan_goes_in_by_every_way(keep):
    nan = math.nan
    append(keep, fill(0, price=nan, fee=nan))
    append(keep, fill(1, price=nan, fee=nan))
    append(keep, *(fill(n, price=nan if n == 30 else 1.0, fee=nan) for n in range(2, 40)))
    append(keep, *(fill(n, fee=math.inf if n % 2 else -math.inf) for n in range(40, 60)))
    found = [*keep.table(Fill).scan()]
    assert [f.number for f in found if math.isnan(f.price)] == [0, 1, 30]
    assert all(math.isnan(f.fee) for f in found[:40])
    assert {f.fee for f in found[40:]} == {math.inf, -math.inf}


@pytest.mark.requirement("Z-2")
def test_numbers_of_deleted_entries_are_not_given_again(keep, path):
    fills = keep.table(Fill)
    append(keep, *map(fill, range(5)))
    keep.commit(fills.delete(None, "paper", 5), fills.delete(None, "paper", 2))
    assert append(keep, fill(5)).revision == 6
    keep.commit(fills.delete(None, "paper", 6))
    keep.close()
    with opened(path) as again:
        assert again.table(Fill).head(None, "paper") == 6
        assert append(again, fill(6)).revision == 7
        assert append(again, fill(7)).revision == 8
        assert revisions(again) == [1, 3, 4, 7, 8]
        assert again.backend.check() == []


def test_rows_that_are_made_as_they_are_written_are_held_nowhere(keep):
    """The rows of an append are iterated: at no time are more than a few of them alive."""
    table = keep.table(Fill)
    alive, most = 0, 0

    class Tracked(tuple):
        __slots__ = ()

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    class Rows:
        def __iter__(self) -> Iterator[Any]:
            nonlocal alive, most
            for number in range(3000):
                sealed = table.seal(fill(number))
                alive += 1
                most = max(most, alive)
                yield Tracked(sealed)

    receipt = keep.backend.commit(Batch((Append(table.collection, Rows()),)))
    assert receipt.revisions == tuple(range(1, 3001))
    assert most < 10


# -- operations ----------------------------------------------------------------------------------


@pytest.mark.requirement("Z-10")
@pytest.mark.parametrize("count", [1, 3])
def test_an_operation_is_applied_once(keep, path, count):
    append(keep, fill(0))
    fills = [fill(n) for n in range(1, count + 1)]
    first = append(keep, *fills, op_id="op")
    again = append(keep, *fills, op_id="op")
    assert (again.revisions, again.at, again.op_id) == (first.revisions, first.at, "op")
    assert (first.replayed, again.replayed) == (False, True)
    with opened(path) as other:
        assert append(other, *fills, op_id="op").replayed
        assert other.resolve("op").revisions == first.revisions
    with pytest.raises(OperationConflict, match="'op' was already used") as caught:
        append(keep, fill(99), op_id="op")
    assert caught.value.op_id == "op"
    assert keep.resolve("other") is None
    assert len(numbers(keep)) == count + 1


@pytest.mark.requirement("Z-10")
def test_an_operation_is_known_even_where_its_preconditions_hold_no_more(keep):
    desks = keep.table(Desk)
    write = desks.put(Desk(name="a"), ABSENT)
    first = keep.commit(write, op_id="make")
    assert keep.commit(write, op_id="make").replayed
    keep.commit(desks.put(Desk(name="a", token=2), AtRevision(first.revision)), op_id="change")
    assert keep.commit(write, op_id="make").revisions == first.revisions


def test_an_error_carries_the_operation(keep):
    append(keep, fill(0, uid="a"))
    with pytest.raises(AlreadyExists) as caught:
        append(keep, fill(1, uid="a"), op_id="op")
    assert (caught.value.op_id, caught.value.applied) == ("op", "no")
    assert keep.resolve("op") is None


# -- keyed records -------------------------------------------------------------------------------


@pytest.mark.requirement("X-7", "Z-1", "Z-2")
def test_an_update_keeps_when_the_record_was_made(keep):
    desks = keep.table(Desk)
    keep.commit(desks.put(Desk(name="a")), desks.put(Desk(name="b")), desks.put(Desk(name="a")))
    made = desks.fetch("a").envelope
    keep.commit(desks.put(Desk(name="a", value=1.0)))
    changed = desks.fetch("a").envelope
    assert (made.revision, changed.revision, desks.fetch("b").revision) == (2, 3, 1)
    assert changed.created_at == made.created_at
    assert changed.updated_at > made.updated_at
    assert {h.stream: h.revision for h in keep.backend.heads(Desk.collection)} == {
        ("a",): 3,
        ("b",): 1,
    }


@pytest.mark.requirement("Z-32", "X-6")
def test_the_group_that_another_record_holds_is_the_one_that_is_named(tmp_path):
    @quantkeep.record("slots", key=("name",), unique=[("left",), ("right",)])
    class Slot(Record):
        name: str
        left: int | None = None
        right: int | None = None

    with quantkeep.open({"tape": f"sqlite:///{tmp_path}/slots.db"}, records=[Slot]) as keep:
        slots = keep.table(Slot)
        keep.commit(slots.put(Slot(name="a", left=1, right=1)))
        keep.commit(slots.put(Slot(name="b", left=2, right=2)))
        with pytest.raises(AlreadyExists, match="right = 2"):
            keep.commit(slots.put(Slot(name="a", left=1, right=2)))


@pytest.mark.requirement("Z-11")
def test_a_stale_token_changes_nothing(keep):
    desks = keep.table(Desk)
    keep.commit(desks.put(Desk(name="lease", token=2)))
    held = desks.require("lease", expect=Holding(2))
    keep.commit(held, desks.put(Desk(name="state", value=1.0)))
    with pytest.raises(StaleOwner) as caught:
        keep.commit(
            desks.put(Desk(name="state", value=2.0)), desks.require("lease", expect=Holding(1))
        )
    assert (caught.value.held, caught.value.current) == (1, 2)
    assert desks.fetch("state").value == 1.0


def test_a_conflict_undoes_what_came_before_it_in_the_batch(keep):
    desks = keep.table(Desk)
    keep.commit(desks.put(Desk(name="a")))
    with pytest.raises(Conflict):
        keep.commit(
            keep.table(Fill).append([fill(1)]),
            desks.delete("a"),
            desks.put(Desk(name="b")),
            desks.put(Desk(name="c"), AtRevision(1)),
        )
    assert numbers(keep) == []
    assert [d.name for d in desks.scan()] == ["a"]
    assert append(keep, fill(1)).revision == 1


# -- references ----------------------------------------------------------------------------------


@pytest.mark.requirement("X-6")
def test_references_are_judged_by_the_state_after_the_batch(keep):
    desks = keep.table(Desk)
    for fills in ([fill(1, desk="a")], [fill(1, desk="a"), fill(2)]):
        with pytest.raises(InvalidReference, match=r"fills\.desk refers to desks 'a'"):
            append(keep, *fills)
    keep.commit(keep.table(Fill).append([fill(1, desk="a")]), desks.put(Desk(name="a")))
    append(keep, fill(2, desk="a"))
    with pytest.raises(InvalidReference, match="desks 'b'"):
        append(keep, fill(3, desk="b"))
    assert numbers(keep) == [1, 2]


@pytest.mark.requirement("X-6")
def test_a_cascade_takes_entries_of_logs_along_and_accounts_for_them(keep):
    desks = keep.table(Desk)
    keep.commit(*(desks.put(Desk(name=name)) for name in "ab"))
    append(keep, *(fill(n, desk="ab"[n % 2]) for n in range(6)))
    keep.commit(desks.delete("b"))
    assert numbers(keep) == [0, 2, 4]
    assert keep.backend.check() == []
    assert append(keep, fill(9)).revision == 7


@pytest.mark.requirement("X-6")
def test_what_is_referred_to_stays(keep):
    desks, reviews = keep.table(Desk), keep.table(Review)
    keep.commit(reviews.put(Review(review="r", desk="a")), desks.put(Desk(name="a")))
    with pytest.raises(StillReferenced, match=r"reviews 'r' refers to it"):
        keep.commit(desks.delete("a"))
    keep.commit(desks.put(Desk(name="a", value=2.0)))  # replacing is not deleting
    keep.commit(desks.delete("a"), reviews.delete("r"))
    assert keep.sizes()["desks"] == 0


# -- older backups, and files that are taken away ------------------------------------------------


@pytest.mark.requirement("Z-43")
def test_an_entry_that_went_missing_is_a_regression(keep):
    append(keep, *map(fill, range(3)))
    keep.backend.backdoor().remove(Fill.collection, (None, "paper", 3))
    for write in ([fill(9)], [fill(9), fill(10)]):
        with pytest.raises(
            Regression, match="is at revision 2, but this handle has already seen 3"
        ):
            append(keep, *write)
    with pytest.raises(Regression):
        keep.backend.heads(Fill.collection)
    assert numbers(keep) == [0, 1]


@pytest.mark.requirement("Z-43")
def test_an_older_backup_restored_through_sqlite_is_a_regression(keep, path, tmp_path):
    append(keep, fill(0))
    with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(tmp_path / "old")) as old:
        live.backup(old)
        append(keep, fill(1))
        keep.commit(keep.table(Desk).put(Desk(name="a")))
        old.backup(live)
    with pytest.raises(Regression):
        append(keep, fill(2))
    with pytest.raises(Regression, match=r"desks \('a',\)"):
        keep.commit(keep.table(Desk).put(Desk(name="a")))


def test_a_file_put_in_the_place_of_ours_is_a_regression(keep, path, tmp_path):
    append(keep, fill(0))
    other = tmp_path / "other.db"
    opened(other).close()
    shutil.move(other, path)
    for use in (lambda: append(keep, fill(1)), lambda: numbers(keep)):
        with pytest.raises(Regression, match="was replaced by another file"):
            use()


def test_a_file_that_is_gone_takes_no_commits(keep, path):
    append(keep, fill(0))
    path.unlink()
    with pytest.raises(Unavailable, match="was removed while it was open"):
        append(keep, fill(1))


# -- faults --------------------------------------------------------------------------------------


@pytest.fixture
def armed() -> Iterator[Any]:
    yield failpoints.arm
    failpoints.arm("")


@pytest.mark.requirement("Z-18")
def test_after_a_failed_sync_the_handle_writes_no_more(keep, path, armed):
    """GUARANTEES case 2: what is on the disk is not known, so nothing is written on top of it."""
    append(keep, fill(0))
    armed("sqlite.append.begin=EIO")
    with pytest.raises(WriterPoisoned) as caught:
        append(keep, fill(1))
    armed("")
    assert caught.value.applied == "unknown"
    with pytest.raises(WriterPoisoned, match="close the keep and open it again"):
        append(keep, fill(1))
    assert numbers(keep) == [0]
    assert not next(iter(keep.health().values())).ok
    keep.close()
    with opened(path) as again:
        append(again, fill(1))
        assert numbers(again) == [0, 1]


@pytest.mark.requirement("Z-18")
def test_a_failed_checkpoint_harms_no_commit_and_ends_the_writer(keep, path, armed):
    armed("sqlite.checkpoint=EIO")
    done = []
    with pytest.raises(WriterPoisoned):
        for number in range(2000):
            append(keep, fill(number))
            done.append(number)
    armed("")
    assert 100 < len(done) < 1500, "checkpoints happen, and not all the time"
    keep.close()
    with opened(path) as again:
        assert numbers(again) == done


@pytest.mark.requirement("Z-18")
def test_a_disk_that_is_full_at_a_checkpoint_harms_nothing(keep, armed):
    armed("sqlite.checkpoint=ENOSPC")
    for number in range(400):
        append(keep, fill(number))
    assert len(numbers(keep)) == 400


def test_rows_that_fail_while_they_are_read_leave_nothing(keep):
    table = keep.table(Fill)

    class Rows:
        def __iter__(self) -> Iterator[Any]:
            yield table.seal(fill(1))
            raise RuntimeError("the source ended early")

    with pytest.raises(RuntimeError, match="the source ended early"):
        keep.backend.commit(Batch((Append(table.collection, Rows()),)))
    assert numbers(keep) == []
    assert append(keep, fill(1)).revision == 1


def test_a_commit_inside_a_commit_is_refused(keep):
    table = keep.table(Fill)

    class Rows:
        def __iter__(self) -> Iterator[Any]:
            append(keep, fill(2))
            yield table.seal(fill(1))

    with pytest.raises(Unsupported, match="while another one is being made"):
        keep.backend.commit(Batch((Append(table.collection, Rows()),)))
    append(keep, fill(1))
    assert numbers(keep) == [1]


def test_full_by_any_of_the_ways(keep, armed):
    append(keep, fill(0))
    for point, op_id in (("append.begin", None), ("append.before_commit", "op")):
        armed(f"sqlite.{point}=ENOSPC")
        with pytest.raises(StoreFull) as caught:
            append(keep, fill(1), op_id=op_id)
        assert caught.value.applied == "no"
    armed("")
    append(keep, fill(1), op_id="op")
    assert numbers(keep) == [0, 1]
