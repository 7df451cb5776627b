"""The folders of servers: what a killed run leaves is removed by the next, and nothing else is."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantkeep_conformance import servers
from quantkeep_conformance.servers import _folders
from quantkeep_conformance.servers._folders import scratch

LIVING = """
import os, sys
from quantkeep_conformance.servers import started
with started(sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def base(monkeypatch):
    """Where all folders of a test are; a demoted server may traverse to it."""
    for name in servers.STARTERS:
        monkeypatch.delenv(f"{servers.ENVIRONMENT}{name.upper()}_URL", raising=False)
    with scratch("folders") as base:
        base.chmod(0o755)
        monkeypatch.setenv(f"{servers.ENVIRONMENT}SCRATCH", str(base))
        yield base


def folders(base: Path) -> list[str]:
    """The names that were given to those that are there."""
    return sorted(each.name.split("-")[1] for each in base.iterdir() if each.is_dir())


@contextmanager
def living(name: str):
    """A process with a server of its own; killed at the end."""
    command = [sys.executable, "-c", LIVING, name]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def left_by_a_killed_process(base: Path, name: str) -> Path:
    """The folder that it had."""
    with living(name):
        pass
    (folder,) = base.glob("quantkeep-*")
    return folder


def use(base: Path) -> list[str]:
    """What is there beside a folder that somebody has."""
    with scratch("next"):
        found = folders(base)
    found.remove("next")
    return found


@pytest.mark.parametrize("name", servers.STARTERS)
def test_the_next_removes_what_a_killed_process_has_left(base, name):
    folder = left_by_a_killed_process(base, name)
    assert [*folder.iterdir()]
    assert use(base) == []
    assert folders(base) == []


def test_that_of_a_living_process_stays(base):
    with living("redis") as process:
        before = [*base.rglob("*")]
        assert use(base) == ["redis"]
        assert [*base.rglob("*")] == before
        process.communicate("end\n")
        assert folders(base) == []


def test_that_of_another_user_stays(base, monkeypatch):
    left_by_a_killed_process(base, "redis")
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 12_345)
        assert use(base) == ["redis"]
    assert use(base) == []


def test_a_folder_that_nobody_has_locked_is_none_of_ours(base):
    (base / "mine").touch()
    for name in ("strangers", "link"):
        (base / f"quantkeep-{name}-1").mkdir()
    (base / "quantkeep-link-1" / "held").symlink_to(base / "mine")
    assert use(base) == ["link", "strangers"]


def test_one_that_is_taken_for_left_before_it_is_locked_is_made_anew(base, monkeypatch):
    """Two runs begin at once, and one looks around between two steps of the other."""
    lock, raced = _folders.fcntl.flock, []

    def overtaken(file: int, how: int) -> None:
        if not raced:
            raced.append(file)
            _folders._remove_left(base)
        lock(file, how)

    monkeypatch.setattr(_folders.fcntl, "flock", overtaken)
    with scratch("raced") as folder:
        assert folder.is_dir()
        assert len(folders(base)) == 1


def test_shared_memory_of_postgresql_is_in_its_folder(base):
    """Elsewhere, it would be left behind by a server that was killed."""
    with servers.postgresql():
        assert [*base.glob("quantkeep-pg-*/data/pg_dynshmem/*")]
