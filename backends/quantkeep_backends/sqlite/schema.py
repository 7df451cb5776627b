"""Making room for collections: tables, columns and indexes, added to what is there."""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import attrs
import sqlalchemy as sa

from quantkeep import schema
from quantkeep.collection import Collection
from quantkeep.errors import Corrupt, InvalidRecord, InvalidReference
from quantkeep.failpoints import passing
from quantkeep_backends._sql.names import column_name
from quantkeep_backends._sql.tables import Layout
from quantkeep_backends.sqlite.connections import connect
from quantkeep_backends.sqlite.database import Database, undo
from quantkeep_backends.sqlite.engine import SqliteEngine
from quantkeep_backends.sqlite.system import APPLICATION_ID, LAYOUT, TABLES, ddl

_REMEMBER: Final = (
    "INSERT INTO quantkeep_meta (name, value) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_RECORD: Final = (
    "INSERT INTO quantkeep_migrations (applied_at, collection, change, statement) "
    "VALUES (?, ?, ?, ?)"
)

Peers = Mapping[str, Collection]


class _Made(NamedTuple):
    """The statements that make the table of a collection, and its indexes by their names."""

    table: str
    indexes: Mapping[str, str]


def initialise(database: Database) -> None:
    """Make a new file a keep's; nothing happens if another process has just done so."""

    def work(writer: sqlite3.Connection) -> None:
        if recalled(writer, "layout") is not None:
            return
        writer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for table in TABLES:
            writer.execute(ddl(table))
        for name, value in (("format", schema.FORMAT), ("layout", LAYOUT)):
            writer.execute(_REMEMBER, (name, str(value)))

    database.write("create", work)


def recalled(connection: sqlite3.Connection, name: str) -> str | None:
    """What the keep remembers under *name*; ``None`` too if the file is new."""
    known = "SELECT 1 FROM sqlite_master WHERE name = 'quantkeep_meta'"
    if connection.execute(known).fetchone() is None:
        return None
    row = connection.execute("SELECT value FROM quantkeep_meta WHERE name = ?", (name,)).fetchone()
    return row and str(row[0])


def described(connection: sqlite3.Connection, path: Path) -> str | None:
    """What the keep in *path* says of its collections, if it does."""
    stored = recalled(connection, "description")
    try:
        if stored is not None:
            schema.check(stored)
    except Corrupt as error:
        raise Corrupt(f"{path}: {error}", locator=str(path)) from None
    return stored


def ensure(
    database: Database, engine: SqliteEngine, ours: Sequence[Collection], description: str
) -> None:
    """Make room for *ours*, all or nothing; see :meth:`quantkeep.backend.Backend.ensure`."""
    with database.turn():
        # a connection of its own: foreign keys cannot be turned off inside a transaction
        connection = connect(database.path, "mode=rw", database.settings)
        try:
            connection.execute("PRAGMA foreign_keys = OFF")
            Migration(connection, engine, database.path).run(ours, description)
        finally:
            undo(connection)
            connection.close()


