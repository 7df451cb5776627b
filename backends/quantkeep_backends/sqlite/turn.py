"""Turns between writers, of threads and of processes.

SQLite before 3.51.3 can corrupt a database when a checkpoint meets a commit that starts the log
anew (the WAL-reset bug). So everything that commits or checkpoints through quantkeep first takes
this lock, whatever the version: then the two never meet, and writers wait without SQLite's polling.
"""

import fcntl
import os
import threading
import time

from quantkeep.errors import Busy, Closed, Unsupported

_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.01


class Turn:
    """One writer at a time, of all processes that open the same file.

    Args:
        path: of the lock file, which is made and never removed.
        timeout: seconds to wait for one's turn.
    """

    def __init__(self, path: str, timeout: float) -> None:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o600)
        self._thread = threading.RLock()
        self._timeout = timeout
        self._taken = False
        self._closed = False

    def take(self) -> None:
        """Wait for one's turn.

        Raises:
            Busy: others took too long.
            Closed: it came to an end.
            Unsupported: this thread has the turn already.
        """
        if not self._thread.acquire(blocking=False) and not self._thread.acquire(
            timeout=self._timeout
        ):
            raise _busy(self._timeout)
        try:
            if self._taken or self._closed:
                raise self._refusal()
            self._lock()
            self._taken = True
        except BaseException:
            self._thread.release()
            raise

    def _refusal(self) -> Exception:
        if self._closed:
            return Closed("this keep was closed; open it again")
        return Unsupported("a commit cannot be begun while another one is being made of it")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(time.monotonic() + self._timeout)

    def _wait(self, deadline: float) -> None:
        pause = _FIRST_PAUSE
        while time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
        raise _busy(self._timeout)

    def give(self) -> None:
        """End one's turn."""
        self._taken = False
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread.release()

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *error: object) -> None:
        self.give()

    def close(self) -> None:
        """Forget the lock file, when whoever has the turn has given it back."""
        with self._thread:
            if not self._closed:
                self._closed = True
                os.close(self._file)


def _busy(timeout: float) -> Busy:
    return Busy(
        f"other writers were busy for {timeout:g} seconds: try again, or allow more time "
        "(sqlite:///bot.db?busy_timeout=60)"
    )
