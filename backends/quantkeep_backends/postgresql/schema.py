"""Making room for collections: tables, columns, constraints and indexes, added to what is there.

PostgreSQL's DDL is transactional, so an upgrade is there wholly or not at all; processes that want
one at the same time take turns by an advisory lock.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final

import psycopg

from quantkeep import schema
from quantkeep.collection import Collection
from quantkeep.errors import InvalidRecord, InvalidReference, QuantkeepError
from quantkeep.failpoints import passing
from quantkeep_backends.postgresql.catalog import Catalog
from quantkeep_backends.postgresql.changes import Change, changes, new_tables
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.database import Database
from quantkeep_backends.postgresql.engine import PostgresqlEngine, literal
from quantkeep_backends.postgresql.errors import sqlstate
from quantkeep_backends.postgresql.system import LAYOUT, META, MIGRATIONS

_NAME_BYTES: Final = 63
_SYSTEM: Final = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


def initialise(database: Database) -> None:
    """Make an empty or missing schema a keep's; nothing happens if it is one by now."""

    def work(link: Link) -> None:
        passing("postgresql.create.begin")
        _lock(link, database.engine)
        if Catalog.read(link, database.engine.schema).has_table(META):
            link.undo()
            return
        made = [f"CREATE SCHEMA {database.engine.quoted(database.engine.schema)}"]
        if _is_there(link, database.engine.schema):
            made = []
        script = [*made, *new_tables(database.engine)]
        script += [
            _remember(database.engine, name, str(value))
            for name, value in (("format", schema.FORMAT), ("layout", LAYOUT))
        ]
        link.script(";\n".join(script))
        passing("postgresql.create.before_commit")
        link.run("COMMIT")

    database.write(work)
    database.committed("create")


def ensure(database: Database, ours: Sequence[Collection], description: str) -> None:
    """Make room for *ours*, all or nothing; see :meth:`quantkeep.backend.Backend.ensure`."""
    database.step("ensure.begin")
    database.write(lambda link: _Migration(database, link).run(ours, description))
    database.committed("ensure")


class _Migration:
    """Brings the tables to what is declared now."""

    def __init__(self, database: Database, link: Link) -> None:
        self._database = database
        self._engine = database.engine
        self._link = link

    def run(self, ours: Sequence[Collection], description: str) -> None:
        """Bring them, in one transaction."""
        _lock(self._link, self._engine)
        stored = self._recalled()
        if schema.is_described(stored, description):
            return self._link.undo()
        theirs = schema.understand(stored) if stored else []
        wanted = schema.merge(ours, theirs)  # another program may have been faster
        _check_names(wanted)
        catalog = Catalog.read(self._link, self._engine.schema)
        todo = [*changes(wanted, self._engine, catalog)]
        self._apply(todo, schema.describe(wanted))
        passing("postgresql.ensure.before_commit")
        self._link.run("COMMIT")
        return None

    def _recalled(self) -> str | None:
        sql = f"SELECT value FROM {self._engine.table(META)} WHERE name = 'description'"
        found = self._link.run(sql).fetchone()
        return None if found is None else str(found[0])

    def _apply(self, todo: Sequence[Change], description: str) -> None:
        script = [change.statement for change in todo]
        script += [*_record(self._engine, todo)]
        script.append(_remember(self._engine, "description", description))
        try:
            with self._link.unhurried():
                self._link.script(";\n".join(script))
        except psycopg.Error as error:
            complaint = _complaint(error)
            if complaint is None:
                raise
            raise complaint from self._database.scrubbed(error)
        passing("postgresql.ensure.table")


def _complaint(error: psycopg.Error) -> QuantkeepError | None:
    """What is stored stands in the way of a new constraint."""
    table, constraint = error.diag.table_name, error.diag.constraint_name
    if sqlstate(error) in ("23505", "23514"):
        return InvalidRecord(
            f"{table}: what is stored does not meet the new constraint {constraint}: "
            "some records have equal values there, or values that are not allowed"
        )
    if sqlstate(error) == "23503":
        return InvalidReference(
            f"{table}: what is stored refers to what is not stored, so the new reference "
            f"{constraint} cannot be declared"
        )
    return None


def _lock(link: Link, engine: PostgresqlEngine) -> None:
    """Begin, and wait for other processes that create or upgrade this schema."""
    secret = blake2b(f"schema {engine.schema}".encode(), digest_size=8).digest()
    number = int.from_bytes(secret, signed=True)
    with link.together():
        link.begin()
        link.send("SELECT pg_advisory_xact_lock($1)", (str(number),))


def _is_there(link: Link, name: str) -> bool:
    return link.run("SELECT FROM pg_namespace WHERE nspname = $1", (name,)).fetchone() is not None


def _remember(engine: PostgresqlEngine, name: str, value: str) -> str:
    return (
        f"INSERT INTO {engine.table(META)} (name, value) VALUES ({literal(name)}, "
        f"{literal(value)}) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )


def _record(engine: PostgresqlEngine, todo: Sequence[Change]) -> Iterator[str]:
    if todo:
        rows = ", ".join(f"({literal(c.said)}, {literal(c.statement)})" for c in todo)
        yield (
            f"INSERT INTO {engine.table(MIGRATIONS)} (applied_at, change, statement) "
            f"SELECT clock_timestamp(), said, statement FROM (VALUES {rows}) AS v(said, statement)"
        )


def _check_names(collections: Sequence[Collection]) -> None:
    """PostgreSQL cuts long names without a word, and keeps some for itself."""
    for collection in collections:
        for name in (collection.name, *collection.names):
            if len(name.encode()) >= _NAME_BYTES:
                raise InvalidRecord(
                    f"{collection.name}: the name {name!r} is longer than the {_NAME_BYTES - 1} "
                    "bytes that PostgreSQL keeps of a name: shorten it"
                )
            if name in _SYSTEM:
                raise InvalidRecord(
                    f"{collection.name}: PostgreSQL keeps the name {name!r} for itself: rename it"
                )
