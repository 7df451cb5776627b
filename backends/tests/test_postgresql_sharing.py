"""Keeps that share somebody's engine, and behave in it as guests."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import attrs
import psycopg
import pytest
import sqlalchemy as sa

import quantkeep
from quantkeep import Keep, Record
from quantkeep.errors import Busy, InvalidUrl, Unavailable
from quantkeep.url import Url
from quantkeep_backends.postgresql import using
from quantkeep_conformance import servers


@quantkeep.record("marks", key=("name",))
class Mark(Record):
    name: str
    value: int = 0


@quantkeep.record("notes", log=True, stream=("desk",))
class Note(Record):
    desk: str
    text: str


@pytest.fixture
def engine(postgresql_server: servers.Server) -> Iterator[sa.Engine]:
    parts = Url.parse(postgresql_server.url).parts
    url = parts._replace(scheme="postgresql+psycopg").geturl()
    made = sa.create_engine(url, pool_size=2, max_overflow=0, pool_timeout=0.2)
    yield made
    made.dispose()


def test_keeps_share_one_pool_and_leave_it_open(engine: sa.Engine, postgresql_schema: str) -> None:
    url = f"postgresql://?schema={postgresql_schema}"
    with (
        quantkeep.open({"tape": url}, records=[Mark], plugins=[using(engine)]) as one,
        quantkeep.open({"tape": url}, records=[Mark], plugins=[using(engine)]) as two,
    ):
        one.commit(one.table(Mark).put(Mark(name="m", value=1)))
        assert two.table(Mark).get("m").value == 1
        two.commit(*(two.table(Mark).put(Mark(name=f"{n}")) for n in range(100)))
        assert one.table(Mark).count() == 101
        assert engine.pool.status().count("Connections in pool: 1") == 1
    with engine.begin() as connection:  # still open, and as SQLAlchemy left it
        table = f'"{postgresql_schema}".marks'
        assert connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar() == 101
        connection.execute(sa.text("CREATE TEMP TABLE undone (a int)"))
        connection.rollback()
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT to_regclass('undone')")).scalar()
        assert found is None, "a connection came back in autocommit"


@pytest.mark.parametrize("many", [1, 100])
def test_its_connections_may_speak_another_encoding(
    postgresql_server: servers.Server, postgresql_schema: str, many: int
) -> None:
    parts = Url.parse(postgresql_server.url).parts
    url = parts._replace(scheme="postgresql+psycopg").geturl()
    made = sa.create_engine(url, connect_args={"client_encoding": "latin1"})
    place = {"tape": f"postgresql://?schema={postgresql_schema}"}
    with quantkeep.open(place, records=[Note, Mark], plugins=[using(made)]) as keep:
        for value in range(2):
            keep.commit(*(keep.table(Mark).put(Mark(name=f"ü{n}", value=value)) for n in range(20)))
        for n in range(3):
            notes = [Note(desk="stocks", text=f"Grüße {n} {m}") for m in range(many)]
            keep.commit(keep.table(Note).append(notes), op_id=f"Größe {n}")
    made.dispose()
    place = {"tape": f"{postgresql_server.url}?schema={postgresql_schema}"}
    with quantkeep.open(place, records=[Note, Mark]) as keep:
        assert keep.resolve("Größe 2") is not None
        assert keep.table(Mark).get("ü19").value == 1
        texts = [note.text for note in keep.table(Note).scan()]
    assert texts == [f"Grüße {n} {m}" for n in range(3) for m in range(many)]


def test_its_pool_runs_dry(engine: sa.Engine, postgresql_schema: str) -> None:
    url = f"postgresql://?schema={postgresql_schema}"
    with quantkeep.open({"tape": url}, records=[Mark], plugins=[using(engine)]) as keep:
        with engine.connect(), engine.connect(), pytest.raises(Busy, match="engine's pool"):
            keep.table(Mark).get("m")
        assert keep.table(Mark).get("m") is None


@pytest.mark.parametrize("prepare", ["yes", "no"])
def test_behind_a_pooler_nothing_is_prepared(postgresql_url: str, prepare: str) -> None:
    with quantkeep.open({"tape": f"{postgresql_url}&prepare={prepare}"}, records=[Mark]) as keep:
        for n in range(20):
            keep.commit(keep.table(Mark).put(Mark(name=f"{n}")))
        keep.commit(*(keep.table(Mark).put(Mark(name=f"{n}", value=1)) for n in range(40)))
        assert sum(mark.value for mark in keep.table(Mark).scan()) == 40
        pool = keep.backend.engine._database.pool  # type: ignore[attr-defined]
        link = pool.take()
        (count,) = link.run("SELECT count(*) FROM pg_prepared_statements").fetchone()
        pool.give(link)
        assert (count > 0) == (prepare == "yes")


def locks(engine: sa.Engine) -> list[str]:
    """What the connections of *engine* are set to."""
    with engine.connect() as connection:
        names = ("lock_timeout", "statement_timeout")
        return [str(connection.execute(sa.text(f"SHOW {name}")).scalar()) for name in names]


def test_its_connections_wait_for_other_writers_as_the_url_says(
    engine: sa.Engine, postgresql: psycopg.Connection[Any], postgresql_schema: str
) -> None:
    before = locks(engine)
    url = f"postgresql://?schema={postgresql_schema}&lock_timeout=0.2"
    with quantkeep.open({"tape": url}, records=[Mark], plugins=[using(engine)]) as keep:
        table = keep.table(Mark)
        keep.commit(table.put(Mark(name="m")))
        with postgresql.transaction():
            postgresql.execute(f'SELECT FROM "{postgresql_schema}".quantkeep_streams FOR UPDATE')
            for names in (["n"], ["n", "o"]):
                with pytest.raises(Busy, match="lock_timeout"):
                    keep.commit(*(table.put(Mark(name=name)) for name in names))
        keep.commit(table.put(Mark(name="n")))
        assert table.count() == 2
    assert locks(engine) == before, "a guest left its settings behind"


def test_somebody_drops_prepared_statements(engine: sa.Engine, postgresql_schema: str) -> None:
    url = f"postgresql://?schema={postgresql_schema}"
    with quantkeep.open({"tape": url}, records=[Mark], plugins=[using(engine)]) as keep:
        table = keep.table(Mark)
        for n, work in enumerate(
            (lambda: table.get("m0"), lambda: keep.commit(table.put(Mark(name="x"))))
        ):
            keep.commit(table.put(Mark(name=f"m{n}")))
            table.get("m0")
            with engine.connect() as connection:
                connection.execute(sa.text("DEALLOCATE ALL"))
            work()
        keep.commit(*(table.put(Mark(name=f"{n}")) for n in range(3)))
        assert table.count() == 6


def answered(keep: Keep) -> bool:
    with suppress(Unavailable):
        return keep.table(Mark).get("m") is not None
    return False


def test_a_frozen_server_is_given_up(
    postgresql_schema: str, wait_until: Callable[[Callable[[], bool]], bool]
) -> None:
    with servers.postgresql() as server:
        assert server.process is not None
        engine = sa.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
        url = f"postgresql://?schema={postgresql_schema}"
        with quantkeep.open({"tape": url}, records=[Mark], plugins=[using(engine)]) as keep:
            keep.commit(keep.table(Mark).put(Mark(name="m")))
            pool = keep.backend.engine._database.pool  # type: ignore[attr-defined]
            patient = pool._settings
            server.process.pause()
            timer = threading.Timer(60, server.process.resume)
            timer.start()
            try:
                pool._settings = attrs.evolve(patient, timeout=0.5)  # not for a slow machine
                with pytest.raises(Unavailable, match=r"did not answer for 0\.5 seconds"):
                    keep.table(Mark).get("m")
            finally:
                timer.cancel()
                server.process.resume()
            wait_until(lambda: answered(keep))
            pool._settings = patient
        with engine.connect() as connection:  # whose owner waits as long as he likes
            connection.execute(sa.text("SELECT pg_sleep(0.8)"))
        engine.dispose()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://?pool_size=3", "pool_size is the affair of the engine"),
        ("postgresql://?synchronous_commit=off", "synchronous_commit is the affair"),
        ("postgresql://db.example.com/trading", "the server is the affair of the engine"),
    ],
)
def test_what_an_engine_settles_is_not_said_again(engine: sa.Engine, url: str, words: str) -> None:
    with pytest.raises(InvalidUrl, match=words):
        quantkeep.open({"tape": url}, plugins=[using(engine)])


def test_a_pooler_hands_no_settings_on(postgresql_url: str) -> None:
    with pytest.raises(InvalidUrl, match="ALTER ROLE"):
        quantkeep.open({"tape": f"{postgresql_url}&prepare=no&synchronous_commit=off"})


def test_an_engine_of_another_driver() -> None:
    engine = sa.create_engine("sqlite://")
    with pytest.raises(InvalidUrl, match=r"postgresql\+psycopg"):
        quantkeep.open("postgresql://", plugins=[using(engine)])
