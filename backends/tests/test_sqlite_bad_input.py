"""Files that are no keep, or cannot be written: said in a sentence, and left as they are."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import quantkeep
from quantkeep import Durability, failpoints
from quantkeep.cli import main
from quantkeep.errors import (
    Busy,
    Corrupt,
    DurabilityNotMet,
    FormatTooNew,
    InvalidUrl,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    QuantkeepError,
    StoreFull,
    UpgradeNeeded,
)
from quantkeep.tape import EquityPoint, Trade
from quantkeep_backends.sqlite.connections import pragma

NOON = datetime(2025, 1, 17, 12, tzinfo=UTC)


def trade(uid: str) -> Trade:
    return Trade(
        mode="paper", uid=uid, timestamp=NOON, symbol="BTC", side="LONG", action="OPEN", qty=1.0
    )


def uids(keep: quantkeep.Keep) -> list[str | None]:
    return [trade.uid for trade in keep.tape.trades(mode="paper")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A keep with one trade."""
    path = tmp_path / "bot.db"
    with quantkeep.open(f"sqlite:///{path}") as keep:
        keep.tape.append(trade("first"))
    return path


def changed(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statement)


# -- whose file it is ----------------------------------------------------------------------------


def text_file(path: Path) -> None:
    path.write_text("timestamp,symbol,qty\n" * 100)


def photograph(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def database_of(statement: str) -> Callable[[Path], None]:
    return lambda path: changed(path, statement)


def keep_with(statement: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        quantkeep.open(f"sqlite:///{path}").close()
        changed(path, f"UPDATE quantkeep_meta SET {statement}")

    return make


def link(path: Path) -> None:
    target = path.with_name("target.db")
    quantkeep.open(f"sqlite:///{target}").close()
    path.symlink_to(target)


def listening(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))


UNCHECKED = "'{' || substr(value, 29)"  # of before there were checksums
NEWER = f"""value = replace({UNCHECKED}, '"trades": {{', '"trades": {{"schema_version": 7, ')"""
WRONG: list[tuple[str, Callable[[Path], object], type[QuantkeepError], str]] = [
    ("a text file", text_file, Corrupt, "is no SQLite database, or its first bytes are damaged"),
    ("bytes", photograph, Corrupt, "name another file, or restore it from a backup"),
    ("another program's tables", database_of("CREATE TABLE trades (id)"), InvalidUrl,
     "is the database of another program, which was not changed: name a file that"),
    ("another program's mark", database_of("PRAGMA application_id = 4711"), InvalidUrl,
     "is the database of another program"),
    ("a later format", keep_with("value = '99' WHERE name = 'format'"), FormatTooNew,
     "has format 99; this quantkeep reads up to 1: upgrade quantkeep"),
    ("a later layout", keep_with("value = '99' WHERE name = 'layout'"), FormatTooNew,
     "has layout 99"),
    ("a later record", keep_with(f"{NEWER} WHERE name = 'description'"), FormatTooNew,
     "trades has schema version 7; this program knows 1: upgrade it"),
    ("no layout", keep_with("value = 'x' WHERE name = 'layout'"), Corrupt,
     "does not know its own layout"),
    ("no schema", keep_with("value = '{\"format\": \"x\"}' WHERE name = 'description'"), Corrupt,
     "the keep's description of its collections is neither checked nor of before"),
    ("a folder", Path.mkdir, InvalidUrl, "is a folder: name a file in it, such as"),
    ("a socket", listening, InvalidUrl, "is no regular file"),
    ("a link", link, PermissionDenied, "is a symbolic link"),
]  # fmt: skip


@pytest.mark.requirement("Z-6", api="quantkeep.open")
@pytest.mark.parametrize("read_only", [False, True], ids=["to write", "to read"])
@pytest.mark.parametrize(
    ("make", "error", "said"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_a_file_that_is_no_keep_of_ours_is_left_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], object],
    error: type[QuantkeepError],
    said: str,
    *,
    read_only: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("wrong.db"))
    before = files(tmp_path)
    with pytest.raises(error) as caught:
        quantkeep.open("sqlite:///wrong.db", read_only=read_only)
    assert type(caught.value) is error
    assert said in str(caught.value)
    assert (caught.value.applied, caught.value.retryable) == ("no", False)
    assert files(tmp_path) == before


# The command line reads a later record by the schema that is stored beside it.
TOLD = [case for case in WRONG if case[0] != "a later record"]


