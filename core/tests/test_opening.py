"""Opening: what names a keep, and what is said when it cannot be opened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import quantkeep
from quantkeep import Keep, Record, field, hookimpl, record
from quantkeep.backend import Backend
from quantkeep.errors import (
    Closed,
    DriverMissing,
    DurabilityNotMet,
    InvalidRecord,
    InvalidUrl,
    ReadOnly,
    UnknownBackend,
    Unsupported,
    UpgradeNeeded,
    UsedAfterFork,
)
from quantkeep.opening import store_classes


@record("notes", key=("name",))
class Note(Record):
    """Something to remember."""

    name: str
    text: str | None = None
    kind: str = field(default="plain", choices=("plain", "loud"), extensible=True)


@pytest.mark.requirement("CODEX-27", api="quantkeep.open")
def test_importing_is_quick_about_it_and_brings_no_driver() -> None:
    drivers = ["sqlalchemy", "sqlite3", "redis", "psycopg", "fsspec"]
    heavy = [*drivers, "pyarrow", "pandas", "numpy", "rich", "click"]
    code = f"import sys, quantkeep; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_scheme_names_what_is_installed() -> None:
    with pytest.raises(UnknownBackend, match=r"nope://; installed are .*memory"):
        quantkeep.open("nope://x")


class Unfinished(Backend):
    """As far as its author has come."""

    name = "memory"

    def description(self) -> str | None:
        return None


def test_an_unfinished_backend_is_told_what_it_lacks() -> None:
    class Plugin:
        @hookimpl(tryfirst=True)
        def quantkeep_open(self) -> Backend:
            return Unfinished()  # type: ignore[abstract]  # the point

    with pytest.raises(
        Unsupported, match=r"Unfinished is no whole .* lacks close, commit, .*sizes"
    ):
        quantkeep.open("memory://", plugins=[Plugin()])


def test_a_missing_driver_is_an_error_that_says_what_to_install(tmp_path: Path) -> None:
    package = tmp_path / "brittle-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: brittle\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[quantkeep.backends]\nbrittle = brittle_backend\n")
    (tmp_path / "brittle_backend.py").write_text("import a_driver_that_is_not_there\n")
    code = (
        "import quantkeep\n"
        "try: quantkeep.open('brittle://x')\n"
        "except quantkeep.QuantkeepError as error: print(type(error).__name__, error)\n"
        "quantkeep.open('memory://').close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(DriverMissing.__name__)
    assert "a_driver_that_is_not_there" in done.stdout
    assert "pip install 'quantkeep[brittle]'" in done.stdout


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("bot.db", "no URL"),
        ("memory://?shout=1", "unknown option 'shout'"),
        ({}, "names no URL"),
        ({"sesions": "memory://"}, "unknown key 'sesions'"),
        ({"tape": 5}, "must be a URL"),
        ("nowhere/quantkeep.toml", "does not exist"),
    ],
)
def test_what_names_no_keep_is_refused(target: object, said: str) -> None:
    with pytest.raises(InvalidUrl, match=said):
        quantkeep.open(target)


@pytest.mark.requirement("Z-14", api="quantkeep.open")
def test_a_store_that_was_left_out_says_what_to_configure() -> None:
    with (
        quantkeep.open({"tape": "memory://"}) as keep,
        pytest.raises(InvalidUrl, match='add `sessions = "sqlite'),
    ):
        _ = keep.sessions


def test_a_configuration_file_names_the_stores(tmp_path: Path) -> None:
    path = tmp_path / "quantkeep.toml"
    path.write_text('default = "memory://"\ntape = "memory://"\ndurability = "memory"\n')
    with quantkeep.open(path) as keep:
        assert set(keep.sizes()) >= {keep.tape.table(r).collection.name for r in keep.tape.records}
    path.write_text("default = [")
    with pytest.raises(InvalidUrl, match="cannot be read as TOML"):
        quantkeep.open(path)


def test_the_environment_names_the_keep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUANTKEEP_URL", raising=False)
    with pytest.raises(InvalidUrl, match="no keep is named"):
        quantkeep.open()
    monkeypatch.setenv("QUANTKEEP_URL", "memory://")
    quantkeep.open().close()


def test_a_demanded_level_that_is_not_reached_fails_at_open() -> None:
    with pytest.raises(DurabilityNotMet, match=r"'memory'.*'disk' was demanded"):
        quantkeep.open("memory://", durability="disk")
    with pytest.raises(InvalidUrl, match="one of memory, process"):
        quantkeep.open("memory://", durability="eternal")


def test_stores_on_two_backends_share_no_batch() -> None:
    two = {"default": "memory://", "tape": "memory://?"}
    with quantkeep.open(two, records=[Note]) as keep:
        assert len(keep.backends) == 2
        trades = keep.tape.table(keep.tape.records[0])
        note = keep.table(Note).put(Note(name="a"))
        with pytest.raises(Unsupported, match="cannot span two backends"):
            keep.commit(note, trades.append([]))


def test_one_url_for_several_stores_is_one_backend() -> None:
    with quantkeep.open({"default": "memory://", "tape": "memory://"}) as keep:
        assert len(keep.backends) == 1


class TestUse:
    @pytest.fixture
    def keep(self) -> Keep:
        return quantkeep.open("memory://", records=[Note])

    def test_after_closing_nothing_works(self, keep: Keep) -> None:
        keep.close()
        keep.close()
        with pytest.raises(Closed, match="open it again"):
            keep.table(Note).get("a")

    def test_in_a_forked_child_nothing_works(self, keep: Keep) -> None:
        keep.backend._pid += 1
        with pytest.raises(UsedAfterFork, match="open it again in the child"):
            keep.table(Note).get("a")

    def test_read_only_refuses_writes(self) -> None:
        with pytest.raises(UpgradeNeeded):
            quantkeep.open("memory://", read_only=True, records=[Note])

    def test_read_only_says_so(self, keep: Keep) -> None:
        keep.backend._read_only = True
        with pytest.raises(ReadOnly, match="read_only=True"):
            keep.commit(keep.table(Note).put(Note(name="a")))


@pytest.mark.requirement("Z-3", "X-5", api="quantkeep.open(choices=...)")
def test_extensible_choices_are_widened_for_one_keep() -> None:
    loud = Note(name="a", kind="shrill")
    with quantkeep.open("memory://", records=[Note], choices={"notes.kind": ["shrill"]}) as keep:
        keep.commit(keep.table(Note).put(loud))
        assert keep.table(Note).fetch("a") == loud
    with (
        quantkeep.open("memory://", records=[Note]) as keep,
        pytest.raises(quantkeep.InvalidValue, match="'plain', 'loud'"),
    ):
        keep.table(Note).put(loud)
    with pytest.raises(InvalidRecord, match="no collection 'nots'"):
        quantkeep.open("memory://", choices={"nots.kind": ["x"]})


def test_a_record_cannot_take_the_name_of_another() -> None:
    first = next(iter(store_classes().values())).records[0].collection.name

    @record(first, key=("a",))
    class Impostor(Record):
        """Not what it says."""

        a: str

    with pytest.raises(InvalidRecord, match="does not extend"):
        quantkeep.open("memory://", records=[Impostor])
