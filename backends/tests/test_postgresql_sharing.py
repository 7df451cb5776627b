"""Keeps that share somebody's engine, and behave in it as guests."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

import quantkeep
from quantkeep import Record
from quantkeep.errors import Busy, InvalidUrl
from quantkeep.url import Url
from quantkeep_backends.postgresql import using
from quantkeep_conformance import servers


@quantkeep.record("marks", key=("name",))
class Mark(Record):
    name: str
    value: int = 0


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


def test_an_engine_of_another_driver() -> None:
    engine = sa.create_engine("sqlite://")
    with pytest.raises(InvalidUrl, match=r"postgresql\+psycopg"):
        quantkeep.open("postgresql://", plugins=[using(engine)])
