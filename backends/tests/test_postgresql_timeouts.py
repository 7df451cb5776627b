"""A server that is frozen is given up after a while; one that is at work is not."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs
import psycopg
import pytest

import quantkeep
from quantkeep import Keep, Record
from quantkeep.batch import Append
from quantkeep.collection import SealedRow
from quantkeep.errors import Busy, InvalidUrl, OutcomeUnknown, PermissionDenied, Unavailable
from quantkeep_backends.postgresql import transaction
from quantkeep_backends.postgresql.backend import PostgresqlBackend
from quantkeep_conformance import servers

PATIENCE = 0.3


@quantkeep.record("ticks", log=True, stream=("symbol",))
class Tick(Record):
    symbol: str = "BTC"
    number: int = 0


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    """One of our own, to be frozen."""
    with servers.postgresql() as server:
        assert server.process is not None
        yield server


@pytest.fixture
def keep(server: servers.Server, request: pytest.FixtureRequest) -> Iterator[Keep]:
    """A keep there, of a schema of its own."""
    schema = f"s{abs(hash(request.node.name))}"
    with quantkeep.open(f"{server.url}?schema={schema}", records=[Tick]) as keep:
        yield keep


@contextmanager
def impatient(keep: Keep) -> Iterator[None]:
    """Within it the server is not waited for: as with ?timeout=, which slow machines would meet."""
    database = keep.backend.engine._database  # type: ignore[attr-defined]
    patient = database.settings
    _set(database, attrs.evolve(patient, timeout=PATIENCE, connect_timeout=2))
    try:
        yield
    finally:
        _set(database, patient)


def _set(database: Any, settings: Any) -> None:
    database.settings = database.pool._settings = settings
    for link in database.pool._idle:
        link.patience.seconds = settings.timeout


@contextmanager
def frozen(server: servers.Server) -> Iterator[None]:
    """Within it the server does not answer; for a minute, after which whoever waits is told."""
    assert server.process is not None
    server.process.pause()
    timer = threading.Timer(60, server.process.resume)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        server.process.resume()


def append(keep: Keep, *ticks: Tick) -> None:
    keep.commit(keep.table(Tick).append(ticks))


def numbers(keep: Keep) -> list[int]:
    return [tick.number for tick in keep.table(Tick).scan()]


def eventually(keep: Keep) -> list[int]:
    """What is stored, once statements that were under way have ended."""
    append(keep, Tick(number=-1))
    return [number for number in numbers(keep) if number >= 0]


def test_read(server: servers.Server, keep: Keep) -> None:
    append(keep, Tick(number=1))
    began = time.monotonic()
    with frozen(server), impatient(keep), pytest.raises(Unavailable, match=r"\?timeout=") as told:
        numbers(keep)
    assert time.monotonic() - began >= PATIENCE
    assert told.value.retryable
    assert numbers(keep) == [1]


def test_single_append_is_unknown(server: servers.Server, keep: Keep) -> None:
    append(keep, Tick(number=0))
    with frozen(server), impatient(keep), pytest.raises(OutcomeUnknown):
        append(keep, Tick(number=1))
    assert eventually(keep) in ([0], [0, 1])


@pytest.mark.parametrize("count", [1, 3, 500])
def test_with_operation_id_is_there_once(server: servers.Server, keep: Keep, count: int) -> None:
    rows = [Tick(number=number) for number in range(count)]
    with (
        frozen(server),
        impatient(keep),
        pytest.raises((OutcomeUnknown, Unavailable)) as told,
    ):
        keep.commit(keep.table(Tick).append(rows), op_id="once")
    assert isinstance(told.value, OutcomeUnknown) == (count == 1)
    assert told.value.op_id == "once"
    keep.commit(keep.table(Tick).append(rows), op_id="once")
    assert eventually(keep) == [*range(count)]


def test_is_resolved_when_the_server_answers_again(
    server: servers.Server, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(keep, Tick(number=0))
    waiting, resolved = ExitStack(), PostgresqlBackend._resolved

    def resume(self: PostgresqlBackend, *unknown: Any) -> Any:
        waiting.close()
        return resolved(self, *unknown)

    monkeypatch.setattr(PostgresqlBackend, "_resolved", resume)
    with waiting:
        waiting.enter_context(frozen(server))
        waiting.enter_context(impatient(keep))
        receipt = keep.commit(keep.table(Tick).append([Tick(number=1)]), op_id="op")
    assert [*receipt.outcomes[0].revisions] == [2]
    assert numbers(keep) == [0, 1]


@pytest.fixture
def before_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Lets something happen once, when all of a transaction was sent but its COMMIT."""

    def before_commit(act: Callable[[], object]) -> None:
        def passing(name: str) -> None:
            if name == "postgresql.commit.before_commit":
                monkeypatch.undo()
                act()

        monkeypatch.setattr(transaction, "passing", passing)

    return before_commit


def test_commit_that_was_sent_is_unknown(
    server: servers.Server, keep: Keep, before_commit: Callable[[Callable[[], object]], None]
) -> None:
    writes = [keep.table(Tick).append([Tick(number=number)]) for number in range(2)]
    with ExitStack() as waiting:
        waiting.enter_context(impatient(keep))
        before_commit(lambda: waiting.enter_context(frozen(server)))
        with pytest.raises(OutcomeUnknown):
            keep.commit(*writes)
    assert eventually(keep) in ([], [0, 1])


