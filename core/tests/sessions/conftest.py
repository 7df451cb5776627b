"""A keep on each store that core is tested on, and the engine of the scenarios."""

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import pytest

import quantkeep

PROGRAMS = Path(__file__).parent / "programs"
PERSISTENT = ("sqlite",)


def _url(scheme: str, folder: Path) -> str:
    return {
        "memory": "memory://",
        "sqlite": f"sqlite:///{folder}/bot.db",
        "json": f"json:///{folder}/bot",
    }[scheme]


@pytest.fixture(params=("memory", *PERSISTENT))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return _url(request.param, tmp_path)


@pytest.fixture(params=PERSISTENT)
def persistent_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return _url(request.param, tmp_path)


@pytest.fixture(scope="session")
def arbitrage() -> ModuleType:
    """The engine's program, as a module."""
    spec = importlib.util.spec_from_file_location("arbitrage", PROGRAMS / "arbitrage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def keep(url: str, arbitrage: ModuleType) -> Iterator[quantkeep.Keep]:
    with quantkeep.open(url, types=arbitrage.TYPES) as opened:
        yield opened


@pytest.fixture
def reopened(
    keep: quantkeep.Keep, url: str, arbitrage: ModuleType
) -> Iterator[Callable[[], quantkeep.Keep]]:
    """Opens the keep anew, as another process would; on ``memory://`` there is only the one."""
    with ExitStack() as stack:

        def reopen() -> quantkeep.Keep:
            if url == "memory://":
                return keep
            keep.close()
            return stack.enter_context(quantkeep.open(url, types=arbitrage.TYPES))

        yield reopen


@pytest.fixture
def program() -> Callable:
    """Runs one of the programs in a process of its own, gives its lines, and kills it (SIGKILL)."""

    @contextmanager
    def run(name: str, *arguments: object) -> Iterator[Iterator[str]]:
        command = [sys.executable, str(PROGRAMS / f"{name}.py"), *map(str, arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield (line.strip() for line in process.stdout)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()

    return run


@pytest.fixture
def killed(program: Callable) -> Callable:
    """Plays *script* in an engine of its own process, which is killed after its last save."""

    def play(url: str, how: str, name: str, script: list) -> str:
        with program("arbitrage", url, how, name, json.dumps(script)) as lines:
            session_id = next(lines).removeprefix("running ")
            for _ in script:
                assert next(lines).startswith("saved ")
        return session_id

    return play
