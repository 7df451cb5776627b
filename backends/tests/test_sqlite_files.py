"""The file itself: whose it is, where it stands, what beside it, and what it says of itself."""

import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import quantkeep
from quantkeep import Durability, Keep, Record
from quantkeep.errors import DurabilityNotMet, NotFound, PermissionDenied, ReadOnly, Unsupported
from quantkeep_backends.sqlite import files
from quantkeep_backends.sqlite.connections import Settings, make_durable, pragma, reached


@quantkeep.record("notes", key=("name",))
class Note(Record):
    name: str
    text: str = ""


def opened(path: Path, options: str = "", **asked: object) -> Keep:
    return quantkeep.open({"tape": f"sqlite:///{path}{options}"}, records=[Note], **asked)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


# -- whose ----------------------------------------------------------------------------------------


def test_only_the_owner_can_read_any_of_it(path):
    """GUARANTEES case 40: also with an umask that takes nothing away."""
    before = os.umask(0)
    try:
        with opened(path) as keep:
            keep.commit(keep.table(Note).put(Note(name="a")))
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("bot.db", "bot.db-wal", "bot.db-shm", "bot.db-lock"), 0o600)


def test_a_file_of_another_user_is_opened_only_if_that_is_meant(path, monkeypatch):
    opened(path).close()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(PermissionDenied, match=r"belongs to user \d+.* say \?owner=any"):
        opened(path)
    opened(path, "?owner=any").close()


# -- where ----------------------------------------------------------------------------------------


def test_a_path_may_lead_up_even_beyond_the_root(path, tmp_path):
    beyond = Path("/", *[".."] * (len(tmp_path.parts) + 3), *path.parts[1:])
    for name in (beyond, tmp_path / ".." / tmp_path.name / path.name):
        with opened(name) as keep:
            keep.commit(keep.table(Note).put(Note(name=str(name))))
    with opened(path) as keep:
        assert keep.table(Note).count() == 2
    with pytest.raises(NotFound, match="make it first"):
        opened(tmp_path / "nowhere" / ".." / "bot.db")
    assert sorted(tmp_path.iterdir()) == [path, path.with_name("bot.db-lock")]