@pytest.mark.parametrize(
    ("make", "said"), [(case[1], case[3]) for case in TOLD], ids=[case[0] for case in TOLD]
)
def test_the_command_line_says_so_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], object],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("wrong.db"))
    assert main(["trades", "sqlite:///wrong.db"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("quantkeep: ")
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def files(folder: Path) -> dict[str, bytes | None]:
    """What is in *folder*; the lock and the log's index hold nothing that is kept."""
    return {
        path.name: path.read_bytes() if path.is_file() else None
        for path in folder.iterdir()
        if not path.name.endswith(("-lock", "-shm"))
        and not (path.name.endswith("-wal") and not path.stat().st_size)
    }


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("no/such/bot.db", NotFound, "the folder .*no/such is not there: make it first"),
        ("text.csv/bot.db", InvalidUrl, "text.csv is a file, not a folder"),
        ("missing.db", NotFound, "missing.db is not there"),
        (":memory:", InvalidUrl, "use memory:// for a keep that is gone with the process"),
        ("a%00b.db", InvalidUrl, "expected a path"),
        ("", InvalidUrl, "expected a path"),
        ("x.db?busy_timeout=nan", InvalidUrl, "busy_timeout='nan': expected seconds"),
        ("x.db?synchronous=off", InvalidUrl, "expected full or normal or extra"),
        ("x.db?sinchronous=full", InvalidUrl, "unknown option 'sinchronous'; sqlite takes busy"),
    ],
)
def test_a_place_where_no_keep_can_be_makes_no_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    error: type[QuantkeepError],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    text_file(Path("text.csv"))
    with pytest.raises(error, match=said):
        quantkeep.open(f"sqlite:///{url}", create=False)
    assert os.listdir() == ["text.csv"]  # noqa: PTH208  # names alone