def as_patient_as_it_takes(attempt: Callable[[float], None]) -> None:
    """*attempt* with more patience each time, since a slow machine may be silent for long."""
    for patience in (0.3, 1.0, 3.0):
        try:
            attempt(patience)
        except (Unavailable, Busy, OutcomeUnknown):
            continue
        return
    attempt(10.0)


def test_work_that_goes_on_is_not_cut_off(server: servers.Server) -> None:
    """A copy, and a scan, take three times what one wait may take."""

    def attempt(patience: float) -> None:
        url = f"{server.url}?schema=slow_{patience * 10:g}&timeout={patience}"
        with quantkeep.open(url, records=[Tick]) as keep:
            table = keep.table(Tick)

            def rows() -> Iterator[SealedRow]:
                for number in range(3000):
                    if number % 1000 == 999:
                        time.sleep(patience)
                    yield from table.sealed([Tick(number=number)])

            keep.commit(Append(table.collection, rows()))
            found = []
            for tick in table.scan():
                found.append(tick.number)
                if tick.number in (0, 1250, 2500):
                    time.sleep(patience)
            assert found == [*range(3000)]

    as_patient_as_it_takes(attempt)


def test_maintenance_may_take_long(server: servers.Server) -> None:
    """A vacuum is silent for longer than the timeout, since it naps after each page."""

    def attempt(patience: float) -> None:
        with quantkeep.open(f"{server.url}?schema=naps", records=[Tick]) as keep:
            append(keep, *(Tick(number=number) for number in range(6_000)))
        url = f"{server.url}?schema=naps&timeout={patience}"
        with napping(server, 10 * patience), quantkeep.open(url, records=[Tick]) as keep:
            began = time.monotonic()
            keep.backend.compact()
            assert time.monotonic() - began > 2 * patience
            with frozen(server), pytest.raises(Unavailable):  # and after it, all is as before
                numbers(keep)

    as_patient_as_it_takes(attempt)


@contextmanager
def napping(server: servers.Server, milliseconds: float) -> Iterator[None]:
    with psycopg.connect(server.url, autocommit=True) as admin:
        for setting in (f"vacuum_cost_delay = '{milliseconds}ms'", "vacuum_cost_limit = 1"):
            admin.execute(f"ALTER DATABASE postgres SET {setting}")
        try:
            yield
        finally:
            admin.execute("ALTER DATABASE postgres RESET ALL")


def test_connecting(server: servers.Server) -> None:
    with frozen(server), pytest.raises(Unavailable):
        quantkeep.open(f"{server.url}?timeout={PATIENCE}&connect_timeout=2")


def test_bad_lock_timeout(server: servers.Server) -> None:
    """Longer than the server is waited for, it would never be heard of."""
    with pytest.raises(InvalidUrl, match="expected less than nine tenths of timeout=10"):
        quantkeep.open(f"{server.url}?lock_timeout=20&timeout=10")
    quantkeep.open(f"{server.url}?timeout=10").close()  # which shortens the other


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan"])
def test_bad_timeout(server: servers.Server, text: str) -> None:
    with pytest.raises(InvalidUrl, match="timeout"):
        quantkeep.open(f"{server.url}?timeout={text}")


def test_refused_user_is_refused_once(server: servers.Server) -> None:
    """Who is not let in again is not let in by knocking."""
    assert server.process is not None
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("CREATE ROLE bot LOGIN SUPERUSER PASSWORD 'x'")
        target = admin.info
        url = f"postgresql://bot:x@{target.host}:{target.port}/{target.dbname}?schema=bots"
        with quantkeep.open(url, records=[Tick]) as keep:
            shut_out(admin, "bot")
            before = server.process.log.read_text().count("not permitted to log in")
            with pytest.raises(PermissionDenied) as told:
                append(keep, Tick(number=1))
            said = server.process.log.read_text().count("not permitted to log in")
    assert said - before == 1
    assert not told.value.retryable


def shut_out(admin: psycopg.Connection[Any], role: str) -> None:
    """End its connections; it gets no others."""
    admin.execute(f"ALTER ROLE {role} NOLOGIN")
    # Waits for the end of each, for a minute at most
    ended = admin.execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = %s", [role]
    )
    assert {*ended} == {(True,)}


def test_who_may_not_ask_does_not_know(
    server: servers.Server, before_commit: Callable[[Callable[[], object]], None]
) -> None:
    """The answer to a commit was lost, and then the door: it may have been applied all the same."""
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("CREATE ROLE trader LOGIN SUPERUSER")
        target = admin.info
        url = f"postgresql://trader@{target.host}:{target.port}/{target.dbname}?schema=traders"
        with quantkeep.open(url, records=[Tick]) as keep:
            writes = [keep.table(Tick).append([Tick(number=number)]) for number in range(2)]
            before_commit(lambda: shut_out(admin, "trader"))
            with pytest.raises(OutcomeUnknown) as told:
                keep.commit(*writes, op_id="op")
            assert told.value.op_id == "op"
            assert told.value.applied == "unknown"
            with pytest.raises(PermissionDenied):
                keep.resolve("op")
            admin.execute("ALTER ROLE trader LOGIN")
            receipt = keep.resolve("op")
            assert numbers(keep) == ([] if receipt is None else [0, 1])
