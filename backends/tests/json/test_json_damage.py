"""Whatever happens to the bytes of a JSON keep: a typed error that says where, or nothing lost."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import quantkeep
from quantkeep.errors import Corrupt, QuantkeepError, Regression
from quantkeep.query import Exists, Query


@pytest.fixture
def filled(keep, does):
    """Records of an older generation, and a journal of two operations and a change behind them."""
    with_records = keep.open()
    does.append(with_records, 0, 1, 2, op_id="first")
    does.put(with_records, "a", "1")
    with_records.compact()
    does.append(with_records, 3, op_id="second")
    does.put(with_records, "a", "2")
    does.append(with_records, 4)
    with_records.close()
    return keep


# -- torn ------------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-18")
def test_last_commit_cut_at_every_byte_then_append(filled, does):
    """GUARANTEES case 6: what is left of it is cut off; nothing else is, and the next one holds."""
    whole = filled.journal.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for size in range(last, len(whole) + 1):
        filled.forget()
        filled.journal.write_bytes(whole[:size])
        acknowledged = [0, 1, 2, 3, *([4] if size == len(whole) else [])]
        handle = filled.open()
        assert does.numbers(handle) == acknowledged
        does.append(handle, 5)
        handle.close()
        again = filled.open()
        assert does.numbers(again) == [*acknowledged, 5]
        again.close()


def test_a_commit_whose_sectors_never_reached_the_disk_is_cut_off(filled, does):
    """A power cut may leave the length of a line, its end, and zeros for what was before."""
    handle = filled.open()
    kept = filled.journal.stat().st_size
    does.append(handle, *range(5, 25))
    handle.close()
    data = bytearray(filled.journal.read_bytes())
    sector = -(-kept // 512) * 512
    data[sector : sector + 512] = bytes(512)
    filled.journal.write_bytes(data)
    filled.forget()
    again = filled.open()
    assert does.numbers(again) == [0, 1, 2, 3, 4]
    does.append(again, 5)
    assert does.numbers(filled.open()) == [0, 1, 2, 3, 4, 5]


@pytest.mark.requirement("Z-18")
def test_a_journal_that_lost_what_was_acknowledged_is_refused(filled, does):
    """Cut anywhere, it looks like one that was never longer; not to who remembers its length."""
    whole = filled.journal.read_bytes()
    for size in range(len(whole)):
        filled.journal.write_bytes(whole[:size])
        for read_only in (True, False):
            with pytest.raises(Corrupt, match=r"commit 5 was acknowledged.*or remove") as caught:
                filled.open(read_only=read_only)
            assert caught.value.locator == str(filled.journal)
    filled.forget()
    assert does.numbers(filled.open()) == [0, 1, 2, 3]


def test_what_is_remembered_of_a_journal_may_be_behind_or_damaged_or_missing(filled, does):
    """After a power cut; it is written once more with the next commit."""
    path = filled.path / "acknowledged"
    good = path.read_bytes()
    for said in (good.replace(b"5 ", b"9 "), good.replace(b"5 ", b"4 "), good[:20], b"", bytes(30)):
        path.write_bytes(said)
        handle = filled.open()
        assert does.numbers(handle) == [0, 1, 2, 3, 4]
        handle.close()
    path.unlink()
    does.append(filled.open(), 5)
    assert int(path.read_bytes().split()[0]) == 6


# -- damaged ---------------------------------------------------------------------------------------


def test_a_bad_line_with_lines_after_it_is_named(filled):
    """GUARANTEES case 7: never skipped, never cut off with what follows."""
    lines = filled.journal.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"2"', b'"3"')
    filled.journal.write_bytes(b"".join(lines))
    with pytest.raises(Corrupt) as caught:
        filled.open()
    assert caught.value.locator == f"{filled.journal}:2"
    assert f"{filled.journal}, line 2" in str(caught.value)
    assert filled.journal.read_bytes() == b"".join(lines)


@pytest.mark.parametrize(
    "place",
    [pytest.param(-1, id="line feed"), pytest.param(-2, id="end"), pytest.param(8, id="space")],
)
def test_a_damaged_last_line_is_not_taken_for_a_torn_one(filled, does, place):
    data = bytearray(filled.journal.read_bytes())
    last = data.rindex(b"\n", 0, -1) + 1
    for bit in range(8):
        damaged = data.copy()
        damaged[last + place if place > 0 else place] ^= 1 << bit
        filled.journal.write_bytes(damaged)
        with pytest.raises(Corrupt, match="line 3"):
            filled.open()


@pytest.mark.requirement("Z-18")
def test_no_flipped_bit_is_silent(filled, does, seed):
    """GUARANTEES case 8: each of 1,000 ends in a typed error, or in an answer that is right."""
    handle = filled.open()
    wanted = {name: ask(handle) for name, ask in questions(does).items()}
    handle.close()
    drawn = random.Random(seed)
    places = [(path, n) for path in filled.files() for n in range(path.stat().st_size)]
    all_of_it, current = (
        {filled.path / "keep.json", filled.journal},
        filled.records("entries").parent,
    )
    for path, place in drawn.choices(places, k=1000):
        with flipped(path, place, 1 << drawn.randrange(8)):
            found = answers(filled, does, wanted)
        lost = [*wanted] if path in all_of_it else [path.stem] * (path.parent == current)
        assert found == lost, f"seed {seed}: {path}, byte {place}"


@contextmanager
def flipped(path: Path, place: int, bit: int) -> Iterator[None]:
    good = path.read_bytes()
    damaged = bytearray(good)
    damaged[place] ^= bit
    path.write_bytes(damaged)
    yield
    path.write_bytes(good)


def questions(does):
    """All that can be asked of a keep, by the file that has the answer."""
    return {
        "entries": does.numbers,
        "settings": lambda handle: does.rows(handle, does.settings),
        "operations": lambda handle: [handle.outcome("first"), handle.outcome("second")],
    }


def answers(filled, does, wanted) -> list[str]:
    """What is refused because of the damage; what is answered in spite of it must be right."""
    try:
        handle = filled.open(read_only=True)
    except QuantkeepError:
        return [*wanted]
    refused = []
    for name, ask in questions(does).items():
        try:
            assert ask(handle) == wanted[name]
        except Corrupt as error:
            refused.append((name, error.locator))
    assert all(where.startswith(str(filled.records(name))) for name, where in refused)
    assert handle.health().ok == (not refused)
    assert handle.check() == [*handle.health().warnings]
    handle.close()
    return [name for name, _ in refused]


def truncated(filled) -> Iterator[Path]:
    for path in [*filled.records("entries").parent.iterdir()]:
        whole = path.read_bytes()
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            yield path
        path.write_bytes(whole)


@pytest.mark.requirement("Z-18")
def test_records_cut_at_every_byte_are_refused_and_the_others_answer(filled, does):
    handle = filled.open()
    wanted = {name: ask(handle) for name, ask in questions(does).items()}
    handle.close()
    for path in truncated(filled):
        assert answers(filled, does, wanted) == [path.stem]


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("name", ["entries", "settings", "operations"])
def test_a_damaged_keep_is_not_written_to(filled, does, name):
    path = filled.records(name)
    writer = filled.open()
    with flipped(path, 0, 1):
        with pytest.raises(Corrupt, match="read_only opens the collections that are undamaged"):
            filled.open()
        reader = filled.open(read_only=True)
        assert str(path) in reader.health().warnings[0]
        does.append(writer, 5)  # it has read the file before; a reader follows what is undamaged
        does.put(writer, "b", "3")
        assert name == "entries" or does.numbers(reader) == [0, 1, 2, 3, 4, 5]
    writer.compact()
    assert reader.health().ok, "a later generation is whole"
    assert does.numbers(reader) == [0, 1, 2, 3, 4, 5]


def test_a_query_that_asks_for_a_damaged_collection_too_is_refused(filled, does):
    """A condition on another collection needs its rows."""
    refers = Exists(does.settings, (("name", "note"),)).bound(does.entries)
    with flipped(filled.records("settings"), 0, 1):
        reader = filled.open(read_only=True)
        with pytest.raises(Corrupt, match=r"settings\.jsonl, line 1"):
            [*reader.scan(does.entries, Query(where=(refers,)))]


def test_a_live_handle_checks_the_files_anew(filled):
    handle = filled.open()
    assert handle.check() == []
    path = filled.records("entries")
    path.write_bytes(path.read_bytes().replace(b"note 1", b"note 7"))
    (complaint,) = handle.check()
    assert f"{path}, line 3" in complaint


# -- edited by hand --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        pytest.param(b'"number":1', b'"number":7', 3, id="value"),
        pytest.param(b'"number":1,', b'"number":1 ,,', 3, id="no JSON"),
        pytest.param(b'"number":1,', b"", 3, id="field taken out"),
        pytest.param(b'"revision":2', b'"revision":9', 5, id="the store's own fields: the proof"),
    ],
)
def test_an_edited_record_is_refused_with_its_line(filled, old, new, line):
    path = filled.records("entries")
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    with pytest.raises(Corrupt) as caught:
        filled.open()
    assert caught.value.locator == f"{path}:{line}"


def test_a_line_taken_out_or_put_in_twice_is_refused(filled):
    path = filled.records("entries")
    lines = path.read_bytes().splitlines(keepends=True)
    out, twice = [lines[0], *lines[2:]], [*lines[:2], *lines[1:]]
    for changed in (out, twice, lines[:-1], [], [*lines, b"\n"]):
        path.write_bytes(b"".join(changed))
        with pytest.raises(Corrupt, match=r"entries\.jsonl, line \d+"):
            filled.open()


@pytest.mark.parametrize("old", [b'"mode"', b'"generation": 3', b'"commits": '])
def test_an_edited_heading_is_refused(filled, old):
    path = filled.path / "keep.json"
    data = path.read_bytes()
    path.write_bytes(data.replace(old, old.replace(b"3", b"2").replace(b"mode", b"node") + b" "))
    with pytest.raises(Corrupt, match=r"keep\.json"):
        filled.open()
    assert filled.records("entries").parent.name == "records-00000003", "nothing was rewritten"


def test_a_heading_of_a_later_format_is_refused(filled):
    path = filled.path / "keep.json"
    path.write_bytes(path.read_bytes().replace(b'"format": 1,\n "gen', b'"format": 2,\n "gen'))
    with pytest.raises(quantkeep.FormatTooNew):
        filled.open()


# -- gone, or put back -----------------------------------------------------------------------------


def test_a_file_that_is_gone_is_not_an_empty_one(filled):
    records = filled.records("entries"), filled.records("operations")
    for path in (filled.path / "keep.json", filled.journal, *records):
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(Corrupt, match="gone"):
            filled.open()
        path.write_bytes(data)
    filled.open()


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("how", ["new files", "same files"])
@pytest.mark.parametrize("compacted", [False, True])
def test_an_older_backup_put_back_under_a_handle_is_noticed(filled, does, tmp_path, how, compacted):
    """GUARANTEES case 30, for a reader and a writer; the handle stays unusable, a new one works."""
    backup = tmp_path / "backup"
    shutil.copytree(filled.path, backup)
    writer, reader = filled.open(), filled.open(read_only=True)
    does.append(writer, 5)
    if compacted:
        writer.compact()
    assert does.numbers(reader) == [0, 1, 2, 3, 4, 5]
    if how == "new files":
        shutil.rmtree(filled.path)
    shutil.copytree(backup, filled.path, dirs_exist_ok=True)
    for _ in range(2):
        with pytest.raises(Regression, match="older backup"):
            does.append(writer, 6)
        with pytest.raises(Regression, match="older backup"):
            does.numbers(reader)
    assert does.numbers(filled.open()) == [0, 1, 2, 3, 4]


def test_another_keep_put_in_its_place_is_noticed(filled, does, tmp_path):
    writer = filled.open()
    shutil.move(filled.path, tmp_path / "elsewhere")
    other = filled.open()
    for number in range(20):
        does.append(other, number)
    with pytest.raises(Regression, match="another keep"):
        does.append(writer, 5)
    assert does.numbers(other) == [*range(20)]