class Migration:
    """Brings the tables to what is declared now."""

    def __init__(self, connection: sqlite3.Connection, engine: SqliteEngine, path: Path) -> None:
        self._connection = connection
        self._engine = engine
        self._path = path
        self._now = time.time_ns() // 1000
        self._rebuilt: list[str] = []

    def run(self, ours: Sequence[Collection], description: str) -> None:
        """Bring them, in one transaction."""
        passing("sqlite.ensure.begin")
        self._connection.execute("BEGIN IMMEDIATE")
        stored = described(self._connection, self._path)
        if schema.is_described(stored, description):
            return
        theirs = schema.understand(stored) if stored else []
        wanted = schema.merge(ours, theirs)  # another program may have been faster
        self._bring({c.name: c for c in theirs}, {c.name: c for c in wanted})
        self._connection.execute(_REMEMBER, ("description", schema.describe(wanted)))
        passing("sqlite.ensure.before_commit")
        self._connection.execute("COMMIT")
        passing("sqlite.ensure.after_commit")

    def _bring(self, old: Peers, new: Peers) -> None:
        _check_names(new)
        made = _statements(tuple(new.values()))
        for collection in new.values():
            self._table(collection, made[collection.name].table, old, new)
        for collection in new.values():
            self._indexes(collection, made[collection.name].indexes)
            passing("sqlite.ensure.table")
        self._check_references()

    def _table(self, collection: Collection, made: str, old: Peers, new: Peers) -> None:
        before = old.get(collection.name)
        if before is None:
            self._apply(collection, "table made", made)
            return
        if before == collection:  # a tenth of a second each, with fifty of them
            return
        common = [c for c in collection.columns if c.name in before.places]
        same = attrs.evolve(collection, columns=tuple(common), **_restricted(collection, common))
        if self._shape(same, new) != self._shape(before, old):
            self._rebuild(collection, before, new)
        elif not self._is_referring(collection, before):
            self._add_columns(collection, before)
        else:
            self._rebuild(collection, before, new)

    def _is_referring(self, collection: Collection, before: Collection) -> bool:
        return {*collection.references} != {*before.references}

    def _shape(self, collection: Collection, peers: Peers) -> str:
        """What makes a table another one; the order of its columns does not."""
        ordered = tuple(sorted(collection.columns, key=lambda column: column.name))
        whole = attrs.evolve(collection, columns=ordered)
        others = {name: peer for name, peer in peers.items() if name != collection.name}
        return ddl(Layout(whole, self._engine, peers, _referred(whole, others)).table)

    def _add_columns(self, collection: Collection, before: Collection) -> None:
        layout, name = Layout(collection, self._engine), collection.name
        for column in collection.columns:
            if column.name not in before.places:
                made = sa.schema.CreateColumn(layout.content(column.name))
                text = str(made.compile(dialect=self._engine.dialect))
                change = f"column {column.name} added"
                self._apply(collection, change, f'ALTER TABLE "{name}" ADD COLUMN {text}')

    def _rebuild(self, collection: Collection, before: Collection, new: Peers) -> None:
        """As https://www.sqlite.org/lang_altertable.html#otheralter says it is done."""
        name, made = collection.name, f"quantkeep_new_{collection.name}"
        other = Layout(collection, self._engine, new, _referred(collection, new), made)
        stamps = [c.name for c in self._engine.stamps(collection) if c.computed is None]
        shared = [column_name(n) for n in collection.names if n in before.places] + stamps
        columns = ", ".join(f'"{n}"' for n in shared)
        self._apply(collection, "table rebuilt", ddl(other.table))
        self._connection.execute(f'INSERT INTO "{made}" ({columns}) SELECT {columns} FROM "{name}"')
        self._connection.execute(f'DROP TABLE "{name}"')
        self._connection.execute(f'ALTER TABLE "{made}" RENAME TO "{name}"')
        self._rebuilt.append(name)

    def _indexes(self, collection: Collection, wanted: Mapping[str, str]) -> None:
        there = {*self._index_names(collection.name)}
        for gone in there - wanted.keys():
            if gone.startswith("uq_"):  # a constraint that is not declared any more
                self._apply(collection, f"index {gone} dropped", f'DROP INDEX "{gone}"')
        for added in wanted.keys() - there:
            self._make_index(collection, added, wanted[added])

    def _index_names(self, table: str) -> Iterator[str]:
        wanted = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?"
        return (name for (name,) in self._connection.execute(wanted, (table,)))

    def _make_index(self, collection: Collection, name: str, statement: str) -> None:
        try:
            self._apply(collection, f"index {name} made", statement)
        except sqlite3.IntegrityError:
            raise InvalidRecord(
                f"{collection.name}: what is stored does not meet the new constraint {name}: "
                "some records have equal values there"
            ) from None

    def _apply(self, collection: Collection, change: str, statement: str) -> None:
        self._connection.execute(statement)
        values = (self._now, collection.name, change, statement)
        self._connection.execute(_RECORD, values)

    def _check_references(self) -> None:
        for name in self._rebuilt:
            check: Any = self._connection.execute(f'PRAGMA foreign_key_check("{name}")').fetchone()
            if check is not None:
                raise InvalidReference(
                    f"{name}: what is stored refers to {check[2]} that are not stored, so the new "
                    "reference cannot be declared"
                )


@lru_cache(maxsize=8)
def _statements(collections: tuple[Collection, ...]) -> Mapping[str, _Made]:
    """What makes *collections*, by name; kept, for a process may make many keeps of one kind."""
    engine, peers, metadata = SqliteEngine(), {c.name: c for c in collections}, sa.MetaData()
    layouts = [Layout(c, engine, peers, metadata) for c in collections]
    return {
        layout.collection.name: _Made(
            ddl(layout.table), {str(index.name): ddl(index) for index in layout.indexes}
        )
        for layout in layouts
    }


def _referred(collection: Collection, peers: Peers) -> sa.MetaData:
    """Of *peers*, the tables that foreign keys of *collection* have to find."""
    metadata, engine = sa.MetaData(), SqliteEngine()
    for name in {reference.to for reference in collection.references} & peers.keys():
        Layout(peers[name], engine, metadata=metadata)
    return metadata


def _restricted(collection: Collection, common: Sequence[Any]) -> dict[str, Any]:
    """The parts of a collection that speak of *common* columns only."""
    names = {column.name for column in common}
    return {
        "unique": tuple(g for g in collection.unique if names >= {*g}),
        "indexes": tuple(i for i in collection.indexes if names >= {*i.columns}),
        "references": tuple(r for r in collection.references if names >= {*r.columns}),
    }


def _check_names(collections: Peers) -> None:
    """SQLite does not tell names apart by their case, and keeps some for itself."""
    _check_distinct("collections", [*collections])
    for collection in collections.values():
        _check_distinct(f"columns of {collection.name}", collection.names)
        if collection.name.lower().startswith("sqlite_"):
            raise InvalidRecord(f"{collection.name}: SQLite keeps names with sqlite_ for itself")


def _check_distinct(what: str, names: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.lower(), name)
        if other != name:
            raise InvalidRecord(
                f"{what}: SQLite takes {other!r} and {name!r} for the same name; rename one"
            )
