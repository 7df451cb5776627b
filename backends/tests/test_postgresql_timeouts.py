"""A server that is frozen is given up after a while; one that is at work is not."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

import quantkeep
from quantkeep import Keep, Record, failpoints
from quantkeep.batch import Append
from quantkeep.collection import SealedRow
from quantkeep.errors import (
    InvalidUrl,
    OutcomeUnknown,
    PermissionDenied,
    Unavailable,
)
from quantkeep_conformance import servers

PATIENCE = 0.5


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
    """A keep there, of a schema of its own, that is impatient."""
    schema = f"s{abs(hash(request.node.name))}"
    url = f"{server.url}?schema={schema}&timeout={PATIENCE}&connect_timeout=2"
    with quantkeep.open(url, records=[Tick]) as keep:
        yield keep


@contextmanager
def frozen(server: servers.Server, seconds: float = 60) -> Iterator[None]:
    """Within it the server does not answer, for so many seconds at most."""
    assert server.process is not None
    server.process.pause()
    timer = threading.Timer(seconds, server.process.resume)
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
    with frozen(server), pytest.raises(Unavailable, match=r"\?timeout=") as told:
        numbers(keep)
    assert PATIENCE <= time.monotonic() - began < 4 * PATIENCE
    assert told.value.retryable
    assert numbers(keep) == [1]


def test_single_append_is_unknown(server: servers.Server, keep: Keep) -> None:
    append(keep, Tick(number=0))
    began = time.monotonic()
    with frozen(server), pytest.raises(OutcomeUnknown):
        append(keep, Tick(number=1))
    assert time.monotonic() - began < 4 * PATIENCE
    assert eventually(keep) in ([0], [0, 1])


@pytest.mark.parametrize("count", [1, 3, 500])
def test_with_operation_id_is_there_once(server: servers.Server, keep: Keep, count: int) -> None:
    rows = [Tick(number=number) for number in range(count)]
    began = time.monotonic()
    with frozen(server), pytest.raises((OutcomeUnknown, Unavailable)) as told:
        keep.commit(keep.table(Tick).append(rows), op_id="once")
    assert time.monotonic() - began < 2 + 4 * PATIENCE
    assert isinstance(told.value, OutcomeUnknown) == (count == 1)
    assert told.value.op_id == "once"
    keep.commit(keep.table(Tick).append(rows), op_id="once")
    assert eventually(keep) == [*range(count)]


def test_is_resolved_when_the_server_answers_again(server: servers.Server, keep: Keep) -> None:
    append(keep, Tick(number=0))
    with frozen(server, PATIENCE * 1.5):
        receipt = keep.commit(keep.table(Tick).append([Tick(number=1)]), op_id="op")
    assert [*receipt.outcomes[0].revisions] == [2]
    assert numbers(keep) == [0, 1]


def test_commit_that_was_sent_is_unknown(server: servers.Server, keep: Keep) -> None:
    assert server.process is not None
    writes = [keep.table(Tick).append([Tick(number=number)]) for number in range(2)]
    failpoints.arm("postgresql.commit.before_commit=pause:0.8")
    timer = threading.Timer(0.4, server.process.pause)
    timer.start()
    try:
        with pytest.raises(OutcomeUnknown):
            keep.commit(*writes)
    finally:
        failpoints.arm("")
        timer.join()
        server.process.resume()
    assert eventually(keep) in ([], [0, 1])


def test_work_that_goes_on_is_not_cut_off(keep: Keep) -> None:
    table = keep.table(Tick)

    def rows() -> Iterator[SealedRow]:
        for number in range(3000):
            if number % 1000 == 999:
                time.sleep(PATIENCE)  # the copy takes three times what one wait may take
            yield from table.sealed([Tick(number=number)])

    keep.commit(Append(table.collection, rows()))
    found = []
    for tick in keep.table(Tick).scan():
        found.append(tick.number)
        if tick.number in (0, 2500):
            time.sleep(PATIENCE)
    assert found == [*range(3000)]


def test_maintenance_may_take_long(server: servers.Server) -> None:
    """A vacuum is silent for longer than the timeout, since it naps after each page."""
    url = f"{server.url}?schema=slow&timeout={PATIENCE}"
    with quantkeep.open(url, records=[Tick]) as keep:
        append(keep, *(Tick(number=number) for number in range(5_000)))
    with psycopg.connect(server.url, autocommit=True) as admin:
        for setting in ("vacuum_cost_delay = '20ms'", "vacuum_cost_limit = 1"):
            admin.execute(f"ALTER DATABASE postgres SET {setting}")
        try:
            with quantkeep.open(url, records=[Tick]) as keep:
                began = time.monotonic()
                keep.backend.compact()
                assert time.monotonic() - began > 2 * PATIENCE
                with frozen(server), pytest.raises(Unavailable):  # and after it, all is as before
                    numbers(keep)
        finally:
            admin.execute("ALTER DATABASE postgres RESET ALL")


def test_connecting(server: servers.Server) -> None:
    began = time.monotonic()
    with frozen(server), pytest.raises(Unavailable):
        quantkeep.open(f"{server.url}?timeout={PATIENCE}&connect_timeout=2")
    assert time.monotonic() - began < 4


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
            admin.execute("ALTER ROLE bot NOLOGIN")
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bot'"
            )
            time.sleep(0.2)
            before = server.process.log.read_text().count("not permitted to log in")
            with pytest.raises(PermissionDenied) as told:
                append(keep, Tick(number=1))
            time.sleep(0.1)
            said = server.process.log.read_text().count("not permitted to log in")
    assert said - before == 1
    assert not told.value.retryable


def test_who_may_not_ask_does_not_know(server: servers.Server) -> None:
    """The answer to a commit was lost, and then the door: it may have been applied all the same."""
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("CREATE ROLE trader LOGIN SUPERUSER")
        target = admin.info
        url = f"postgresql://trader@{target.host}:{target.port}/{target.dbname}?schema=traders"

        def shut_out() -> None:
            admin.execute("ALTER ROLE trader NOLOGIN")
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'trader'"
            )

        with quantkeep.open(url, records=[Tick]) as keep:
            writes = [keep.table(Tick).append([Tick(number=number)]) for number in range(2)]
            failpoints.arm("postgresql.commit.before_commit=pause:0.6")
            timer = threading.Timer(0.2, shut_out)
            timer.start()
            try:
                with pytest.raises(OutcomeUnknown) as told:
                    keep.commit(*writes, op_id="op")
            finally:
                failpoints.arm("")
                timer.join()
            assert told.value.op_id == "op"
            assert told.value.applied == "unknown"
            with pytest.raises(PermissionDenied):
                keep.resolve("op")
            admin.execute("ALTER ROLE trader LOGIN")
            receipt = keep.resolve("op")
            assert numbers(keep) == ([] if receipt is None else [0, 1])
