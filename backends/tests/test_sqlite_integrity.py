"""Damage is an error, never a wrong answer: bits, stamps, places, missing rows, torn files."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import quantkeep
from quantkeep import Corrupt, Keep, Measure, Query, Record, Tally
from quantkeep.columns import Kind
from quantkeep.errors import Closed, Regression


@quantkeep.record("notes", key=("name",), indexes=[("integer",)])
class Note(Record):
    name: str
    text: str | None = "text"
    integer: int | None = 1
    real: float | None = 1.5
    decimal: Decimal | None = Decimal("1.5")
    flag: bool | None = True
    instant: datetime | None = datetime(2025, 1, 17, tzinfo=UTC)
    day: date | None = date(2025, 1, 17)
    token: UUID | None = UUID(int=1)
    blob: bytes | None = b"blob"
    document: Any = None


@quantkeep.record("events", log=True, stream=("mode",))
class Event(Record):
    mode: str = "paper"
    number: int = 0


RECORDS = (Note, Event)


def opened(path: Path, **asked: Any) -> Keep:
    return quantkeep.open({"tape": f"sqlite:///{path}"}, records=RECORDS, **asked)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


@pytest.fixture
def keep(path: Path) -> Iterator[Keep]:
    with opened(path) as keep:
        notes = keep.table(Note)
        keep.commit(*(notes.put(Note(name=name, document=[name])) for name in "abc"))
        keep.commit(
            keep.table(Event).append([Event(number=n, mode=m) for n in range(3) for m in "xy"])
        )
        yield keep


def change(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as stranger, stranger:
        assert stranger.execute(statement, values).rowcount


def events(keep: Keep) -> list[int]:
    return [event.number for event in keep.table(Event).scan()]


# -- bits ----------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-6", "Z-1")
@pytest.mark.parametrize("column", [c for c in Note.collection.names if c != "name"])
def test_a_flipped_value_is_noticed_by_key_and_in_a_listing(keep, column):
    keep.backend.backdoor().flip(Note.collection, ("b",), column)
    assert keep.table(Note).get("a").name == "a"
    with pytest.raises(Corrupt, match=r"notes \('b',\)"):
        keep.table(Note).get("b")
    with pytest.raises(Corrupt) as caught:
        keep.table(Note).list()
    assert caught.value.locator == "notes('b',)"


@pytest.mark.parametrize("kind", [*Kind])
def test_a_null_can_be_damaged_too(keep, kind):
    """The backdoor itself: every column of every kind can be changed, whatever it held."""
    names = [c.name for c in Note.collection.columns if c.kind is kind and c.nullable]
    for name in names:
        empty = Note(name="z", **dict.fromkeys(names))
        keep.commit(keep.table(Note).put(empty))
        keep.backend.backdoor().flip(Note.collection, ("z",), name)
        with pytest.raises(Corrupt):
            keep.table(Note).get("z")


# -- what the digest does not cover --------------------------------------------------------------


@pytest.mark.requirement("Z-6")
@pytest.mark.parametrize(
    "change_made",
    ["revision = 9", "created_at = 1", "updated_at = 1", "schema_version = 2", "seal = 7",
     "digest = x'00112233445566778899aabbccddeeff'"],
)  # fmt: skip
def test_an_edited_stamp_is_noticed(keep, path, change_made):
    change(path, f"UPDATE notes SET {change_made} WHERE name = 'b'")
    with pytest.raises(Corrupt, match=r"does not match its (seal|digest)"):
        keep.table(Note).get("b")
    with pytest.raises(Corrupt):
        [*keep.table(Note).scan()]


@pytest.mark.requirement("Z-6")
def test_entries_that_changed_places_are_noticed(keep, path):
    """Each with its own digest, so that no content is wrong: only the order is."""
    with closing(sqlite3.connect(path)) as stranger, stranger:
        (one,), (other,) = stranger.execute("SELECT id FROM events WHERE mode = 'x' LIMIT 2")
        for was, will in ((one, -1), (other, one), (-1, other)):
            stranger.execute("UPDATE events SET id = ? WHERE id = ?", (will, was))
    with pytest.raises(Corrupt, match="its place, stamps or digest were changed"):
        events(keep)


@pytest.mark.requirement("Z-6")
def test_an_entry_moved_to_another_stream_is_noticed(keep, path):
    change(path, "UPDATE events SET id = id + (1 << 40) + 3 WHERE mode = 'x' AND number = 2")
    with pytest.raises(Corrupt):
        events(keep)
    assert keep.backend.check() != []


@pytest.mark.requirement("Z-6")
@pytest.mark.parametrize("revision", [1, 2, 3])
def test_missing_entries_are_counted(keep, revision):
    assert keep.backend.check() == []
    keep.backend.backdoor().remove(Event.collection, ("x", revision))
    (said,) = keep.backend.check()
    assert said.startswith("events ('x',): 1 entries are missing (2 stored and 0 deleted")
    assert len(events(keep)) == 5


@pytest.mark.requirement("Z-6")
@pytest.mark.parametrize("how", ["one by one", "in bulk", "with others", "under an operation id"])
def test_the_newest_entries_are_missed_however_they_were_appended(keep, path, how):
    table = keep.table(Event)
    added = [Event(mode="x", number=n) for n in range(3)]
    match how:
        case "one by one":
            for event in added:
                keep.commit(table.append([event]))
        case "in bulk":
            keep.commit(table.append(added))
        case "with others":
            keep.commit(*(table.append([event]) for event in added))
        case "under an operation id":
            for event in added:
                keep.commit(table.append([event]), op_id=f"append {event.number}")
    assert keep.backend.check() == []
    change(path, "DELETE FROM events WHERE mode = 'x' AND revision > 4")
    (said,) = keep.backend.check()
    assert said.startswith("events ('x',): 2 entries are missing (4 stored and 0 deleted")
    with pytest.raises(Regression, match="revision 4, but this handle has already seen 6"):
        keep.commit(table.append(added[:1]))
    with opened(path) as other:
        assert other.table(Event).head("x") == 6
        assert other.commit(other.table(Event).append(added[:1])).revision == 7
        assert len(other.backend.check()) == 1


def test_entries_that_were_deleted_are_not_missing(keep):
    table = keep.table(Event)
    keep.commit(table.delete("x", 1), table.delete("y", 3), table.delete("y", 2))
    assert keep.backend.check() == []


def test_what_refers_to_nothing_is_told(keep, path):
    change(path, "DELETE FROM quantkeep_streams WHERE stream = '[\"x\"]'")
    assert keep.backend.check() == ["events: 3 entries belong to no known stream"]


# -- what SQLite itself finds --------------------------------------------------------------------


def test_a_document_that_is_no_json_any_more_is_corrupt_in_a_question_too(keep, path):
    change(path, "UPDATE notes SET document = '[\"a' WHERE name = 'a'")
    with pytest.raises(Corrupt, match="a stored value is not what was written"):
        keep.table(Note).list(quantkeep.Where("document", "contains", "a"))


def test_a_decimal_that_is_no_number_any_more_is_corrupt_in_a_sum_too(keep, path):
    change(path, "UPDATE notes SET decimal = 'x1' WHERE name = 'a'")
    with pytest.raises(Corrupt):
        keep.table(Note).tally(Tally(measures=(Measure("sum", "decimal"),)))


def test_a_table_that_was_dropped_is_corrupt(keep, path):
    with closing(sqlite3.connect(path)) as stranger:
        stranger.execute("DROP TABLE events")
    with pytest.raises(Corrupt, match="no such table"):
        events(keep)


def damage(path: Path, offset: int) -> None:
    """Overwrite a page of the database with something else."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(os.urandom(4096))


