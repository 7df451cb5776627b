"""A server process: started, paused, crashed, started again, and gone with whoever started it."""

import contextlib
import ctypes
import importlib.util
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from quantkeep import Durability
from quantkeep_conformance.servers._folders import ENVIRONMENT

_PR_SET_PDEATHSIG: Final = 1
_PORTS: Final = random.SystemRandom()  # no test's seed may lead two of them to one port

Settings = Mapping[str, str]


class ServerUnavailable(RuntimeError):
    """No such server can be found or started here; the message says what to install or set."""


def named_by_environment(server: str) -> str | None:
    """The URL of a server that the environment names."""
    return os.environ.get(f"{ENVIRONMENT}{server.upper()}_URL")


@attrs.define
class Process:
    """A server process that a test may kill and start again.

    Attributes:
        ending: the signal on which it ends at once, and in order.
    """

    command: Sequence[str | Path]
    log: Path
    ready: Callable[[subprocess.Popen[bytes]], bool]
    demote: Mapping[str, Any] = attrs.field(factory=dict)
    environment: Mapping[str, str] | None = None
    ending: int = signal.SIGTERM
    popen: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 30.0) -> None:
        """Start, and wait until connections are taken; raises :class:`ServerUnavailable`."""
        try:
            self.popen = self._launched()
        except OSError as error:
            raise ServerUnavailable(f"{self.command[0]} cannot be run: {error}") from error
        deadline = time.monotonic() + timeout
        while not self.ready(self.popen):
            if self.popen.poll() is not None or time.monotonic() > deadline:
                self.crash()
                raise ServerUnavailable(self.log.read_text(errors="replace")[-2000:])
            time.sleep(0.01)

    def _launched(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(part) for part in self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if self.environment is None else dict(self.environment),
                cwd="/",
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # calls prctl alone
                **self.demote,
            )

    def stop(self, how: int | None = None) -> None:
        """Send *how*, or what it ends on, and wait for the end; idempotent."""
        if self.popen is None or self.popen.poll() is not None:
            return
        self.resume()
        self.popen.send_signal(self.ending if how is None else how)
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.crash()

    def revive(self) -> None:
        """Make sure that it runs, and answers."""
        if self.popen is None or self.popen.poll() is not None:
            self.start()
        else:
            self.resume()

    def crash(self) -> None:
        """SIGKILL, for it and for the processes it has started, and wait for the end."""
        assert self.popen is not None
        family = _children(self.popen.pid)
        self._signal_all(signal.SIGKILL)
        self.popen.wait()
        deadline = time.monotonic() + 10
        while any(map(_is_alive, family)) and time.monotonic() < deadline:
            time.sleep(0.001)

    def pause(self) -> None:
        """Stop answering, without dying."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        """To the server first, so that it starts no more children meanwhile."""
        assert self.popen is not None
        self.popen.send_signal(number)
        for child in _children(self.popen.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _children(pid: int) -> list[int]:
    """The processes that *pid* has started (Linux; elsewhere none are known)."""
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [child for child in pids if _stat(child)[1:2] == [str(pid)]]


def _is_alive(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def _stat(pid: int) -> list[str]:
    """State and parent of a process, and more; nothing of one that is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _die_with_parent() -> None:
    """A killed test run leaves no server behind (Linux; elsewhere nothing happens)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@attrs.frozen
class Weakness:
    """Settings under which a server loses what it acknowledged.

    Attributes:
        settings: the server's.
        level: the most that a backend may claim there; ``None`` if it must refuse to open.
    """

    settings: Settings
    level: Durability | None = None


@attrs.frozen
class Server:
    """A running server.

    Attributes:
        url: where it answers.
        process: if it was started here.
        store: the URL of a keep there; the same as ``url`` where that names one.
        keeps: whether what it acknowledged is there when it is started again.
        weaknesses: settings that a backend must not take for durable.
    """

    url: str
    process: Process | None = None
    store: str = attrs.Factory(lambda self: self.url, takes_self=True)
    keeps: bool = True
    weaknesses: tuple[Weakness, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it was started here, so that a test may stop it."""
        return self.process is not None


def free_port() -> int:
    """A loopback port that nobody has, and nobody the one 10,000 above (a cluster's bus).

    Below those that systems give to outgoing connections, one of which could take it before the
    server does, or while the server is down to be started again.
    """
    while True:
        port = _PORTS.randrange(10_000, 22_000)
        if _is_free(port) and _is_free(port + 10_000):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def wheel(package: str) -> Path | None:
    """The folder of an installed *package*."""
    spec = importlib.util.find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))) if locations else None
