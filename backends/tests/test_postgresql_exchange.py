"""Statements sent together, on a real server: order, errors, volume, interruptions."""

import _thread
import math
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

import quantkeep
from quantkeep import Keep, Record
from quantkeep_backends.postgresql.bounded import Patience
from quantkeep_backends.postgresql.connections import Limits, Link
from quantkeep_backends.postgresql.exchange import Exchange
from quantkeep_conformance import servers


@quantkeep.record("marks", key=("name",))
class Mark(Record):
    name: str
    value: float = 0.0


@pytest.fixture(params=["prepared", "not prepared"])
def link(postgresql_server: servers.Server, request: pytest.FixtureRequest) -> Iterator[Link]:
    with psycopg.connect(postgresql_server.url, autocommit=True) as connection:
        exchange = Exchange(connection, prepare=request.param == "prepared")
        limits = Limits(known=True, locks=1000, statements=1000)
        yield Link(connection, Patience(connection, 30), limits, exchange)


def test_answers_come_in_order(link: Link) -> None:
    with link.together():
        answers = [link.queue("SELECT $1::bigint, $2::text", [str(n), "ä"]) for n in range(50)]
        link.send("SELECT 1", (), ())
    assert [answer.fetchall() for answer in answers] == [[(n, "ä")] for n in range(50)]
    assert answers[7].fetchone() == (7, "ä")
    assert link.run("SELECT").fetchall() == [()]
    assert link.run("SELECT 1 WHERE false").fetchone() is None
    link.run("CREATE TEMP TABLE t AS SELECT generate_series(1, 3)")
    assert link.run("DELETE FROM t").rowcount == 3


def test_what_is_given_comes_back(link: Link) -> None:
    odd = struct.unpack(">d", bytes.fromhex("7ff80000000000a1"))[0]
    asked = "SELECT $1::text, $2::bytea, $3::float8, $4::text, $5::float8"
    found = link.run(asked, ["", b"\0\xff", odd, None, repr(0.1)]).fetchone()
    assert found is not None
    assert found[:2] == ("", b"\0\xff")
    assert struct.pack(">d", found[2]) == struct.pack(">d", odd)
    assert math.isnan(found[2])
    assert found[3:] == (None, 0.1)
    with pytest.raises(psycopg.DataError, match="NUL"):
        link.run("SELECT $1::text", ["a\0b"])
    link.script("SELECT 1; SELECT 2")  # which a pipeline would not take
    assert link.run("SELECT $1::text", ["a"]).fetchone() == ("a",)


def test_the_first_error_is_told_and_nothing_after_it_is_done(link: Link) -> None:
    link.run("CREATE TEMP TABLE t (n integer)")
    with pytest.raises(psycopg.errors.DivisionByZero), link.together():
        link.send("INSERT INTO t VALUES (1)")
        link.send("SELECT 1 / $1::integer", ["0"])
        link.send("INSERT INTO t VALUES (2)")
        link.send("SELECT nothing")
    assert link.is_idle
    assert link.run("SELECT count(*) FROM t").fetchone() == (0,)  # they were one transaction
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable):
            link.run("SELECT * FROM later")
    link.run("CREATE TEMP TABLE later AS SELECT 1 AS n")
    assert link.run("SELECT * FROM later").fetchall() == [(1,)]


def test_an_error_of_ours_leaves_both_sides_in_step(link: Link) -> None:
    with pytest.raises(ZeroDivisionError), link.together():
        link.send("SELECT 1")
        link.send("SELECT nothing")
        raise ZeroDivisionError
    assert link.run("SELECT 2").fetchone() == (2,)


def test_much_at_once_in_both_directions(link: Link) -> None:
    """Neither side waits for the other to read first."""
    text = "x" * 100_000
    with link.together():
        answers = [link.queue("SELECT $1::text || $2::text", [text, f"{n}"]) for n in range(200)]
    assert all(a.fetchone() == (f"{text}{n}",) for n, a in enumerate(answers))


def test_statements_that_are_kept_are_limited(link: Link) -> None:
    for _ in range(2):
        for start in range(0, 1_100, 100):
            with link.together():
                asked = [link.queue(f"SELECT {n}") for n in range(start, start + 100)]
            assert [a.fetchone() for a in asked] == [(n,) for n in range(start, start + 100)]
    found = link.run("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert found is not None
    assert found[0] <= 1_000


def test_an_interrupted_wait_leaves_a_keep_that_works(
    postgresql_url: str,
    postgresql: psycopg.Connection[Any],
    wait_until: Callable[[Callable[[], bool]], bool],
) -> None:
    sleep = f"SELECT pg_sleep(60), '{os.urandom(8).hex()}'"

    def sleeps() -> bool:
        sql = "SELECT FROM pg_stat_activity WHERE query = %s AND state = 'active'"
        return postgresql.execute(sql, [sleep]).fetchone() is not None

    def interrupt() -> None:
        wait_until(sleeps)
        _thread.interrupt_main()

    with quantkeep.open({"tape": f"{postgresql_url}&pool_size=1"}, records=[Mark]) as keep:
        put(keep, "a")
        database = keep.backend.engine._database  # type: ignore[attr-defined]
        interrupter = threading.Thread(target=interrupt)
        began, before = time.monotonic(), signal.signal(signal.SIGINT, signal.default_int_handler)
        try:  # a shell lets what it runs in the background ignore the signal
            with pytest.raises(KeyboardInterrupt):
                interrupter.start()
                database.read(lambda link: link.run(sleep).fetchone())
        finally:
            signal.signal(signal.SIGINT, before)
        interrupter.join()
        assert time.monotonic() - began < 60, "it was not cut short"
        put(keep, "b")
        assert keep.table(Mark).count() == 2


def put(keep: Keep, name: str) -> None:
    keep.commit(keep.table(Mark).put(Mark(name=name)))
