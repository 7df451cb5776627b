"""Named points on every write path at which a test can make the process die or an error appear.

Off unless ``QUANTKEEP_FAILPOINTS`` is set when the process starts (Z-18). Its value is a comma
separated list of ``name=action[@n]``: at the *n*-th passing (default 1) of the point, ``kill``
sends SIGKILL to the process, ``EIO``/``ENOSPC``/... raises that ``OSError``, and ``pause:SECONDS``
sleeps. A name may end in ``*``: ``sqlite.commit.*=kill@3`` counts the passings of all it matches.
"""

import errno
import os
import signal
import time
from collections.abc import Callable
from itertools import count

_ENVIRONMENT = "QUANTKEEP_FAILPOINTS"


class _Point:
    def __init__(self, pattern: str, action: str) -> None:
        self._prefix = pattern.removesuffix("*") if pattern.endswith("*") else None
        self._name = pattern
        action, _, nth = action.partition("@")
        self._nth = int(nth or 1)
        self._action = action
        self._passings = count(1)

    def __call__(self, name: str) -> None:
        matches = name == self._name if self._prefix is None else name.startswith(self._prefix)
        if matches and next(self._passings) == self._nth:
            self._strike(name)

    def _strike(self, name: str) -> None:
        if self._action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._action.startswith("pause:"):
            time.sleep(float(self._action.removeprefix("pause:")))
        else:
            code = getattr(errno, self._action)
            raise OSError(code, f"{os.strerror(code)} (failpoint {name})")


def parse(setting: str) -> tuple[Callable[[str], None], ...]:
    """The points that a setting arms; raises ``ValueError`` for one that cannot be understood."""
    return tuple(
        _Point(name.strip(), action.strip())
        for name, _, action in (part.partition("=") for part in setting.split(",") if part.strip())
    )


_ARMED = parse(os.environ.get(_ENVIRONMENT, ""))
_TRACE = os.environ.get("QUANTKEEP_FAILPOINTS_TRACE")


def arm(setting: str, *, trace: str | None = None) -> None:
    """Arm *setting* in this process from now on, and let *trace* be the file of what is passed.

    For tests whose processes are forked, and so have no environment of their own.
    """
    global _ARMED, _TRACE  # a failpoint is of the process, as its environment is
    _ARMED, _TRACE = parse(setting), trace


def passing(name: str) -> None:
    """Mark a step of a write path; does nothing unless a failpoint is armed."""
    if _ARMED:
        for point in _ARMED:
            point(name)
    if _TRACE:
        with open(_TRACE, "a", encoding="utf-8") as trace:
            trace.write(name + "\n")
