"""A journal that was cut short, which looks like one that was never longer, and is noticed."""

import shutil
import zlib

import pytest

from quantkeep.errors import Corrupt

# What is not known if the journal ends before its first, second, third line.
CLOSED = ({"entries", "second", "never"}, {"settings"}, {"entries"})


@pytest.mark.requirement("Z-18")
def test_a_journal_that_lost_what_was_acknowledged_is_noticed_cut_anywhere(filled, does, truth):
    """It looks like one that was never longer; not to who remembers what was committed."""
    whole = filled.journal.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole)):
        filled.journal.write_bytes(whole[:size])
        there = sum(end <= size for end in ends)
        assert truth.lost() == set.union(*CLOSED[there:])
        handle = filled.open()
        with pytest.raises(Corrupt, match=r"commit 5 was acknowledged.*or remove") as caught:
            does.append(handle, 5)
        assert caught.value.locator == str(filled.journal)
        handle.close()
    filled.forget()
    assert does.numbers(filled.open()) == [0, 1, 2, 3]


def test_what_was_acknowledged_of_another_generation_says_nothing_of_a_journal(
    filled, does, tmp_path
):
    """A folder put back from a backup, all but that file."""
    shutil.copytree(filled.path, tmp_path / "backup")
    handle = filled.open()
    does.append(handle, 5)
    handle.compact()
    does.put(handle, "b", "1")
    handle.close()
    said = (filled.path / "acknowledged").read_bytes()
    shutil.rmtree(filled.path)
    shutil.copytree(tmp_path / "backup", filled.path)
    (filled.path / "acknowledged").write_bytes(said)
    with pytest.raises(Corrupt, match=r"ends with commit 5, and commit 7 was acknowledged"):
        filled.open(read_only=True)


def test_whoever_commits_counts_what_others_committed_too(filled, does):
    """Of the commits that are lost, the last writer made one, and has read the others."""
    another = filled.open()
    does.append(another, 5)
    another.close()
    filled.journal.write_bytes(b"")
    handle = filled.open(read_only=True)
    for ask in (
        does.numbers,
        lambda handle: does.rows(handle, does.settings),
        lambda handle: handle.outcome("second"),
    ):
        with pytest.raises(Corrupt, match="commit 6 was acknowledged"):
            ask(handle)


def test_a_count_that_is_behind_says_nothing_of_later_commits(filled, lines):
    """After a power cut, say: of the two commits that are missing, it knows one."""
    said = b'{"n":3,"since":2,"touched":{"entries":3,"":3}}'
    (filled.path / "acknowledged").write_bytes(b"%08x %s\n" % (zlib.crc32(said), said))
    filled.journal.write_bytes(lines[2])
    with pytest.raises(Corrupt, match="nobody can say what is lost"):
        filled.open(read_only=True)


def test_what_is_remembered_of_a_journal_may_be_behind_or_damaged_or_missing(filled, does):
    """After a power cut; it is written once more with the next commit."""
    path = filled.path / "acknowledged"
    good = path.read_bytes()
    old = b"00000000000000000004 "
    cases = (
        good.replace(b'"n":5', b'"n":9'), good[:20], b"", bytes(30),
        old + b"%08x\n" % zlib.crc32(old[:-1]), old + b"00000000\n",
    )  # fmt: skip
    for said in cases:
        path.write_bytes(said)
        handle = filled.open()
        assert does.numbers(handle) == [0, 1, 2, 3, 4]
        handle.close()
    path.unlink()
    does.append(filled.open(), 5)
    assert b'"n":6,' in path.read_bytes()
