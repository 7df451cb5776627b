"""Servers that the tests of several backends share; each is started once, and ended afterwards."""

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest

from quantkeep import Keep
from quantkeep.url import Url
from quantkeep_backends.redis import chunks, packing, staging
from quantkeep_backends.redis.opening import discard
from quantkeep_conformance import servers
from quantkeep_conformance.scratch import Scratch


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.Server]:
    """The oldest Redis there is support for, with every write on disk."""
    with servers.redis("redis") as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[servers.Server]:
    """The newest Valkey, set up likewise."""
    with servers.redis("valkey") as server:
        yield server


@pytest.fixture(params=["redis_server", "valkey_server"])
def redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A keep's URL on each of the two."""
    server = request.getfixturevalue(request.param)
    made = f"{server.url}?name=tests_{uuid.uuid4().hex}"
    yield made
    discard(Url.parse(made))


@pytest.fixture
def hundred_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rows are a large append on Redis, of several chunks and lists of identities."""
    monkeypatch.setattr(packing, "RESERVED", 50)
    monkeypatch.setattr(staging, "_PIECE", 30)
    monkeypatch.setattr(chunks, "LEAST", 20)
    monkeypatch.setattr(chunks, "ROWS", 40)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[servers.Server]:
    """An object store."""
    with servers.s3() as server:
        yield server


@pytest.fixture
def s3_url(s3_server: servers.Server) -> str:
    """A prefix of its own there."""
    return s3_server.store.replace("/keep?", f"/{uuid.uuid4().hex}/keep?")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[servers.Server]:
    """A PostgreSQL server with the durability settings of production."""
    with servers.postgresql() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql_server: servers.Server) -> Iterator[str]:
    """A schema of its own there, that is not there yet."""
    scratch = Scratch(postgresql_server.url)
    try:
        yield scratch.place()
    finally:
        scratch.close()


@pytest.fixture
def postgresql_schema(postgresql_url: str) -> str:
    """The name of that schema."""
    return Url.parse(postgresql_url).options["schema"]


@pytest.fixture
def postgresql(postgresql_server: servers.Server) -> Iterator["psycopg.Connection[Any]"]:
    """A connection past quantkeep, each of whose statements commits itself."""
    with psycopg.connect(postgresql_server.url, autocommit=True) as connection:
        yield connection


class Program:
    """A process that a test has started, as ``subprocess.Popen`` gives one; see ``programs.py``."""

    def __init__(self, forks: socket.socket, program: str, *arguments: object) -> None:
        self._forks = forks
        ends = [os.pipe() for _ in range(3)]
        theirs = [ends[0][0], ends[1][1], ends[2][1]]
        told = json.dumps([program, *map(str, arguments)]).encode()
        socket.send_fds(forks, [told], theirs)
        for end in theirs:
            os.close(end)
        self.stdin = os.fdopen(ends[0][1], "w")
        self.stdout, self.stderr = os.fdopen(ends[1][0]), os.fdopen(ends[2][0])
        self._id = json.loads(forks.recv(100))
        self.returncode: int | None = None

    def communicate(self, said: str = "") -> tuple[str, str]:
        """What it says until it ends."""
        with suppress(BrokenPipeError), self.stdin:
            self.stdin.write(said)
            self.stdin.flush()
        with self.stdout, self.stderr:
            told = self.stdout.read(), self.stderr.read()
        self._forks.send(json.dumps(self._id).encode())
        self.returncode = json.loads(self._forks.recv(100))
        return told

    def ended(self) -> int | None:
        """Its exit code, negative for a signal; what it complained of is shown with a failure."""
        sys.stderr.write(self.communicate()[1])
        return self.returncode


@pytest.fixture(scope="session")
def forks() -> Iterator[socket.socket]:
    """The process that forks them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = [sys.executable, Path(__file__).with_name("programs.py"), f"{theirs.fileno()}"]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
            theirs.close()
            yield ours
            ours.close()
            assert process.wait() == 0


@pytest.fixture
def program(forks: socket.socket) -> Callable[..., Program]:
    """Starts a program, given its text and its arguments, with quantkeep imported already."""
    return lambda text, *arguments: Program(forks, text, *arguments)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Any]], Any]:
    """Waits for what must come, however slow the machine is; a minute and a half is never."""

    def wait_until(come: Callable[[], Any]) -> Any:
        until = time.monotonic() + 90
        while not (found := come()):
            assert time.monotonic() < until, "it did not come"
            time.sleep(0.002)
        return found

    return wait_until


@pytest.fixture
def impatient() -> Callable[[Keep, float], AbstractContextManager[None]]:
    """Lets a keep on Redis wait for so many seconds and no longer, while a test wants it to.

    With ``?timeout=`` in its URL it would be as impatient with a slow machine.
    """

    @contextmanager
    def impatient(keep: Keep, seconds: float) -> Iterator[None]:
        link = keep.backend.usable()._link  # type: ignore[attr-defined]
        patient = link.settings
        _set(link, attrs.evolve(patient, timeout=seconds))
        try:
            yield
        finally:
            _set(link, patient)

    return impatient


def _set(link: Any, settings: Any) -> None:
    """For all connections: those that were made wait as they were told then."""
    link.settings = settings
    for _, wire in link._idle:
        wire.socket_timeout = settings.timeout
        wire._parser._buffer.socket_timeout = settings.timeout
        wire._sock.settimeout(settings.timeout)


@pytest.fixture(params=["json", "sqlite", "parquet", "postgresql", "redis"])
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place in each engine that keeps what it has."""
    if request.param in ("json", "sqlite", "parquet"):
        yield f"{request.param}:///{tmp_path}/keep"
        return
    scratch = Scratch(request.getfixturevalue(f"{request.param}_server").url)
    yield scratch.place()
    scratch.close()
