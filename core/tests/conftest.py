"""What tests of core share: programs in processes of their own, which begin in milliseconds."""

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess

import pytest

# By the process that programs are forked from. `__main__` is pytest, which each would import anew,
# and pandas, where it is installed, is imported by pyarrow itself.
IMPORTED = [
    "__main__",
    "pandas",
    "pyarrow.compute",
    "pyarrow.parquet",
    "quantkeep.backtests._incoming",
    "quantkeep.backtests.exchange",
    "quantkeep.knowledge",
    "quantkeep.merging",
    "quantkeep.predictions",
    "quantkeep.sessions",
    "quantkeep.tape",
    "quantkeep_backends.json._backend",
    "quantkeep_backends.sqlite.opening",
]
BEGIN = """import sys
from quantkeep import failpoints
failpoints.arm({armed!r})
sys.argv[1:] = {arguments!r}
"""


@pytest.fixture
def forked() -> Iterator[Callable[..., BaseProcess]]:
    """Starts a program, given as text, with arguments and failpoints; to be joined, or killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    started: list[BaseProcess] = []

    def start(program: str, *arguments: object, armed: str = "") -> BaseProcess:
        begin = BEGIN.format(armed=armed, arguments=[*map(str, arguments)])
        process = context.Process(target=exec, args=(begin + program, {"__name__": "__main__"}))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
        process.close()
