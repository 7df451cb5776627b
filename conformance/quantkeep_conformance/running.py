"""Running the kit from a program: pytest in this process, a report in hand."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import pytest

from quantkeep_conformance.nursery import Nursery
from quantkeep_conformance.places import Claims, Place
from quantkeep_conformance.recording import Recorder
from quantkeep_conformance.report import Report, Result
from quantkeep_conformance.scratch import Scratch
from quantkeep_conformance.serving import Serving, serving

# The settings of the folder it is called in, and plugins installed for other tests, must not
# decide whether a backend conforms.
_ALONE = {"PYTEST_ADDOPTS": None, "PYTEST_PLUGINS": None, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_WITHOUT = ("cacheprovider", "faulthandler", "unraisableexception", "threadexception")


class NothingSelected(Exception):
    """There was nothing to check."""


def run(
    url: str | None = None,
    *,
    server: str | None = None,
    settings: Sequence[str] = (),
    plugins: Sequence[str] = (),
    rounds: float = 1,
    seed: int | None = None,
    select: str | None = None,
    tell: Callable[[Result], None] | None = None,
    nursery: Nursery | None = None,
) -> Report:
    """Check the backend at *url*, in places of its own beside it.

    Args:
        url: of the backend; what is stored there is not touched.
        server: the name of one to start, whose URL takes the place of ``{url}``, or of no URL.
        settings: of that server, as ``NAME=VALUE``.
        plugins: quantkeep plugins to take along: names, or ``module:attribute``.
        rounds: how many times the usual effort.
        seed: what to draw from; the report says which it was.
        select: which clauses: an expression of their ids, as pytest's ``-k`` takes it.
        tell: called with each result as it is known.
        nursery: forks the children of clauses. One takes a second to begin: who runs this often
            gives the same one each time, and closes it.

    Raises:
        QuantkeepError: the backend cannot be opened, or gives no place to work in.
        ServerUnavailable: the server cannot be started.
        NothingSelected: *select* cannot be understood, or selects nothing.
        RuntimeError: the kit itself is broken.
    """
    recorder, said = Recorder(tell), io.StringIO()
    with serving(server, settings) as given:
        recorder.learn(_probed(given.store(url), plugins, given))
        arguments = [*_options(url, plugins, rounds, seed), *(["-k", select] if select else [])]
        with _alone(), redirect_stdout(said):
            code = pytest.main(
                arguments, plugins=[recorder, given, *([nursery] if nursery else [])]
            )
    return _judged(recorder.report, code, said.getvalue())


def _judged(report: Report, code: int, said: str) -> Report:
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    if code in (pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.USAGE_ERROR):
        raise NothingSelected(f"no clause was selected: {last}")
    if report.broken or code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"the kit could not run: {(report.broken or [last])[0]}")
    return report


def _probed(url: str, plugins: Sequence[str], given: Serving) -> Claims:
    """Open the backend once, so that what keeps it from opening is one error."""
    scratch = Scratch(url, plugins)
    try:
        return Place(scratch.place(), plugins, serving=given).claims
    finally:
        scratch.close()


def _options(url: str | None, plugins: Sequence[str], rounds: float, seed: int | None) -> list[str]:
    here = Path(__file__).parent
    options = ["-c", os.devnull, "--rootdir", str(here), "-q", "--tb=short", "--no-header"]
    options += [f"-pno:{name}" for name in _WITHOUT]
    options += ["-p", "quantkeep_conformance.plugin", "--pyargs", str(here / "test_kit.py")]
    options += ["--rounds", str(rounds), "--import-mode=importlib"]
    options += ["--store", url] if url else []
    options += [f"--conformance-plugin={name}" for name in plugins]
    return options if seed is None else [*options, "--conformance-seed", str(seed)]


@contextmanager
def _alone() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _ALONE}
    _set(_ALONE)
    try:
        yield
    finally:
        _set(before)


def _set(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
