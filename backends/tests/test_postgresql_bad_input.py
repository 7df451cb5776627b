"""What goes wrong with a server is said in words that help, without the password."""

import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import quantkeep
from quantkeep import Durability, Keep, Record, failpoints
from quantkeep.errors import (
    Busy,
    DurabilityNotMet,
    InvalidUrl,
    NotFound,
    PermissionDenied,
    QuantkeepError,
    ReadOnly,
    Unavailable,
    Unsupported,
)
from quantkeep.url import Url
from quantkeep_backends.postgresql import opening
from quantkeep_backends.postgresql.pool import OwnPool
from quantkeep_backends.postgresql.settings import Settings
from quantkeep_conformance import servers

CANARY = "s3cret-canary"


@quantkeep.record("marks", key=("name",))
class Mark(Record):
    name: str
    value: int = 0


def told(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error!r} {error}"
        error = error.__cause__ or error.__context__


def refused(url: str, expected: type[QuantkeepError], *words: str, **how: Any) -> None:
    with pytest.raises(expected) as caught:
        quantkeep.open({"tape": url}, records=[Mark], **how)
    assert type(caught.value) is expected
    for word in words:
        assert word in str(caught.value)
    assert CANARY not in " ".join(told(caught.value))
    assert caught.value.applied == "no"


def with_user(url: str, user: str, host: str = "", path: str = "") -> str:
    parts = Url.parse(url).parts
    where = host or f"{parts.hostname}:{parts.port}"
    return parts._replace(netloc=f"{user}@{where}", path=path or parts.path).geturl()


# -- getting in ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded_server() -> Iterator[servers.Server]:
    """A server that wants a password of everybody but ``postgres``."""
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "pg_hba.conf"
        rules.write_text("host all postgres all trust\nhost all all all scram-sha-256\n")
        Path(folder).chmod(0o755)
        rules.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        with servers.postgresql({"hba_file": str(rules)}) as server:
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute(f"CREATE ROLE bot LOGIN PASSWORD '{CANARY}'")
                connection.execute("GRANT CREATE ON DATABASE postgres TO bot")
            yield server


def test_wrong_password(guarded_server: servers.Server) -> None:
    url = with_user(guarded_server.url, f"bot:{CANARY}x")
    refused(url, PermissionDenied, "check user and password", "bot:***@")
    refused(with_user(guarded_server.url, "bot"), PermissionDenied, "put one in the URL")
    with quantkeep.open({"tape": with_user(guarded_server.url, f"bot:{CANARY}")}) as keep:
        assert CANARY not in f"{keep!r} {keep.backend.health()}"


def test_wrong_database(guarded_server: servers.Server) -> None:
    refused(
        with_user(guarded_server.url, f"bot:{CANARY}", path="/nothing"),
        NotFound,
        "createdb",
        'database "nothing" does not exist',
    )


def test_unknown_user(postgresql_url: str) -> None:
    refused(with_user(postgresql_url, f"nobody:{CANARY}"), PermissionDenied, "does not know this")


def test_no_such_host(postgresql_url: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    url = with_user(postgresql_url, f"bot:{CANARY}", f"127.0.0.1:{port}")
    refused(url, Unavailable, "check host and port")
    url = with_user(postgresql_url, f"bot:{CANARY}", "no-such-host.invalid")
    refused(url, Unavailable, "check host and port")


def test_a_server_that_was_away_leaves_the_pool_as_it_was() -> None:
    settings = Settings.of(Url.parse("postgresql://127.0.0.1:1/x?pool_size=1&pool_timeout=0"))
    pool = OwnPool(settings)
    for _ in range(3):
        with pytest.raises(psycopg.OperationalError):
            pool.take()
    assert pool._free.qsize() == 1


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("schema=pg_catalog", "name of a schema"),
        ("schema=", "name of a schema"),
        ("pool_size=0", "from 1 to 1000"),
        ("synchronous_commit=maybe", "expected one of off, local"),
        ("prepare=perhaps", "yes or no"),
        ("shcema=x", "unknown option 'shcema'"),
        ("sslmode=maybe", 'invalid sslmode value: "maybe"'),
        ("sslnegotiation=direct", "weak sslmode"),
        ("service=nowhere", 'definition of service "nowhere" not found'),
    ],
)
def test_options(postgresql_server: servers.Server, option: str, words: str) -> None:
    refused(f"{postgresql_server.url}?{option}", InvalidUrl, words)