@pytest.mark.parametrize("name", ["q'uo\"te.db", "a b.db", "%3Fmode=ro.db", "é𝒳.db", "--help.db"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    with quantkeep.open(f"sqlite:///{tmp_path}/{name}") as keep:
        keep.tape.append(trade("first"))
    with quantkeep.open(f"sqlite:///{tmp_path}/{name}", create=False) as keep:
        assert uids(keep) == ["first"]
    assert len({path.name.partition(".db")[0] for path in tmp_path.iterdir()}) == 1


# -- files that cannot be written ----------------------------------------------------------------

AS_ANYBODY = """
import ctypes, os, struct, sys
import quantkeep
from quantkeep.tape import EquityPoint

if os.geteuid() == 0:  # a root without its powers is held to the modes of files like anybody
    header = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0))
    assert ctypes.CDLL(None).capset(header, ctypes.create_string_buffer(24)) == 0
try:
    with quantkeep.open(sys.argv[1], read_only=sys.argv[2] == "read") as keep:
        print("trades", len(keep.tape.trades(mode="paper")))
        keep.tape.append(EquityPoint(mode="paper", timestamp=keep.tape.trades()[0].timestamp,
                                     total_equity=1.0))
except quantkeep.QuantkeepError as error:
    print(type(error).__name__, error.applied, error)
"""


def as_anybody(path: Path, how: str) -> list[str]:
    command = [sys.executable, "-c", AS_ANYBODY, f"sqlite:///{path}", how]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.stderr == ""
    return ran.stdout.splitlines()


def test_a_read_only_file_can_be_read_and_says_that_it_cannot_be_written(path: Path) -> None:
    path.chmod(0o400)
    before = path.read_bytes()
    (said,) = as_anybody(path, "write")
    assert said.startswith("ReadOnly no")
    assert "is a read-only file: open it with read_only=True" in said
    read, refused = as_anybody(path, "read")
    assert read == "trades 1"
    assert refused.startswith("ReadOnly no this keep was opened with read_only=True")
    assert path.read_bytes() == before


def test_a_file_that_may_not_be_read_says_whose_right_is_missing(path: Path) -> None:
    path.chmod(0)
    (said,) = as_anybody(path, "write")
    assert said.split()[:2] in (["PermissionDenied", "no"], ["Unavailable", "no"])
    assert "bot.db" in said


def test_a_keep_of_another_schema_is_not_changed_to_be_read(path: Path) -> None:
    @quantkeep.record("notes", key=("name",))
    class Note(quantkeep.Record):
        name: str

    before = path.read_bytes()
    with pytest.raises(UpgradeNeeded, match=r"lacks notes .* open it once with migrate=True"):
        quantkeep.open(f"sqlite:///{path}", read_only=True, records=[Note])
    with pytest.raises(UpgradeNeeded, match="lacks notes"):
        quantkeep.open(f"sqlite:///{path}", migrate=False, records=[Note])
    assert path.read_bytes() == before


# -- others hold it, or the disk is full ---------------------------------------------------------


def test_a_locked_database_is_busy_and_then_it_is_not(path: Path) -> None:
    with (
        quantkeep.open(f"sqlite:///{path}?busy_timeout=0.05") as keep,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        for op_id in (None, "second"):
            with pytest.raises(Busy, match=r"was locked .* try again, or raise it") as caught:
                keep.tape.append(trade("second"), op_id=op_id)
            assert (caught.value.applied, caught.value.retryable) == ("no", True)
            assert caught.value.op_id == op_id
        assert uids(keep) == ["first"]
        other.execute("COMMIT")
        keep.tape.append(trade("second"), op_id="second")
        assert uids(keep) == ["first", "second"]


@pytest.fixture
def armed() -> Iterator[Callable[[str], None]]:
    yield failpoints.arm
    failpoints.arm("")


@pytest.mark.requirement("Z-18", api="quantkeep.failpoints")
@pytest.mark.parametrize("step", ["begin", "write", "written", "before_commit"])
def test_a_disk_that_is_full_at_any_step_leaves_nothing_half_written(
    path: Path, armed: Callable[[str], None], step: str
) -> None:
    with quantkeep.open(f"sqlite:///{path}") as keep:
        armed(f"sqlite.commit.{step}=ENOSPC")
        batch = keep.batch(op_id="step")
        keep.tape.append(trade("second"), trade("third"), batch=batch)
        keep.sessions.bot_state.save("balance", 100, batch=batch)
        with pytest.raises(StoreFull, match=r"bot\.db cannot grow: .*Make room and try") as caught:
            batch.commit()
        assert (caught.value.applied, caught.value.op_id) == ("no", "step")
        assert uids(keep) == ["first"]
        assert keep.sessions.bot_state.load("balance") is None
        assert keep.resolve("step") is None
        armed("")
        keep.tape.append(trade("second"))
        assert uids(keep) == ["first", "second"]


def test_a_disk_that_is_full_for_one_live_trade_keeps_it_out(
    path: Path, armed: Callable[[str], None]
) -> None:
    with quantkeep.open(f"sqlite:///{path}") as keep:
        armed("sqlite.*=ENOSPC")
        with pytest.raises(StoreFull, match="Make room"):
            keep.tape.append(trade("second"))
        assert uids(keep) == ["first"]


def test_a_keep_that_could_not_be_made_for_want_of_space_can_be_made_later(
    tmp_path: Path, armed: Callable[[str], None]
) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    for step in ("create.file", "create.begin", "create.before_commit", "ensure.before_commit"):
        armed(f"sqlite.{step}=ENOSPC")
        with pytest.raises(StoreFull, match="Make room"):
            quantkeep.open(url)
        armed("")
    with quantkeep.open(url) as keep:
        keep.tape.append(trade("first"))


@pytest.mark.requirement("Z-10", api="Keep.resolve")
def test_an_answer_that_was_lost_can_be_asked_for_again(
    path: Path, armed: Callable[[str], None]
) -> None:
    with quantkeep.open(f"sqlite:///{path}") as keep:
        armed("sqlite.commit.after_commit=EIO")
        with pytest.raises(OutcomeUnknown) as caught:
            keep.tape.append(trade("second"), op_id="fill-2")
        armed("")
        assert (caught.value.applied, caught.value.op_id) == ("unknown", "fill-2")
        found = keep.resolve("fill-2")
        assert found is not None
        assert found.added == 1
        assert keep.tape.append(trade("second"), op_id="fill-2").replayed
        assert uids(keep) == ["first", "second"]


# -- settings, and the level they reach ----------------------------------------------------------


def settings(url: str) -> tuple[dict[str, Any], Durability]:
    with quantkeep.open(url) as keep:
        (health,) = keep.health().values()
        return dict(health.facts), health.durability


@pytest.mark.requirement("CODEX-3", "Z-37", api="sqlite:///bot.db?synchronous=normal")
def test_what_is_acknowledged_is_synced_unless_less_is_asked_for(path: Path) -> None:
    facts, level = settings(f"sqlite:///{path}")
    assert (facts["journal"], facts["synchronous"], level) == ("wal", "full", Durability.DISK)
    facts, level = settings(f"sqlite:///{path}?synchronous=normal")
    assert (facts["journal"], facts["synchronous"], level) == ("wal", "normal", Durability.PROCESS)


@pytest.mark.requirement("CODEX-3", api="sqlite:///")
def test_every_connection_enforces_references(path: Path) -> None:
    with quantkeep.open(f"sqlite:///{path}") as keep:
        database = keep.backend.engine._database
        with database.turn() as writer, database.reading() as reader:
            for connection in (writer, reader):
                assert pragma(connection, "foreign_keys") == 1
                assert pragma(connection, "trusted_schema") == 0


@pytest.mark.requirement("Z-37", api="quantkeep.open(durability=...)")
def test_a_demanded_level_that_a_setting_does_not_reach_fails_at_open(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(DurabilityNotMet, match=r"'process' as it is set up; 'disk' was demanded"):
        quantkeep.open(f"sqlite:///{path}?synchronous=normal", durability="disk")
    with pytest.raises(DurabilityNotMet, match="'replicated' was demanded"):
        quantkeep.open(f"sqlite:///{path}", durability="replicated")
    assert path.read_bytes() == before
    quantkeep.open(f"sqlite:///{path}?synchronous=normal", durability="process").close()
    with quantkeep.open(f"sqlite:///{path}", durability=Durability.DISK) as keep:
        keep.tape.append(EquityPoint(mode="paper", timestamp=NOON, total_equity=1.0))


def test_a_copy_opens_as_the_original_does(path: Path) -> None:
    """The controls of the tests above: what they change is what they are refused for."""
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    with quantkeep.open(f"sqlite:///{copy}", read_only=True) as keep:
        assert uids(keep) == ["first"]