@pytest.mark.requirement("Z-6", "Z-18")
def test_a_damaged_page_is_told_and_is_no_empty_answer(path):
    with opened(path) as keep:
        table = keep.table(Event)
        keep.commit(table.append([Event(number=n) for n in range(5000)]))
    with closing(sqlite3.connect(path)) as stranger:
        (page,) = stranger.execute(
            "SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' LIMIT 1 OFFSET 5"
        ).fetchone()
    damage(path, (page - 1) * 4096)
    with opened(path) as keep:
        assert keep.backend.check() != []
        with pytest.raises(Corrupt, match=r"bot\.db is damaged: run `quantkeep verify`"):
            events(keep)


# -- after a crash -------------------------------------------------------------------------------

CRASHING = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_sqlite_integrity import Event, opened
from pathlib import Path
keep = opened(Path(sys.argv[1]))
table = keep.table(Event)
keep.commit(table.append([Event(number=n) for n in range(3000)]))
keep.commit(table.append([Event(number=3000)]))
print("ready", flush=True)
if sys.argv[3] == "wait":
    sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def crash(path: Path, how: str = "now") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CRASHING, str(path), str(Path(__file__).parent), how]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def end(child: subprocess.Popen[str]) -> None:
    child.communicate("\n")
    assert child.returncode == -signal.SIGKILL