def test_a_server_that_is_not_what_the_url_wants(postgresql_url: str) -> None:
    refused(f"{postgresql_url}&sslmode=require", Unavailable, "agree on TLS", "not support SSL")
    asked = f"{postgresql_url}&target_session_attrs=standby"
    refused(asked, Unavailable, "target_session_attrs asks for", "not in hot standby")


def test_a_socket_that_is_not_there() -> None:
    refused("postgresql:///x?host=/nowhere", Unavailable, 'socket "/nowhere/.s.PGSQL.5432" failed')


def test_a_stranger_with_a_table_of_our_name(
    postgresql: psycopg.Connection[Any], postgresql_url: str, postgresql_schema: str
) -> None:
    postgresql.execute(f'CREATE SCHEMA "{postgresql_schema}"')
    postgresql.execute(f'CREATE TABLE "{postgresql_schema}".quantkeep_meta (a integer)')
    refused(postgresql_url, InvalidUrl, "holds what another program made")


def test_another_driver_is_refused() -> None:
    refused("postgresql+psycopg2://localhost/x", InvalidUrl, "the driver is psycopg")


def test_an_old_server(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "OLDEST", 990_000)
    refused(postgresql_url, Unsupported, "is too old: 15 or newer is needed")


def test_an_encoding_that_is_not_unicode(
    postgresql_server: servers.Server, postgresql: psycopg.Connection[Any]
) -> None:
    postgresql.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        url = Url.parse(postgresql_server.url).parts._replace(path="/latin").geturl()
        refused(url, Unsupported, "encoding is LATIN1")
    finally:
        postgresql.execute("DROP DATABASE latin")


# -- rights ----------------------------------------------------------------------------------------


@pytest.fixture
def reader(
    postgresql: psycopg.Connection[Any], postgresql_url: str, postgresql_schema: str
) -> Iterator[str]:
    """The URL of a user who may read the schema, and nothing else."""
    with quantkeep.open({"tape": postgresql_url}, records=[Mark]) as keep:
        keep.commit(keep.table(Mark).put(Mark(name="m", value=1)), op_id="op")
    role = f"reader_{postgresql_schema[-8:]}"
    postgresql.execute(f"CREATE ROLE {role} LOGIN")
    postgresql.execute(f'GRANT USAGE ON SCHEMA "{postgresql_schema}" TO {role}')
    postgresql.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{postgresql_schema}" TO {role}')
    yield with_user(postgresql_url, role)
    postgresql.execute(f"DROP OWNED BY {role}")
    postgresql.execute(f"DROP ROLE {role}")


def test_a_read_only_user_reads_everything(reader: str) -> None:
    with quantkeep.open({"tape": reader}, records=[Mark], read_only=True) as keep:
        table = keep.table(Mark)
        assert table.get("m").value == 1
        assert [*table.scan()] == table.list()
        assert table.count() == 1
        assert keep.resolve("op").added == 1
        assert keep.backend.heads(Mark.collection)[0].revision == 1
        assert keep.backend.check() == []
        assert keep.backend.sizes()["marks"] == 1
        assert keep.backend.health().ok
        with pytest.raises(ReadOnly):
            keep.commit(table.put(Mark(name="n")))


def test_missing_rights(reader: str, postgresql_server: servers.Server) -> None:
    with quantkeep.open({"tape": reader}, records=[Mark]) as keep:
        for batch in ((Mark(name="n"),), (Mark(name="n"), Mark(name="o"))):
            with pytest.raises(PermissionDenied, match="GRANT"):
                keep.commit(*map(keep.table(Mark).put, batch))
        assert keep.table(Mark).count() == 1
    role = Url.parse(reader).parts.username
    refused(with_user(f"{postgresql_server.url}?schema=new", str(role)), PermissionDenied, "GRANT")


