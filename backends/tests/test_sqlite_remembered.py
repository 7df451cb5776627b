"""What a handle remembers of its records is a guess: it saves questions, and decides nothing."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import quantkeep
from quantkeep import ABSENT, PRESENT, AtRevision, Keep, Record
from quantkeep.errors import AlreadyExists, Conflict, NotFound
from quantkeep_backends.sqlite import remembered


@quantkeep.record("slots", key=("book", "name"), stream=("book",), unique=[("book", "rank")])
class Slot(Record):
    book: str
    name: str
    rank: int
    size: float = 0.0


def slot(name: str, rank: int, size: float = 0.0, book: str = "a") -> Slot:
    return Slot(book=book, name=name, rank=rank, size=size)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


@pytest.fixture
def handles(path: Path) -> Iterator[tuple[Keep, Keep]]:
    """Two handles on one file: neither hears of what the other writes."""
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(quantkeep.open({"tape": f"sqlite:///{path}"}, records=[Slot]))
            for _ in "ab"
        )
        yield one, other


def put(keep: Keep, record: Slot, **expect: Any) -> int:
    return keep.commit(keep.table(Slot).put(record, **expect)).revision


def statements(keep: Keep) -> list[str]:
    """Collects what the writer of *keep* asks of SQLite from now on."""
    said: list[str] = []
    keep.backend.engine._database.writer.set_trace_callback(said.append)  # type: ignore[attr-defined]
    return said


def test_a_record_that_is_remembered_is_not_asked_for(handles: tuple[Keep, Keep]) -> None:
    keep, _ = handles
    put(keep, slot("x", 1))
    said = statements(keep)
    put(keep, slot("x", 1, 2.0))
    assert [text.split()[0] for text in said] == ["BEGIN", "UPDATE", "UPDATE", "COMMIT"]


def test_what_another_handle_wrote_is_noticed(handles: tuple[Keep, Keep]) -> None:
    one, other = handles
    assert put(one, slot("x", 1)) == 1
    assert put(other, slot("x", 1, 2.0)) == 2
    with pytest.raises(Conflict):
        put(one, slot("x", 1, 3.0), expect=AtRevision(1))
    assert one.table(Slot).fetch("a", "x").size == 2.0
    assert put(one, slot("x", 1, 3.0)) == 3
    assert other.table(Slot).fetch("a", "x").revision == 3


def test_a_place_that_another_record_has_now_is_not_written_over(
    handles: tuple[Keep, Keep],
) -> None:
    """The row, its number in the file and its revision are as remembered; the record is not."""
    one, other = handles
    put(one, slot("x", 1))
    table = other.table(Slot)
    other.commit(table.delete("a", "x"))
    assert put(other, slot("y", 1, book="b")) == 1
    assert put(one, slot("x", 7)) == 2
    assert {(s.book, s.name, s.rank) for s in table.scan()} == {("a", "x", 7), ("b", "y", 1)}


def test_when_a_record_was_made_is_not_what_is_remembered(handles: tuple[Keep, Keep]) -> None:
    one, other = handles
    put(one, slot("x", 1))
    other.commit(other.table(Slot).delete("a", "x"))
    put(other, slot("x", 1))
    made = other.table(Slot).fetch("a", "x").envelope
    put(one, slot("x", 1, 5.0))
    again = one.table(Slot).fetch("a", "x")
    assert made is not None
    assert again.envelope is not None
    assert (again.envelope.created_at, again.size, again.revision) == (made.created_at, 5.0, 3)


def test_twice_in_one_batch_and_after_a_deletion(handles: tuple[Keep, Keep]) -> None:
    keep, _ = handles
    table = keep.table(Slot)
    put(keep, slot("x", 1))
    keep.commit(table.put(slot("x", 2)), table.put(slot("x", 3), AtRevision(2)))
    keep.commit(table.delete("a", "x"), table.put(slot("x", 4), ABSENT))
    assert (table.fetch("a", "x").rank, table.fetch("a", "x").revision) == (4, 4)


def test_what_was_undone_is_not_remembered(handles: tuple[Keep, Keep]) -> None:
    keep, _ = handles
    table = keep.table(Slot)
    put(keep, slot("x", 1))
    put(keep, slot("y", 2))
    with pytest.raises(AlreadyExists):
        keep.commit(table.put(slot("x", 3)), table.put(slot("y", 3)))
    put(keep, slot("x", 4), expect=AtRevision(1))
    assert [(s.name, s.rank) for s in table.scan()] == [("x", 4), ("y", 2)]


@pytest.mark.parametrize("seed", range(4))
def test_two_handles_do_what_one_model_does(
    handles: tuple[Keep, Keep], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(remembered, "_MOST", 5)  # so that memory is full all the time
    chance = random.Random(seed)
    with quantkeep.open("memory://", records=[Slot]) as model:
        for _ in range(250):
            writes = [chosen(chance) for _ in range(chance.randint(1, 3))]
            assert outcome(chance.choice(handles), writes) == outcome(model, writes)
        stored = [[*keep.table(Slot).scan()] for keep in (*handles, model)]
        assert [[(s, s.revision) for s in each] for each in stored[:2]] == [
            [(s, s.revision) for s in stored[2]]
        ] * 2


Chosen = tuple[str, Slot, Any]


def chosen(chance: random.Random) -> Chosen:
    record = slot(chance.choice("uvwxyz"), chance.randint(1, 9), book=chance.choice("ab"))
    expects = [None, None, None, ABSENT, PRESENT, AtRevision(chance.randint(1, 60))]
    return chance.choice(["put", "put", "delete"]), record, chance.choice(expects)


def outcome(keep: Keep, writes: list[Chosen]) -> Any:
    table = keep.table(Slot)
    made: list[Any] = []
    for verb, record, expect in writes:
        more = {} if expect is None else {"expect": expect}
        if verb == "put":
            made.append(table.put(record, **more))
        else:
            made.append(table.delete(record.book, record.name, **more))
    try:
        receipt = keep.commit(*made)
    except (Conflict, NotFound) as error:
        return type(error)
    return [(tuple(each.revisions), each.added) for each in receipt.outcomes]
