"""What a JSON keep is as a folder: where it may be, who may read it, what else may lie in it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import quantkeep
from quantkeep.errors import Corrupt, InvalidUrl, NotFound, PermissionDenied

NOBODY = 65534


@contextmanager
def ordinary_user() -> Iterator[None]:
    """As a user to whom permissions apply."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def theirs(keep):
    """A keep of that user's."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        keep = type(keep)(Path(folder) / "keep", keep.handles)
        with ordinary_user():
            keep.open()
        yield keep


# -- URLs ------------------------------------------------------------------------------------------


def test_a_relative_url_stays_where_it_was_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with quantkeep.open("json:///bots/one keep") as keep:
        monkeypatch.chdir("/")
        keep.backend.put_blob("ab" * 32, b"bytes")
    with quantkeep.open(f"json:///{tmp_path}/bots/one%20keep", create=False) as keep:
        assert keep.backend.open_blob("ab" * 32) == b"bytes"
        assert keep.backend.health().facts["path"] == str(tmp_path / "bots" / "one keep")


@pytest.mark.parametrize(
    "url",
    [
        "json://",
        "json:///",
        "json://host/keep",
        "json:///{}/keep?patiense=1",
        "json:///{}/keep?patience=x",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(tmp_path, url):
    with pytest.raises(InvalidUrl):
        quantkeep.open(url.format(tmp_path))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.requirement("CODEX-27", "Z-17", api="quantkeep.open")
def test_it_needs_no_database_driver_and_no_accelerator(tmp_path):
    """The fallback where SQLite is absent: neither it nor anything faster can be imported here."""
    program = """if True:
        import sys
        absent = "sqlite3", "_sqlite3", "sqlalchemy", "redis", "psycopg", "fsspec", "msgspec"
        sys.modules |= dict.fromkeys(absent)
        from datetime import UTC, datetime
        import quantkeep
        from quantkeep.tape import Trade
        with quantkeep.open(sys.argv[1]) as keep:
            keep.tape.append(Trade(
                mode="paper", timestamp=datetime(2025, 1, 17, tzinfo=UTC), symbol="BTC/USDT",
                side="LONG", action="OPEN", qty=1.0,
            ))
        with quantkeep.open(sys.argv[1], read_only=True) as keep:
            assert [t.symbol for t in keep.tape.trades(mode="paper")] == ["BTC/USDT"]
        assert all(sys.modules[name] is None for name in absent)
    """
    subprocess.run([sys.executable, "-c", program, f"json:///{tmp_path}/keep"], check=True)


# -- links and users -------------------------------------------------------------------------------


@pytest.mark.parametrize("dangling", [False, True])
def test_a_folder_that_is_a_symbolic_link_is_not_followed(keep, tmp_path, dangling):
    if not dangling:
        keep.open()
        shutil.move(keep.path, tmp_path / "elsewhere")
    keep.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionDenied, match="symbolic link"):
        keep.open()
    assert (tmp_path / "elsewhere").exists() != dangling


@pytest.mark.parametrize(
    "pattern", ["keep.json", "lock", "journal-*", "records-*", "records-*/entries.jsonl"]
)
@pytest.mark.requirement("Z-17")
def test_a_file_that_is_a_symbolic_link_is_not_followed(keep, does, tmp_path, pattern):
    handle = keep.open()
    does.append(handle, 0)
    handle.compact()
    path = max(keep.path.glob(pattern))
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionDenied, match=f"{path} is a symbolic link"):
        does.numbers(keep.open())


def test_blobs_go_through_no_symbolic_link(keep, tmp_path):
    handle = keep.open()
    (tmp_path / "elsewhere").mkdir()
    (keep.path / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionDenied, match="symbolic link"):
        handle.put_blob("ab" * 32, b"bytes")
    assert [*(tmp_path / "elsewhere").iterdir()] == []


def test_all_is_the_owners_alone_whatever_the_umask(keep, does):
    before = os.umask(0)
    try:
        handle = keep.open()
        does.append(handle, 0)
        handle.put_blob("ab" * 32, b"bytes")
        handle.compact()
    finally:
        os.umask(before)
    modes = {p: p.stat().st_mode & 0o777 for p in (keep.path, *keep.path.rglob("*"))}
    assert {p: oct(m) for p, m in modes.items() if m != (0o700 if p.is_dir() else 0o600)} == {}


@pytest.mark.parametrize(
    "pattern", [".", "keep.json", "lock", "journal-*", "records-*/entries.jsonl"]
)
def test_what_may_not_be_read_is_a_typed_error(theirs, does, pattern):
    with ordinary_user():
        does.append(theirs.handles[0], 0)
        theirs.handles[0].compact()
    path = max(theirs.path.glob(pattern)) if pattern != "." else theirs.path
    path.chmod(0)
    with ordinary_user(), pytest.raises(PermissionDenied, match="give this user access"):
        does.numbers(theirs.open())
    path.chmod(0o700)
    with ordinary_user():
        assert does.numbers(theirs.open()) == [0]


def test_records_that_may_not_be_read_close_no_others(theirs, does):
    with ordinary_user():
        does.append(theirs.handles[0], 0)
        does.put(theirs.handles[0], "a", "1")
        theirs.handles[0].compact()
    theirs.records("entries").chmod(0)
    with ordinary_user():
        handle = theirs.open()
        assert [row.revision for row in does.rows(handle, does.settings)] == [1]
        for refused in (does.numbers, lambda handle: does.put(handle, "b", "1")):
            with pytest.raises(PermissionDenied, match=r"entries\.jsonl.*give this user access"):
                refused(handle)
    theirs.records("entries").chmod(0o600)
    with ordinary_user():
        assert does.numbers(handle) == [0]
        does.put(handle, "b", "1")


def test_what_may_only_be_read_can_be_read(theirs, does):
    with ordinary_user():
        does.append(theirs.handles[0], 0)
        for path in (*theirs.files(), theirs.path):
            path.chmod(0o500)
        assert does.numbers(theirs.open(read_only=True)) == [0]
        with pytest.raises(PermissionDenied):
            theirs.open()
        theirs.path.chmod(0o700)


def test_a_folder_of_another_user_is_refused(keep):
    with ordinary_user(), pytest.raises(PermissionDenied, match="/usr belongs to another user"):
        type(keep)(Path("/usr")).open()


# -- what else lies there --------------------------------------------------------------------------


def test_files_of_others_are_left_alone(keep, does):
    handle = keep.open()
    names = ["notes.txt", "records-2024.csv", "journal-2024.txt", "journal-1.jsonl", ".hidden.tmp"]
    for name in names:
        (keep.path / name).write_text("mine")
    (keep.path / "records-backup").mkdir()
    does.append(handle, 0)
    for _ in range(3):
        handle.compact()
    assert does.numbers(keep.open()) == [0]
    assert {(keep.path / name).read_text() for name in names} == {"mine"}
    assert (keep.path / "records-backup").is_dir()


def test_a_folder_of_other_things_is_not_made_a_keep(keep):
    keep.path.mkdir()
    (keep.path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidUrl, match="name an empty folder"):
        keep.open()
    assert [p.name for p in keep.path.iterdir()] == ["notes.txt"]


def test_a_file_is_not_made_a_keep(keep):
    keep.path.write_text("mine")
    with pytest.raises(InvalidUrl, match="is a file"):
        keep.open()
    with pytest.raises(InvalidUrl, match="is a file"):
        type(keep)(keep.path / "below").open()
    assert keep.path.read_text() == "mine"


def test_a_keep_that_was_never_finished_is_begun_again(keep, does):
    keep.path.mkdir()
    (keep.path / "journal-00000001.jsonl").touch()
    (keep.path / ".keep.json.0123456789abcdef.tmp").write_text("{")
    (keep.path / "lock").touch()
    does.append(keep.open(), 0)
    assert not [*keep.path.glob(".*")], "what was left half written is cleared away"


def test_no_keep_is_made_unless_asked_for(keep):
    for how in ({"create": False}, {"read_only": True}):
        with pytest.raises(NotFound, match="create=True"):
            quantkeep.open(f"json:///{keep.path}", **how)
    assert not keep.path.exists()


def test_a_pipe_in_the_place_of_a_file_does_not_hold_it_up(keep):
    keep.open()
    (keep.path / "keep.json").unlink()
    os.mkfifo(keep.path / "keep.json")
    with pytest.raises(Corrupt):
        keep.open()


def test_closing_twice_and_failing_to_open_leave_no_file_open(keep):
    before = len([*Path("/proc/self/fd").iterdir()])
    handle = keep.open()
    handle.close()
    handle.close()
    keep.journal.write_bytes(b"00000000 damaged\n\n")
    for _ in range(3):
        with pytest.raises(Corrupt):
            keep.open()
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_health_and_sizes_speak_of_the_folder(keep, does):
    handle = keep.open()
    does.append(handle, 0, 1)
    assert handle.sizes() == {
        "entries": 2,
        "settings": 0,
        "bytes": sum(p.stat().st_size for p in keep.files()),
    }
    facts = handle.health().facts
    assert (facts["path"], facts["commits"], facts["generation"]) == (str(keep.path), 1, 2)
