"""Whatever happens to the bytes of a JSON keep: a typed error that says where, or nothing lost."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import quantkeep
from quantkeep.errors import Corrupt, Regression, Unavailable
from quantkeep.query import Exists, Query
from quantkeep_backends.json import JsonBackend

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


# -- damaged ---------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-18")
def test_no_flipped_bit_is_silent(filled, truth, seed):
    """GUARANTEES case 8: each of 1,000 ends in a typed error, or in an answer that is right."""
    drawn = random.Random(seed)
    places = [(path, n) for path in filled.files() for n in range(path.stat().st_size)]
    current = filled.records("entries").parent
    for path, place in drawn.choices(places, k=1000):
        with flipped(path, place, 1 << drawn.randrange(8)):
            lost = truth.lost()
        if path.parent == current:
            assert lost == closed_with(path.stem), f"seed {seed}: {path}, byte {place}"
        elif path.name == "keep.json":
            assert len(lost) == 5
        elif path != filled.journal:
            assert not lost


def closed_with(name: str) -> set[str]:
    """What is not known without the file of those records: operations of the journal are."""
    return {"first", "never"} if name == "operations" else {name}


@contextmanager
def flipped(path: Path, place: int, bit: int) -> Iterator[None]:
    good = path.read_bytes()
    damaged = bytearray(good)
    damaged[place] ^= bit
    path.write_bytes(damaged)
    yield
    path.write_bytes(good)


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("name", ["entries", "settings", "operations"])
def test_records_cut_at_every_byte_are_refused_and_the_others_answer(filled, truth, name):
    path = filled.records(name)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert truth.lost() == closed_with(name)


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("name", ["entries", "settings", "operations"])
def test_a_damaged_keep_is_not_written_to(filled, does, truth, name):
    path = filled.records(name)
    knows = filled.open()
    with flipped(path, 0, 1):
        reader, writer = filled.open(read_only=True), filled.open()
        for handle in (reader, writer):
            assert str(path) in handle.health().warnings[0]
            assert {*truth.refused(handle)} == closed_with(name)
        for write in (lambda: does.append(writer, 5), lambda: does.put(writer, "b", "3")):
            with pytest.raises(Corrupt, match=r"Until then nothing can be written; what it did no"):
                write()
        does.append(knows, 5)  # it has read the file before; the others follow what is undamaged
        does.put(knows, "b", "3")
        assert name == "entries" or does.numbers(reader) == [0, 1, 2, 3, 4, 5]
        knows.compact()
        assert reader.health().ok, "a later generation is whole"
    does.append(writer, 6)
    assert does.numbers(reader) == [0, 1, 2, 3, 4, 5, 6]


def test_a_file_that_is_put_right_is_read_by_open_handles(filled, does, truth):
    with flipped(filled.records("entries"), 40, 1):
        handle = filled.open()
        assert {*truth.refused(handle)} == {"entries"}
    assert not truth.refused(handle)
    does.append(handle, 5)
    assert does.numbers(filled.open()) == [0, 1, 2, 3, 4, 5]


def test_a_file_that_cannot_be_read_closes_its_own_records(filled, does, truth):
    """As the disk says it, which is no damage: typed, and over when it can be read again."""
    path = filled.records("entries")
    path.rename(path.with_name("aside"))
    path.mkdir()
    handle = filled.open()
    for refused in (does.numbers, JsonBackend.compact, lambda handle: does.put(handle, "b", "3")):
        with pytest.raises(Unavailable, match=f"{path}: Is a directory"):
            refused(handle)
    assert does.rows(handle, does.settings) == truth.answers["settings"]
    assert handle.outcome("never") is None
    assert (handle.health().ok, *handle.check()) == (False, f"{path}: Is a directory")
    path.rmdir()
    path.with_name("aside").rename(path)
    assert truth.refused(handle) == {}
    does.append(handle, 5)


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
def test_an_edited_record_is_refused_with_its_line(filled, does, old, new, line):
    path = filled.records("entries")
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    for ask in (does.numbers, lambda handle: does.append(handle, 5)):
        with pytest.raises(Corrupt) as caught:
            ask(filled.open())
        assert caught.value.locator == f"{path}:{line}"


def test_a_line_taken_out_or_put_in_twice_is_refused(filled, does):
    path = filled.records("entries")
    lines = path.read_bytes().splitlines(keepends=True)
    out, twice = [lines[0], *lines[2:]], [*lines[:2], *lines[1:]]
    for changed in (out, twice, lines[:-1], [], [*lines, b"\n"]):
        path.write_bytes(b"".join(changed))
        with pytest.raises(Corrupt, match=r"entries\.jsonl, line \d+"):
            does.numbers(filled.open())


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
    path.write_bytes(path.read_bytes().replace(b'"format": 2,\n "gen', b'"format": 3,\n "gen'))
    with pytest.raises(quantkeep.FormatTooNew):
        filled.open()


# -- gone, or put back -----------------------------------------------------------------------------


def test_a_file_that_is_gone_is_not_an_empty_one(filled, does, truth):
    records = filled.records("entries"), filled.records("operations")
    for path in (filled.path / "keep.json", filled.journal, *records):
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(Corrupt, match="gone"):
            does.append(filled.open(), 5)
        assert truth.lost() == (closed_with(path.stem) if path in records else {*truth.answers})
        path.write_bytes(data)
    assert not truth.lost()


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