MOUNTS = """\
21 1 254:0 / / rw,relatime - {root} /dev/vda rw
22 21 0:20 / {folder} rw,relatime shared:1 - {type} somewhere rw
23 21 0:21 / {folder}x rw - ext4 elsewhere rw
"""


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """Lets the kernel tell of another type of file system."""

    def mount(folder: Path, kind: str, root: str = "ext4") -> None:
        escaped = str(folder).replace(" ", "\\040")
        table = tmp_path / "mountinfo"
        table.write_text(MOUNTS.format(folder=escaped, type=kind, root=root))
        monkeypatch.setattr(files, "_MOUNTS", str(table))

    return mount


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused_unless_it_is_meant(tmp_path, mounted, kind):
    """GUARANTEES failure 21."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    mounted(folder, kind)
    with pytest.raises(Unsupported, match=rf"network file system \({kind}\).*\?network=allow"):
        opened(folder / "bot.db")
    assert [*folder.iterdir()] == []
    with opened(folder / "bot.db", "?network=allow") as keep:
        assert f"{kind} is a network file system" in " ".join(warnings(keep))
    opened(tmp_path / "bot.db").close()


def warnings(keep: Keep) -> tuple[str, ...]:
    (health,) = keep.health().values()
    return health.warnings


def test_what_a_power_cut_empties_is_not_durable(path, mounted):
    mounted(path.parent, "tmpfs")
    with opened(path) as keep:
        assert keep.backend.durability is Durability.PROCESS
        assert any("file system tmpfs" in warning for warning in warnings(keep))
    with pytest.raises(DurabilityNotMet):
        opened(path, durability="disk")


def test_a_mount_that_is_not_above_the_file_says_nothing_of_it(tmp_path, mounted):
    mounted(tmp_path / "elsewhere", "nfs")
    assert files.filesystem(tmp_path / "bot.db") == "ext4"
    assert files.filesystem(tmp_path / "elsewhere" / "bot.db") == "nfs"
    assert files.filesystem(tmp_path / "elsewhere2" / "bot.db") == "ext4"


def test_where_the_kernel_says_nothing_nothing_is_refused(path, monkeypatch):
    monkeypatch.setattr(files, "_MOUNTS", "/nowhere")
    with opened(path) as keep:
        assert next(iter(keep.health().values())).facts["filesystem"] == "unknown"


# -- levels ---------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-16", "Z-37")
@pytest.mark.parametrize(
    ("journal", "synchronous", "level"),
    [
        ("wal", 2, Durability.DISK),
        ("wal", 3, Durability.DISK),
        ("wal", 1, Durability.PROCESS),
        ("delete", 3, Durability.DISK),
        ("delete", 2, Durability.PROCESS),  # measured: 6 of 200 power cuts lost commits
        ("memory", 3, Durability.PROCESS),
        ("off", 3, Durability.PROCESS),
    ],
)
def test_the_level_is_what_was_measured(journal, synchronous, level):
    assert reached(journal, synchronous, volatile=False) is level
    assert reached(journal, synchronous, volatile=True) is Durability.PROCESS


def test_without_a_write_ahead_log_the_rollback_journal_is_synced_harder():
    connection = sqlite3.connect(":memory:")  # whose journal cannot become a log
    make_durable(connection, Settings().synchronous)
    assert pragma(connection, "journal_mode") == "memory"
    assert pragma(connection, "synchronous") == 3
    connection.close()


# -- what it says of itself -----------------------------------------------------------------------


def test_health_tells_what_is_so(path):
    with opened(path, "?busy_timeout=5") as keep:
        (health,) = keep.health().values()
        facts = health.facts
        assert health.ok
        assert facts["path"] == str(path)
        assert facts["sqlite"] == sqlite3.sqlite_version
        assert facts["busy_timeout"] == 5
        assert facts["bytes"] >= 4096
        bug = "WAL-reset bug" in " ".join(health.warnings)
        assert bug == (sqlite3.sqlite_version_info < (3, 51, 3))
        assert keep.sizes()["notes"] == 0
        assert keep.sizes()["bytes"] == facts["bytes"]


def test_compacting_gives_space_back_beside_a_reader(path):
    with opened(path) as keep:
        notes = keep.table(Note)
        keep.commit(*(notes.put(Note(name=f"{n}", text="x" * 5000)) for n in range(500)))
        keep.commit(*(notes.delete(f"{n}") for n in range(1, 500)))
        before = keep.sizes()["bytes"]
        running = notes.scan()
        keep.backend.compact()
        assert next(running).name == "0"
        keep.backend.compact()
        assert keep.sizes()["bytes"] < before / 2
        assert not Path(f"{path}-wal").stat().st_size
        assert keep.backend.check() == []


@pytest.mark.requirement("Z-7")
def test_blobs(path):
    with opened(path) as keep:
        backend = keep.backend
        backend.put_blob("aa", b"\0one")
        backend.put_blob("bb", b"")
        assert (backend.open_blob("aa"), backend.open_blob("bb")) == (b"\0one", b"")
        assert backend.open_blob("cc") is None
        first = dict(backend.list_blobs())
        assert [*first] == ["aa", "bb"]
        backend.put_blob("aa", b"\0one")
        again = dict(backend.list_blobs())
        assert again["aa"] > first["aa"], "staging again makes it young again"
        backend.delete_blob("aa", staged_before=again["aa"])
        assert backend.open_blob("aa") == b"\0one"
        backend.delete_blob("aa", staged_before=again["aa"] + 1)
        backend.delete_blob("bb")
        backend.delete_blob("bb")
        assert dict(backend.list_blobs()) == {}


def test_a_keep_opened_to_read_writes_nothing(path):
    with opened(path) as keep:
        keep.commit(keep.table(Note).put(Note(name="a")))
    before = path.read_bytes()
    with opened(path, read_only=True) as keep:
        assert keep.table(Note).count() == 1
        engine = keep.backend.engine
        for write in (
            lambda: engine.put_blob("aa", b""),
            engine.compact,
            lambda: engine.backdoor().flip(Note.collection, ("a",), "text"),
            lambda: engine.ensure([Note.collection], "{}"),
        ):
            with pytest.raises(ReadOnly):
                write()
        assert engine.health().ok
        assert engine.check() == []
    assert path.read_bytes() == before


@pytest.fixture
def frozen(tmp_path: Path, path: Path) -> Iterator[Path]:
    """A keep on a medium that nobody can write to."""
    with opened(path) as keep:
        keep.commit(keep.table(Note).put(Note(name="a")))
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        shutil.copy(path, disk / "bot.db")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        yield disk / "bot.db"
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.faults
def test_a_keep_on_a_read_only_medium_can_be_read(frozen):
    with opened(frozen, read_only=True) as keep:
        assert [note.name for note in keep.table(Note).scan()] == ["a"]
    with pytest.raises(ReadOnly):
        opened(frozen)


def test_an_sqlite_without_strict_tables_is_refused(path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(Unsupported, match=r"is too old: 3\.37 or newer"):
        opened(path)
    assert not path.exists()
