"""A lock between processes that dies with its owner (flock), taken with patience."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from quantkeep.errors import Busy
from quantkeep_backends._files.durable import FILE_MODE, told


class FolderLock:
    """One writer at a time, of all handles; the threads of one handle need a lock of their own."""

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._descriptor = self._opened()

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with told(str(self._path)):
            return os.open(self._path, flags, FILE_MODE)

    @contextlib.contextmanager
    def held(self, patience: float | None = None) -> Iterator[None]:
        """Hold the lock.

        Raises:
            Busy: *patience* seconds have passed, or else those that the lock was made with.
        """
        patience = self._patience if patience is None else patience
        try:
            with told(str(self._path)):
                self._take(patience)
                while not self._in_place():  # the folder was replaced: others lock what is there
                    stale, self._descriptor = self._descriptor, self._opened()
                    os.close(stale)
                    self._take(patience)
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _take(self, patience: float) -> None:
        deadline, pause = time.monotonic() + patience, 0.0005
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(
                        f"{self._path.parent} was locked by another writer for "
                        f"{patience:g} s; nothing was written"
                    ) from None
                time.sleep(pause)
                pause = min(pause * 2, 0.004)  # longer, and busy writers are always first
            else:
                return

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let go of the lock file; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