def test_a_refused_pipeline_is_told_once(
    reader: str,
    postgresql: psycopg.Connection[Any],
    postgresql_schema: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An answer that comes early is the error; the driver adds no complaint of its own."""
    role = Url.parse(reader).parts.username
    tables = f'ALL TABLES IN SCHEMA "{postgresql_schema}"'
    postgresql.execute(f"GRANT INSERT, UPDATE ON {tables} TO {role}")
    postgresql.execute(f'REVOKE INSERT ON "{postgresql_schema}".marks FROM {role}')
    with quantkeep.open({"tape": reader}, records=[Mark]) as keep:
        failpoints.arm("postgresql.commit.before_commit=pause:0.2")
        try:
            with pytest.raises(PermissionDenied, match="marks"):
                keep.commit(*(keep.table(Mark).put(Mark(name=f"{n}")) for n in range(3)))
        finally:
            failpoints.arm("")
    assert not [record.getMessage() for record in caplog.records if record.name == "psycopg"]


def test_compacting_needs_the_owner(reader: str) -> None:
    """The server itself passes over what it may not vacuum, and says that it is done."""
    with (
        quantkeep.open({"tape": reader}, records=[Mark]) as keep,
        pytest.raises(PermissionDenied, match="by its owner alone"),
    ):
        keep.backend.compact()


# -- busy, full, read-only -------------------------------------------------------------------------


@pytest.fixture
def keep(postgresql_url: str) -> Iterator[Keep]:
    url = f"{postgresql_url}&lock_timeout=0.2&pool_size=2&pool_timeout=0.2"
    with quantkeep.open({"tape": url}, records=[Mark]) as keep:
        keep.commit(keep.table(Mark).put(Mark(name="m")))
        yield keep


def test_a_lock_that_is_not_let_go(
    keep: Keep, postgresql: psycopg.Connection[Any], postgresql_schema: str
) -> None:
    with postgresql.transaction():
        postgresql.execute(f'SELECT FROM "{postgresql_schema}".quantkeep_streams FOR UPDATE')
        for batch in (["n"], ["n", "o"]):
            with pytest.raises(Busy, match="lock_timeout") as busy:
                keep.commit(*(keep.table(Mark).put(Mark(name=name)) for name in batch))
            assert busy.value.retryable
    keep.commit(keep.table(Mark).put(Mark(name="n")))


def test_statement_timeout(
    keep: Keep, postgresql: psycopg.Connection[Any], postgresql_schema: str
) -> None:
    pool = keep.backend.engine._database.pool  # type: ignore[attr-defined]
    link = pool.take()
    link.run("SET lock_timeout = 0")
    link.run("SET statement_timeout = '50ms'")
    pool.give(link)
    with postgresql.transaction():
        postgresql.execute(f'SELECT FROM "{postgresql_schema}".quantkeep_streams FOR UPDATE')
        with pytest.raises(Busy, match="statement_timeout"):
            keep.commit(keep.table(Mark).put(Mark(name="n")))


def test_an_exhausted_pool_says_so(keep: Keep) -> None:
    keep.commit(*(keep.table(Mark).put(Mark(name=f"{n}")) for n in range(5_000)))
    scans = [keep.table(Mark).scan() for _ in range(2)]
    for scan in scans:
        next(scan)
    with pytest.raises(Busy, match="all 2 connections of the pool") as busy:
        keep.table(Mark).get("m")
    assert busy.value.retryable
    scans.clear()
    del scan
    assert keep.table(Mark).get("m") is not None  # an abandoned scan gives its connection back


def test_a_server_that_accepts_no_writes(postgresql_url: str) -> None:
    quantkeep.open({"tape": postgresql_url}, records=[Mark]).close()
    with servers.postgresql({"default_transaction_read_only": "on"}) as server:
        refused(server.url, ReadOnly, "read_only=True")
    del server


@pytest.mark.requirement("Z-16")
def test_levels_are_observed(postgresql_url: str) -> None:
    for setting, level in (("off", "process"), ("local", "disk"), ("on", "disk")):
        url = f"{postgresql_url}&synchronous_commit={setting}"
        with quantkeep.open({"tape": url}) as keep:
            assert keep.backend.durability is Durability.named(level)
    refused(f"{postgresql_url}&synchronous_commit=off", DurabilityNotMet, durability="disk")
