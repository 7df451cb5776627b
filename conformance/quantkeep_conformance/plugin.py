"""The pytest plugin: options, the fixtures that clauses take, and the report.

    pytest -p quantkeep_conformance.plugin --pyargs quantkeep_conformance --store URL

It is no ``pytest11`` entry point, for that would load it into every test run of its host.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from quantkeep import Keep, QuantkeepError
from quantkeep_conformance.clauses import Clause
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.nursery import Nursery
from quantkeep_conformance.places import Claims, Place
from quantkeep_conformance.recording import Recorder, evidence_of, mark, set_aside
from quantkeep_conformance.scratch import Scratch
from quantkeep_conformance.servers import ServerUnavailable
from quantkeep_conformance.serving import Serving, serving

# Before they are imported, or their failures would show no values.
pytest.register_assert_rewrite(
    "quantkeep_conformance.suites",
    "quantkeep_conformance.exactness",
    "quantkeep_conformance.campaigns",
)

_SCRATCH = pytest.StashKey[Scratch]()
_CLAIMS = pytest.StashKey[Claims]()
_RECORDER = pytest.StashKey[Recorder]()
_SERVING = pytest.StashKey[Serving]()
_ENDING = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("quantkeep", "conformance of a quantkeep backend")
    group.addoption("--store", metavar="URL", help="the backend; places are made beside this URL")
    group.addoption(
        "--server",
        metavar="NAME",
        help="start postgresql, redis, valkey, s3 or module:attribute, and check the backend there",
    )
    group.addoption(
        "--server-setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="added to the server's configuration",
    )
    group.addoption(
        "--rounds", type=float, default=1, metavar="N", help="how many times the usual effort"
    )
    group.addoption(
        "--conformance-plugin",
        action="append",
        default=[],
        metavar="NAME",
        help="a quantkeep plugin to take along: the name of an installed one, or module:attribute",
    )
    group.addoption(
        "--conformance-seed", type=int, metavar="N", help="draw as the run that printed this seed"
    )
    group.addoption("--conformance-json", type=Path, metavar="FILE", help="write the report here")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(number, ...): what a clause is derived from")
    recorder = next(filter(_is_recorder, config.pluginmanager.get_plugins()), None) or Recorder()
    seed = config.getoption("--conformance-seed")
    recorder.report.seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    recorder.report.rounds = config.getoption("--rounds")
    config.stash[_RECORDER] = recorder
    config.stash[_ENDING] = ExitStack()
    if not config.pluginmanager.is_registered(recorder):
        config.pluginmanager.register(recorder, "quantkeep-conformance-recorder")


def _is_recorder(plugin: object) -> bool:
    return isinstance(plugin, Recorder)


def pytest_report_header(config: pytest.Config) -> str:
    report = config.stash[_RECORDER].report
    return f"quantkeep conformance: seed {report.seed}, rounds {report.rounds}"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Open the store once, so that a wrong URL is one error and not one for each clause."""
    try:
        config = session.config
        config.stash[_SERVING] = given = _served(config)
        url = given.store(config.getoption("--store"))
        if url:
            _look_at(url, given, config)
    except (QuantkeepError, ImportError, ServerUnavailable) as error:
        pytest.exit(f"{type(error).__name__}: {error}", returncode=pytest.ExitCode.USAGE_ERROR)


def _served(config: pytest.Config) -> Serving:
    """The server that whoever runs this has started, or the one that was asked for."""
    plugins = config.pluginmanager.get_plugins()
    given = next((plugin for plugin in plugins if isinstance(plugin, Serving)), None)
    if given is not None:
        return given
    asked = config.getoption("--server"), config.getoption("--server-setting")
    return config.stash[_ENDING].enter_context(serving(*asked))


def _look_at(url: str, given: Serving, config: pytest.Config) -> None:
    scratch = Scratch(url, config.getoption("--conformance-plugin"))
    config.stash[_SCRATCH] = scratch
    config.stash[_ENDING].callback(scratch.close)
    place = Place(scratch.place(), scratch.plugins, serving=given)
    config.stash[_CLAIMS] = place.claims
    config.stash[_RECORDER].learn(place.claims)
    scratch.discard(place.url)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _ENDING in config.stash:
        config.stash[_ENDING].close()
    file = config.getoption("--conformance-json")
    if file is not None and config.stash[_RECORDER].report.results:
        file.write_text(config.stash[_RECORDER].report.to_json(), encoding="utf-8")


# -- clauses -------------------------------------------------------------------------------------


def pytest_itemcollected(item: pytest.Item) -> None:
    clause = _clause(item)
    if clause is not None:
        mark(item, clause)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Set aside a clause that is not claimed: it neither passes nor is it skipped."""
    clause = _clause(pyfuncitem)
    place = pyfuncitem.funcargs.get("place")
    if clause is None or not isinstance(place, Place):
        return None
    lacking = place.claims.lacks(clause.needs) if clause.needs else []
    if lacking:
        set_aside(pyfuncitem, lacking)
    return bool(lacking) or None


def _clause(item: pytest.Item) -> Clause | None:
    cls = getattr(item, "cls", None)
    return (
        Clause.of(cls, item.obj) if cls is not None and isinstance(item, pytest.Function) else None
    )


# -- fixtures ------------------------------------------------------------------------------------


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh, empty place; a suite for one backend overrides this."""
    scratch = request.config.stash.get(_SCRATCH, None)
    assert scratch is not None, "give --store URL, --server NAME, or a store_url fixture"
    url = scratch.place()
    yield url
    scratch.discard(url)


@pytest.fixture(scope="session")
def nursery(request: pytest.FixtureRequest) -> Iterator[Nursery]:
    """The process that forks the children of clauses, begun when it is first needed."""
    plugins = request.config.pluginmanager.get_plugins()
    given = next((plugin for plugin in plugins if isinstance(plugin, Nursery)), None)
    nursery = given or Nursery()
    yield nursery
    if given is None:  # otherwise it is of use to runs that follow
        nursery.close()


@pytest.fixture
def place(store_url: str, nursery: Nursery, request: pytest.FixtureRequest) -> Iterator[Place]:
    """The place of a clause; what is opened or started there is closed and ended after it."""
    stash, plugins = request.config.stash, request.config.getoption("--conformance-plugin")
    scratch, claims = stash.get(_SCRATCH, None), stash.get(_CLAIMS, None)
    given = Place(store_url, plugins, claims, nursery, scratch, stash[_SERVING])
    yield given
    given.close()


@pytest.fixture
def keep(place: Place) -> Keep:
    """A keep at the place, with the kit's records and the tape."""
    return place.open()


@pytest.fixture
def whole_keep(place: Place) -> Keep:
    """A keep at the place, with the kit's records and all stores."""
    return place.open_whole()


@pytest.fixture
def effort(request: pytest.FixtureRequest) -> Effort:
    """How much to try, and from which seed."""
    report = request.config.stash[_RECORDER].report
    return Effort(report.rounds, report.seed)


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> dict[str, object]:
    """Counts to be printed, and put into the report, with the clause."""
    return evidence_of(request.node)
