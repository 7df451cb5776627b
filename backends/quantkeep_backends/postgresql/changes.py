"""The statements that bring a schema to what is declared now. None of them drops data."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from quantkeep.collection import Collection
from quantkeep.columns import Column, Kind
from quantkeep_backends._sql.names import column_name
from quantkeep_backends.postgresql import system
from quantkeep_backends.postgresql.catalog import Catalog
from quantkeep_backends.postgresql.engine import PostgresqlEngine, literal
from quantkeep_backends.postgresql.tables import PostgresqlLayout


class Change(NamedTuple):
    """One statement, and what it does in words."""

    said: str
    statement: str


def new_tables(engine: PostgresqlEngine) -> list[str]:
    """The statements that make the keep's own tables."""
    made = system.tables(engine.schema)
    comments = [text for table in made for text in _comments(table, engine)]
    return [*(_ddl(sa.schema.CreateTable(t)) for t in made), *comments, *system.extras(engine)]


def changes(
    wanted: Sequence[Collection], engine: PostgresqlEngine, there: Catalog
) -> Iterator[Change]:
    """What to do to what is *there*, in an order in which it can be done."""
    peers, metadata = {c.name: c for c in wanted}, sa.MetaData()
    layouts = [PostgresqlLayout(c, engine, peers, metadata) for c in wanted]
    for layout in layouts:
        if there.has_table(layout.collection.name):
            yield from _altered(layout, engine, there)
        else:
            yield from _made(layout, engine)
    for layout in layouts:
        yield from _constraints(layout, layout.foreign_keys, "fk_", engine, there)
        yield from _indexes(layout, engine, there)


# -- tables ---------------------------------------------------------------------------------------


def _made(layout: PostgresqlLayout, engine: PostgresqlEngine) -> Iterator[Change]:
    name = layout.collection.name
    for check in layout.checks:
        layout.table.append_constraint(check)
    yield Change(f"table {name} made", _ddl(sa.schema.CreateTable(layout.table)))
    for statement in (*_comments(layout.table, engine), *_storage(layout, engine)):
        yield Change(f"table {name} made", statement)


def _altered(
    layout: PostgresqlLayout, engine: PostgresqlEngine, there: Catalog
) -> Iterator[Change]:
    name = layout.collection.name
    table, columns = engine.table(name), there.columns[name]
    for column in layout.collection.columns:
        held = column_name(column.name)
        if held not in columns:
            yield from _added(layout, column, engine)
        elif columns[held] and column.nullable:
            loosened = f"ALTER TABLE {table} ALTER COLUMN {engine.quoted(held)} DROP NOT NULL"
            yield Change(f"column {name}.{held} may be null", loosened)
    yield from _constraints(layout, layout.checks, "ck_", engine, there)


def _added(layout: PostgresqlLayout, column: Column, engine: PostgresqlEngine) -> Iterator[Change]:
    name, made = layout.collection.name, layout.content(column.name)
    said, table = f"column {name}.{column.name} added", engine.table(name)
    yield Change(said, f"ALTER TABLE {table} ADD COLUMN {_ddl(sa.schema.CreateColumn(made))}")
    if made.comment:
        yield Change(said, _comment_on(f"{table}.{engine.quoted(made.name)}", made.comment))
    yield from (Change(said, text) for text in _storage(layout, engine, (column,)))


def _storage(
    layout: PostgresqlLayout, engine: PostgresqlEngine, columns: Iterable[Column] | None = None
) -> Iterator[str]:
    """Large values are not compressed: it takes five times as long as writing them."""
    table = engine.table(layout.collection.name)
    for column in columns or layout.collection.columns:
        if column.kind in (Kind.DOCUMENT, Kind.BINARY):
            name = engine.quoted(column_name(column.name))
            yield f"ALTER TABLE {table} ALTER COLUMN {name} SET STORAGE EXTERNAL"


def _comments(table: sa.Table, engine: PostgresqlEngine) -> Iterator[str]:
    name = engine.table(table.name)
    if table.comment:
        yield f"COMMENT ON TABLE {name} IS {literal(table.comment)}"
    for column in table.columns:
        if column.comment:
            yield _comment_on(f"{name}.{engine.quoted(column.name)}", column.comment)


def _comment_on(column: str, comment: str) -> str:
    return f"COMMENT ON COLUMN {column} IS {literal(comment)}"


# -- constraints and indexes ----------------------------------------------------------------------


def _constraints(
    layout: PostgresqlLayout,
    wanted: Sequence[sa.Constraint],
    prefix: str,
    engine: PostgresqlEngine,
    there: Catalog,
) -> Iterator[Change]:
    name = layout.collection.name
    table, known = engine.table(name), {n for t, n in there.constraints if t == name}
    gone = known - {str(constraint.name) for constraint in wanted}
    for old in sorted(found for found in gone if found.startswith(prefix)):
        dropped = f"ALTER TABLE {table} DROP CONSTRAINT {engine.quoted(old)}"
        yield Change(f"constraint {old} dropped", dropped)
    for constraint in wanted:
        if constraint.name not in known:
            layout.table.append_constraint(constraint)
            made = _ddl(sa.schema.AddConstraint(constraint))
            yield Change(f"constraint {constraint.name} made", made)


def _indexes(
    layout: PostgresqlLayout, engine: PostgresqlEngine, there: Catalog
) -> Iterator[Change]:
    known = {n for t, n in there.indexes if t == layout.collection.name}
    wanted = {str(index.name): index for index in layout.indexes}
    for gone in sorted(known - wanted.keys()):
        if gone.startswith("uq_"):  # a constraint that is not declared any more
            yield Change(f"index {gone} dropped", f"DROP INDEX {engine.table(gone)}")
    for name, index in wanted.items():
        if name not in known:
            yield Change(f"index {name} made", _ddl(sa.schema.CreateIndex(index)))


def _ddl(element: Any) -> str:
    return str(element.compile(dialect=PostgresqlEngine.dialect)).strip()
