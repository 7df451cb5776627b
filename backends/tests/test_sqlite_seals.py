"""What an SQLite keep says of its collections and operations is checked, as its records are."""

import sqlite3
from contextlib import closing

import pytest

import quantkeep
from quantkeep import Corrupt, Record
from quantkeep.errors import OperationConflict


@quantkeep.record("sealed_notes", key=("name",))
class Note(Record):
    name: str


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "bot.db"
    with opened(path) as keep:
        for number in range(3):
            keep.commit(keep.table(Note).put(Note(name=f"{number}")), op_id=f"op {number}")
    return path


def opened(path, **asked):
    return quantkeep.open({"tape": f"sqlite:///{path}"}, records=[Note], **asked)


def change(path, statement):
    with closing(sqlite3.connect(path)) as stranger, stranger:
        assert stranger.execute(statement).rowcount == 1


@pytest.mark.requirement("Z-6")
@pytest.mark.parametrize(
    "damage",
    [
        "receipt = replace(receipt, '\"at\":1', '\"at\":2')",  # as good a receipt as the other
        "receipt = replace(receipt, 'outcomes', 'outcomer')",
        "receipt = substr(receipt, 2)",
        "receipt = 'f' || substr(receipt, 2)",
        "receipt = ''",
        "digest = x'00'",
    ],
)
def test_a_receipt_that_was_changed_is_corrupt(path, damage):
    change(path, f"UPDATE quantkeep_operations SET {damage} WHERE op_id = 'op 1'")
    with opened(path) as keep:
        for ask in (lambda: keep.resolve("op 1"), lambda: again(keep)):
            with pytest.raises(Corrupt, match="receipt of operation 'op 1'") as caught:
                ask()
            assert caught.value.locator == "operations 'op 1'"
        assert keep.resolve("op 0").revisions == (1,)
        assert ["'op 1'" in line for line in keep.backend.check()] == [True]


def again(keep):
    return keep.commit(keep.table(Note).put(Note(name="1")), op_id="op 1")


@pytest.mark.requirement("Z-6")
def test_an_operation_that_was_renamed_is_found_by_verify(path):
    change(path, "UPDATE quantkeep_operations SET op_id = 'op r' WHERE op_id = 'op 2'")
    with opened(path) as keep:
        assert ["'op r'" in line for line in keep.backend.check()] == [True]
        with pytest.raises(Corrupt):
            keep.resolve("op r")


@pytest.mark.requirement("Z-6")
@pytest.mark.parametrize(
    "change_made", ["'sealed_notes', 'sealed_nates'", "'\"text\"', '\"integer\"'"]
)
@pytest.mark.parametrize("asked", [{}, {"read_only": True}])
def test_a_description_that_was_changed_is_corrupt(path, change_made, asked):
    """Also where it would do for one of other collections."""
    change(path, f"UPDATE quantkeep_meta SET value = replace(value, {change_made}) "
                 "WHERE name = 'description'")  # fmt: skip
    with pytest.raises(Corrupt, match="description of its collections") as caught:
        opened(path, **asked)
    assert caught.value.locator == str(path)


def test_what_was_written_before_there_were_checksums_is_read(path):
    with closing(sqlite3.connect(path)) as stranger, stranger:
        for table, column in (("quantkeep_meta", "value"), ("quantkeep_operations", "receipt")):
            behind = len('{"check": "crc32:01234567", ') + 1
            stranger.execute(
                f"UPDATE {table} SET {column} = '{{' || substr({column}, {behind}) "
                f"WHERE {column} LIKE '{{%'"
            )
    before = description(path)
    assert before.startswith('{"collections": ')
    with opened(path) as keep:
        assert keep.resolve("op 1").revisions == (2,)
        assert not keep.backend.check()
        with pytest.raises(OperationConflict):
            keep.commit(keep.table(Note).put(Note(name="other")), op_id="op 1")
    assert description(path) == before  # nothing was migrated for the want of a checksum


def description(path):
    with closing(sqlite3.connect(path)) as stranger:
        wanted = "SELECT value FROM quantkeep_meta WHERE name = 'description'"
        return stranger.execute(wanted).fetchone()[0]


@pytest.mark.requirement("Z-6")
@pytest.mark.parametrize("size", [100, 4096, 20_000])
def test_a_file_that_was_cut_is_named(path, size):
    with path.open("r+b") as file:
        file.truncate(size)
    with pytest.raises(Corrupt) as caught, opened(path) as keep:
        keep.table(Note).list()
    assert caught.value.locator == str(path)
