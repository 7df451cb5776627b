"""The lock of a folder: how long it is waited for, and that it is let go of."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantkeep.errors import Busy, Unavailable
from quantkeep_backends._files.lock import FolderLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def lock(path: Path) -> Iterator[FolderLock]:
    made = FolderLock(path, 0.2)
    yield made
    made.close()


@pytest.fixture
def other(path: Path) -> Iterator[FolderLock]:
    made = FolderLock(path, 0)
    yield made
    made.close()


def test_another_patience_is_for_once(lock, other):
    with other.held():
        for patience, said in ((0.01, "0.01"), (None, "0.2"), (0, "0"), (None, "0.2")):
            with pytest.raises(Busy, match=rf"by another writer for {said} s"), lock.held(patience):
                pass


def test_a_lock_that_cannot_be_looked_at_is_let_go_of(lock, other, monkeypatch):
    def lstat(path: Path) -> os.stat_result:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("quantkeep_backends._files.lock.os.lstat", lstat)
        with pytest.raises(Unavailable), lock.held():
            pass
    with other.held():
        pass