@pytest.mark.requirement("Z-6", "Z-18")
def test_after_a_crash_everything_is_there_and_was_looked_over(path, monkeypatch):
    looked: list[list[str]] = []
    from quantkeep_backends.sqlite import opening

    look = opening._quick_check
    monkeypatch.setattr(opening, "_quick_check", lambda c: looked.append(found := look(c)) or found)
    end(crash(path))
    with opened(path) as keep:
        assert events(keep) == [*range(3001)]
    assert looked == [[]]
    opened(path).close()
    assert len(looked) == 1, "a keep that was closed is opened without looking"


@pytest.mark.requirement("Z-6", "Z-18")
def test_after_a_crash_a_damaged_file_does_not_open(path):
    with opened(path) as keep:
        table = keep.table(Event)
        keep.commit(table.append([Event(number=n) for n in range(9000)]))
    with closing(sqlite3.connect(path)) as stranger:
        (page,) = stranger.execute(
            "SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' LIMIT 1"
        ).fetchone()
    child = crash(path, "wait")
    damage(path, (page - 1) * 4096)
    end(child)
    with pytest.raises(Corrupt, match="was not closed when it was last used, and is damaged"):
        opened(path)


def test_a_keep_that_is_open_elsewhere_was_not_left_behind(path, monkeypatch):
    """Its log is not empty, but nobody waits while it is looked over: it is in use."""
    from quantkeep_backends.sqlite import opening

    answers: list[list[str]] = []
    look = opening._quick_check

    def timed(connection: sqlite3.Connection) -> list[str]:
        connection.set_progress_handler(lambda: 1, 500)  # interrupts the check itself
        answers.append(found := look(connection))
        return found

    monkeypatch.setattr(opening, "_quick_check", timed)
    child = crash(path, "wait")
    assert Path(f"{path}-wal").stat().st_size
    with opened(path) as keep:
        assert len(events(keep)) == 3001
        keep.commit(keep.table(Event).append([Event(number=3001)]))
    assert answers == [[]]
    end(child)


# -- snapshots -----------------------------------------------------------------------------------


@pytest.mark.requirement("Z-9")
@pytest.mark.parametrize("record", [Note, Event])
def test_a_scan_sees_what_was_there_when_it_was_asked(keep, record):
    table = keep.table(record)
    before = [*table.scan()]
    running = keep.backend.scan(record.collection, Query())
    started = keep.backend.scan(record.collection, Query())
    next(started)
    keep.commit(
        keep.table(Event).append([Event(mode="a"), Event(mode="x")]),
        keep.table(Event).delete("x", 1),
        keep.table(Note).put(Note(name="0")),
        keep.table(Note).delete("c"),
    )
    assert [*map(table.load, running)] == before
    assert [*map(table.load, started)] == before[1:]
    assert [*table.scan()] != before


def test_abandoned_scans_give_their_connections_back(keep):
    for _ in range(100):
        next(keep.backend.scan(Event.collection, Query()))
    running = [keep.backend.scan(Event.collection, Query()) for _ in range(15)]
    assert len(events(keep)) == 6
    for scan in running:
        scan.close()


def test_too_many_scans_at_once_are_busy(path, keep):
    with opened_with(path, "busy_timeout=0.05") as other:
        running = [other.backend.scan(Event.collection, Query()) for _ in range(16)]
        with pytest.raises(quantkeep.Busy, match="exhaust or close the iterators"):
            other.table(Event).list()
        del running
        assert len(other.table(Event).list()) == 6


def opened_with(path: Path, options: str) -> Keep:
    return quantkeep.open({"tape": f"sqlite:///{path}?{options}"}, records=RECORDS)


def test_a_scan_ends_with_its_keep(keep):
    running = keep.backend.scan(Event.collection, Query())
    next(running)
    keep.close()
    with pytest.raises(Closed):
        [*running]


def test_a_schema_that_is_no_text_any_more(path):
    """SQLite quotes it in its complaint, which Python then cannot decode."""
    opened(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA writable_schema = ON")
        torn = b"CREATE TABLE events \xe1\xff (number INTEGER)"
        sql = "UPDATE sqlite_master SET sql = CAST(? AS TEXT) WHERE name = 'events'"
        raw.execute(sql, (torn,))
    with pytest.raises(Corrupt, match=r"bot\.db is damaged"):
        opened(path)
