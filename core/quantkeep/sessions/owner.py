"""Who owns a session: a process, told apart from every other, and whether it is still there."""

import os
import socket
from functools import cache
from pathlib import Path
from typing import Final, Literal, Self

import attrs

_PROC: Final = Path("/proc")
_START_TIME: Final = 19  # field 22 of /proc/<pid>/stat, counted from behind the command's name
_ENDED_STATES: Final = frozenset("ZXx")
_ENDED: Final = "ended"  # equals no start time


@attrs.frozen(kw_only=True)
class Owner:
    """A process that may own sessions.

    Attributes:
        label: what it calls itself.
        host: the name of its machine.
        pid: its number there.
        process_start: tells it from a later process with that number; ``None`` if unknown.
        boot_id: the boot and the process namespace in which that number means something; ``None``
            if unknown, and then nobody can prove it dead.
    """

    label: str
    host: str
    pid: int
    process_start: str | None
    boot_id: str | None

    @classmethod
    def this_process(cls, label: str | None = None) -> Self:
        """The process that runs this, calling itself *label* (by default, host and number)."""
        host, pid = socket.gethostname(), os.getpid()
        return cls(
            label=f"{host}:{pid}" if label is None else label,
            host=host,
            pid=pid,
            process_start=_own_start(),
            boot_id=_boot_id(),
        )


Condition = Literal["alive", "dead", "unknown"]


def condition_of(
    host: str, pid: int | None, process_start: str | None, boot_id: str | None
) -> Condition:
    """Whether that process is provably there, or provably gone; on other machines, unknown."""
    if pid is None or process_start is None or boot_id is None:
        return "unknown"
    if host != socket.gethostname() or boot_id != _boot_id():
        return "unknown"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "dead"
    except OSError:
        pass  # it is there, and another user's
    start = _start_of(pid)
    if start is None:
        return "unknown"
    return "alive" if start == process_start else "dead"


@cache
def _boot_id() -> str | None:
    """Which boot of which kernel this is, and which namespace of process numbers.

    Two containers share a kernel but not their numbers: one does not see the other's processes,
    and must not take them for dead.
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return None


@cache
def _own_start() -> str | None:
    """When this process was started."""
    return _start_of(os.getpid())


# A child may be in another namespace, and is another process.
os.register_at_fork(after_in_child=_boot_id.cache_clear)
os.register_at_fork(after_in_child=_own_start.cache_clear)


def _start_of(pid: int) -> str | None:
    """When the process was started, in ticks since boot; ``None`` if that cannot be seen."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return _ENDED if fields[0] in _ENDED_STATES else fields[_START_TIME]
