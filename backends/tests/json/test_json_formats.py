"""Keeps of format 1, whose journals have no headings: read, gone on with, and taken to format 2."""

import json
import shutil
from pathlib import Path

import pytest

from quantkeep.errors import Corrupt, StoreFull
from quantkeep_backends.json._entries import BEGIN

WRITTEN = Path(__file__).with_name("format-1")  # by the version that had no other


@pytest.fixture
def old(keep):
    shutil.copytree(WRITTEN, keep.path)
    return keep


def format_of(keep) -> int:
    said: int = json.loads((keep.path / "keep.json").read_bytes())["format"]
    return said


def has_headings(keep) -> set[bool]:
    journal = max(keep.files("journal-*"))  # a compaction that failed may leave an empty one
    return {line.index(BEGIN) > 9 for line in journal.read_bytes().splitlines()}


@pytest.mark.parametrize("read_only", [True, False])
def test_it_is_read(old, does, read_only):
    handle = old.open(read_only=read_only)
    assert does.numbers(handle) == [0, 1, 2, 3, 4]
    (setting,) = does.rows(handle, does.settings)
    assert setting.revision == 2
    assert handle.outcome("first").op_id == "first"
    assert handle.outcome("second").outcomes[0].added == 1
    assert handle.health().ok
    assert [*handle.scrub()] == []


def test_it_stays_one_that_the_version_before_reads_until_it_is_compacted(old, does):
    reader, writer = old.open(read_only=True), old.open()
    does.append(writer, 5, op_id="third")
    assert (format_of(old), has_headings(old)) == (1, {False})
    assert does.numbers(old.open()) == [0, 1, 2, 3, 4, 5]
    writer.compact()
    does.append(writer, 6, op_id="fourth")
    assert (format_of(old), has_headings(old)) == (2, {True})
    assert does.numbers(reader) == does.numbers(old.open()) == [0, 1, 2, 3, 4, 5, 6]
    assert {reader.outcome(op_id).op_id for op_id in ("first", "second", "third", "fourth")} == {
        "first", "second", "third", "fourth",
    }  # fmt: skip
    assert [*writer.scrub()] == []


def test_a_compaction_that_finds_no_room_leaves_the_format(old, does, disarmed):
    handle = old.open()
    disarmed("json.compact.heading=ENOSPC")
    with pytest.raises(StoreFull):
        handle.compact()
    disarmed("")
    does.append(handle, 5)
    assert (format_of(old), has_headings(old)) == (1, {False})
    assert does.numbers(old.open()) == [0, 1, 2, 3, 4, 5]


def test_no_heading_says_what_a_damaged_line_touched(old):
    data = old.journal.read_bytes()
    ends = [n for n, byte in enumerate(data) if byte == ord("\n")]
    for place in range(0, len(data) - 1, 7):
        old.journal.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(Corrupt, match="nobody can say what is lost") as caught:
            old.open(read_only=True)
        line = sum(end < place for end in ends) + 1
        assert caught.value.locator == f"{old.journal}:{line}"


def test_the_version_before_may_count_commits_in_the_same_file(old, does):
    """It writes over the beginning of what is longer."""
    count = (old.path / "acknowledged").read_bytes()
    handle = old.open()
    does.append(handle, 5)
    handle.close()
    said = (old.path / "acknowledged").read_bytes()
    (old.path / "acknowledged").write_bytes(count + said[len(count) :])
    assert does.numbers(old.open()) == [0, 1, 2, 3, 4, 5]
    old.journal.write_bytes(b"".join(old.journal.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(Corrupt, match="ends with commit 4, and commit 5 was acknowledged"):
        old.open()


def test_a_torn_last_commit_is_cut_off(old, does):
    old.forget()
    old.journal.write_bytes(old.journal.read_bytes()[:-9])
    does.append(old.open(), 5)
    assert does.numbers(old.open()) == [0, 1, 2, 3, 5]
    assert has_headings(old) == {False}
