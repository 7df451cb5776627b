"""A damaged line of the journal closes what it touched, where that is known; nothing is guessed."""

import os
import zlib
from collections.abc import Iterator

import pytest

from quantkeep.batch import Batch, Delete
from quantkeep.errors import Corrupt

# What the three lines of the journal touch, in order; the first has an operation id.
TOUCHED = ({"entries", "second"}, {"settings"}, {"entries"})
ALL = {"entries", "settings", "first", "second", "never"}


def places(lines) -> Iterator[tuple[int, int, bool]]:
    """Each byte of a journal: its line, its place in the file, whether it says what was done."""
    place = 0
    for number, line in enumerate(lines):
        said = line.index(b'{"effects"') - 9
        for n in range(len(line)):
            yield number, place + n, said <= n < len(line) - 1
        place += len(line)


def spoilt(line: bytes, *where: int) -> bytes:
    data = bytearray(line)
    for place in where:
        data[place] ^= 1
    return bytes(data)


# -- bytes that were flipped -----------------------------------------------------------------------


@pytest.mark.requirement("Z-6", "Z-18")
def test_each_byte_that_is_flipped_closes_what_its_line_touched_at_most(filled, truth, lines):
    """Nothing where the heading is damaged, or the line feed: the rest proves itself."""
    whole = filled.journal.read_bytes()
    for number, place, in_body in places(lines):
        feed = whole[place] if place % 4 else ord("\n")
        for other in {whole[place] ^ (1 << place % 8), feed} - {whole[place]}:
            filled.journal.write_bytes(whole[:place] + bytes([other]) + whole[place + 1 :])
            handle = filled.open(read_only=True)
            refused = truth.refused(handle)
            assert {*refused} == (TOUCHED[number] if in_body else set()), f"byte {place}"
            where = f"{filled.journal}:{number + 1}"
            assert {error.locator for error in refused.values()} <= {where}
            (warning,) = handle.health().warnings
            assert warning.startswith(f"{filled.journal}, line {number + 1}: ")
            handle.close()


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_damaged_line_is_named_with_what_is_lost(filled, lines, caplog, number):
    filled.journal.write_bytes(_with(lines, number, spoilt(lines[number], -30)))
    (warning,) = filled.open(read_only=True).health().warnings
    assert not caplog.messages
    filled.open()
    assert caplog.messages == [warning]
    lost = ("entries, operation 'second'", "settings", "entries")[number]
    assert warning == (
        f"{filled.journal}, line {number + 1}: its checksum does not match, and what it says of "
        f"{lost} is not known. It was changed outside quantkeep, or damaged: restore the folder "
        "from a backup"
    )


def test_what_came_of_the_operation_of_a_damaged_line_is_not_known(filled, does, truth, lines):
    """It is not said to be unheard of, and not committed again."""
    filled.journal.write_bytes(_with(lines, 0, spoilt(lines[0], -30)))
    handle = filled.open()
    assert handle.outcome("first") == truth.answers["first"]
    assert handle.outcome("never") is None
    for ask in (lambda: handle.outcome("second"), lambda: does.append(handle, 3, op_id="second")):
        with pytest.raises(Corrupt, match="line 1") as caught:
            ask()
        assert caught.value.locator == f"{filled.journal}:1"


@pytest.mark.parametrize("op_id", ['{"effects":[', "é😀\u2028\x7f", '"} 00000000 {"effects":[\\'])
def test_an_operation_id_may_look_like_a_line(filled, does, op_id):
    handle = filled.open()
    before = len(filled.journal.read_bytes())
    wanted = does.append(handle, 5, op_id=op_id)
    does.put(handle, "b", "1")
    whole = filled.journal.read_bytes()
    for place in range(before, whole.index(b"\n", before) + 1, 3):
        filled.journal.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        reader = filled.open(read_only=True)
        assert len(does.rows(reader, does.settings)) == 2
        assert come_of(reader, op_id) in (wanted.outcomes, f"{filled.journal}:4")
        reader.close()


def come_of(handle, op_id):
    """The outcomes of an operation, or where it says that they are not known."""
    try:
        return handle.outcome(op_id).outcomes
    except Corrupt as error:
        return error.locator


def test_nothing_is_lost_by_a_damaged_heading_or_line_feed(filled, does, lines):
    """The keep is written to as before, and the next generation is whole."""
    for number, where in ((0, 5), (1, 20), (1, -1), (2, 0), (2, -1)):
        filled.journal.write_bytes(_with(lines, number, spoilt(lines[number], where)))
        handle = filled.open()
        assert not handle.health().ok
        does.append(handle, 5)
        assert does.numbers(handle) == [0, 1, 2, 3, 4, 5]
        again = filled.open(read_only=True)
        assert does.numbers(again) == [0, 1, 2, 3, 4, 5]
        assert "Nothing is lost by it; compact the keep" in again.health().warnings[0]
        filled.forget()
    handle.compact()
    assert handle.health().ok
    assert handle.check() == []
    assert again.health().ok


def _with(lines, number, line) -> bytes:
    return b"".join([*lines[:number], line, *lines[number + 1 :]])


def test_a_line_that_proves_itself_and_says_nothing_is_refused(filled, lines):
    """As nobody but a forger writes it."""
    begin = lines[1].index(b'{"effects"') - 9
    for said in (b'{"effectx"', b'{"effects":["'):
        forged = lines[1][begin + 9 : -1].replace(b'{"effects"', said)
        heading = b'{"bytes":%d,"n":4,"touches":["settings"]}' % len(forged)
        line = b" ".join(b"%08x %s" % (zlib.crc32(part), part) for part in (heading, forged))
        filled.journal.write_bytes(_with(lines, 1, line + b"\n"))
        with pytest.raises(Corrupt, match="line 2"):
            filled.open()


