"""Folders for the data of servers: each goes with its maker, or, if that was killed, soon after."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ENVIRONMENT: Final = "QUANTKEEP_TEST_"
_OURS: Final = "quantkeep-"  # begins the name of each
_HELD: Final = "held"  # locked for as long as the maker lives, however it ends


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder that another user may traverse to: pytest's ``tmp_path`` lies below a 0700 one.

    What makers that were killed have left beside it is removed.
    """
    base = _base()
    _remove_left(base)
    folder, lock = _made(f"{_OURS}{name}-", base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _base() -> Path:
    if given := os.environ.get(f"{ENVIRONMENT}SCRATCH"):
        return Path(given)
    for base in ("/dev/shm", "/tmp", "/var/tmp"):
        writable = Path(base).is_dir() and os.access(base, os.W_OK | os.X_OK)
        if writable and shutil.disk_usage(base).free > 512 << 20:
            return Path(base)
    return Path(tempfile.gettempdir())


def _made(prefix: str, base: Path) -> tuple[Path, int]:
    """A folder, and the lock on it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        lock = os.open(folder / _HELD, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / _HELD).exists():
            return folder, lock
        os.close(lock)  # somebody saw it before it was locked, and took it for one that was left


def _remove_left(base: Path) -> None:
    for folder in base.glob(f"{_OURS}*"):
        with contextlib.suppress(OSError):  # it is in use, of another user, or gone meanwhile
            _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    """Remove it if its maker was of this user, and is dead: a lock ends with its process."""
    lock = os.open(folder / _HELD, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
