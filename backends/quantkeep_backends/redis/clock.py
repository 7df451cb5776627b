"""The server's clock."""

import threading
import time
from typing import Final

from quantkeep_backends.redis.link import Link

_FRESH: Final = 0.05  # seconds for which an answer tells the time


class Clock:
    """The server's clock, without another question where the last answer told it.

    It is never ahead of the server's, and behind by no more than that answer took to come. Whatever
    else was asked since may have told of something later, so then it is asked.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._told, self._at, self._asked = 0, -_FRESH, -1

    def note(self, told: int) -> None:
        """The last answer was given at *told*, in microseconds."""
        with self._lock:
            self._told, self._at, self._asked = told, time.monotonic(), self._link.asked

    def now(self) -> int:
        """The time, in microseconds since 1970."""
        with self._lock:
            since = time.monotonic() - self._at
            if since < _FRESH and self._asked == self._link.asked:
                return self._told + int(since * 1_000_000)
        seconds, microseconds = self._link.ask("TIME")
        return int(seconds) * 1_000_000 + int(microseconds)