# -- a heading that is damaged too -----------------------------------------------------------------


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize(
    ("number", "since"),
    [(0, {"entries", "settings", "second", "never"}), (1, {"entries", "settings"})],
)
def test_lines_of_which_nothing_is_known_close_what_was_touched_since(
    filled, truth, lines, number, since
):
    """The file `acknowledged` has the last commit that touched each collection."""
    zeros, spoiled = bytes(len(lines[number]) - 1) + b"\n", spoilt(lines[number], 12, -30)
    for line in (zeros, spoiled, b"", b"0\n" * 5):
        filled.journal.write_bytes(_with(lines, number, line))
        handle = filled.open(read_only=True)
        refused = truth.refused(handle)
        assert {*refused} == since
        assert {error.locator for error in refused.values()} == {f"{filled.journal}:{number + 1}"}
        handle.close()


@pytest.mark.parametrize("number", [0, 1])
def test_without_that_file_nobody_can_say_what_they_touched(filled, lines, number):
    filled.forget()
    for line in (spoilt(lines[number], 12, -30), b""):
        filled.journal.write_bytes(_with(lines, number, line))
        for read_only in (True, False):
            with pytest.raises(Corrupt, match="nobody can say what is lost") as caught:
                filled.open(read_only=read_only)
            assert str(filled.journal) in caught.value.locator


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("acknowledged", [True, False])
def test_lines_taken_out_swapped_or_doubled_give_no_wrong_answer(
    filled, truth, lines, acknowledged
):
    """What is missing is known to be; a line that is there twice is read once."""
    one, two, three = lines
    if not acknowledged:
        filled.forget()
    for changed in ([two, three], [one, three], [three], [two, one, three], [three, two, one],
                    [one, three, two]):  # fmt: skip
        filled.journal.write_bytes(b"".join(changed))
        lost = truth.lost()
        assert lost >= {"settings"} if acknowledged else lost == ALL
    for changed in ([one, one, two, three], [one, two, one, three], [one, two, two, three]):
        filled.journal.write_bytes(b"".join(changed))
        assert truth.lost() == set()
        assert not filled.open(read_only=True).health().ok


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_damaged_or_torn_line_that_is_not_in_turn_does_not_hide_what_is_missing(
    filled, truth, lines, acknowledged
):
    one, _, three = lines
    if not acknowledged:
        filled.forget()
    for last in (spoilt(three, -30), three[:-30], spoilt(three, -1)):
        filled.journal.write_bytes(one + last)
        assert truth.lost() == ({"entries", "settings"} if acknowledged else ALL)
    filled.journal.write_bytes(one + spoilt(three, 12))  # no heading says whose line it is
    assert truth.lost() == ALL


# -- writing ---------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_nothing_is_written_folded_or_removed_while_something_is_not_known(
    filled, does, truth, lines, number
):
    """Else a reference could dangle, an operation run twice, and compaction lose what is there."""
    filled.open().put_blob("ab" * 32, b"who refers to it may be in the damaged line")
    filled.journal.write_bytes(_with(lines, number, spoilt(lines[number], -30)))
    before = {path: path.read_bytes() for path in filled.files()}
    handle = filled.open()
    writes = (
        lambda: does.append(handle, 5),
        lambda: does.put(handle, "b", "3"),
        lambda: handle.commit(Batch((Delete(does.settings, ("a",)),), "another")),
        handle.compact,
        lambda: handle.ensure([does.other], does.described),
        lambda: handle.put_blob("cd" * 32, b"another"),
        lambda: handle.delete_blob("ab" * 32),
        lambda: handle.remove_garbage(2**62),
    )
    for write in writes:
        with pytest.raises(Corrupt, match="Until then nothing can be written") as caught:
            write()
        assert caught.value.locator == f"{filled.journal}:{number + 1}"
    assert {path: path.read_bytes() for path in filled.files()} == before
    assert {*truth.refused(handle)} == TOUCHED[number]


# -- open handles ----------------------------------------------------------------------------------


def test_open_handles_meet_damage_and_go_on_when_it_is_put_right(filled, does, lines):
    """One that has read the line knows what it says, and compaction does without it."""
    reader, writer, knows = filled.open(read_only=True), filled.open(), filled.open()
    whole = filled.journal.read_bytes()
    does.put(knows, "a", "5")
    good = filled.journal.read_bytes()
    damaged = spoilt(good, len(whole) + 150)
    _overwrite(filled.journal, damaged)
    does.append(knows, 5)
    last = filled.journal.read_bytes()[len(good) :]
    for handle in (reader, writer):
        assert does.numbers(handle) == [0, 1, 2, 3, 4, 5]
        with pytest.raises(Corrupt, match="line 4"):
            does.rows(handle, does.settings)
    with pytest.raises(Corrupt, match="line 4"):
        does.append(writer, 6)
    _overwrite(filled.journal, good + last)
    for handle in (reader, writer):
        assert does.rows(handle, does.settings)[0].revision == 3
        assert handle.health().ok
    does.append(writer, 6)
    _overwrite(filled.journal, damaged + filled.journal.read_bytes()[len(good) :])
    assert not filled.open(read_only=True).health().ok
    knows.compact()
    assert does.numbers(filled.open()) == [0, 1, 2, 3, 4, 5, 6]


def _overwrite(path, data) -> None:
    """In place, as a disk does."""
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, data, 0)
    os.close(descriptor)
