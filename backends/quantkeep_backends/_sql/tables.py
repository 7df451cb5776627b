"""Tables derived from collections: the one place that knows which columns and constraints."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from quantkeep.collection import Collection, Reference
from quantkeep.columns import Column, Kind
from quantkeep.errors import InvalidRecord
from quantkeep.query import column_of
from quantkeep_backends._sql.engine import Engine, Expression
from quantkeep_backends._sql.names import column_name, index_name


class Layout:
    """The table of one collection.

    Args:
        collection: whose records it holds.
        engine: what it is made for.
        peers: the other collections of the keep, by name; with them the table has foreign keys.
    """

    def __init__(
        self,
        collection: Collection,
        engine: Engine,
        peers: Mapping[str, Collection] | None = None,
        metadata: sa.MetaData | None = None,
        name: str | None = None,
    ) -> None:
        self.collection = collection
        self.engine = engine
        self.peers = peers or {}
        self.table = sa.Table(
            name or collection.name,
            metadata or sa.MetaData(),
            *self._columns(),
            *self._constraints(),
            **engine.table_options,
        )

    # -- columns ---------------------------------------------------------------------------------

    def _columns(self) -> Iterator[sa.Column[Any]]:
        stamps = self.engine.stamps(self.collection)
        if self.collection.log:  # its place comes first, as a reader expects of a key
            yield stamps[0]
            stamps = stamps[1:]
        yield from map(self._column, self.collection.columns)
        yield from stamps

    def _column(self, column: Column) -> sa.Column[Any]:
        check = self.engine.check(column)
        return sa.Column(
            column_name(column.name),
            self.engine.column_type(column),
            *([sa.CheckConstraint(sa.text(check.replace(":", r"\:")))] if check else []),
            nullable=column.nullable,
        )

    def content(self, name: str) -> sa.Column[Any]:
        """The column that holds the record's own column *name*."""
        return self.table.c[column_name(name)]

    def stored(self, name: str, table: sa.FromClause | None = None) -> Expression:
        """The column that a query means by *name*, the envelope's included, of *table*."""
        held = column_name(name) if name in self.collection.places else name
        if self.collection.log and held == "updated_at":
            held = "created_at"  # an entry of a log is never changed
        return (self.table if table is None else table).c[held]

    def described(self, name: str) -> Column:
        """What a query knows of the column *name*."""
        return column_of(self.collection, name)

    # -- constraints -----------------------------------------------------------------------------

    def _constraints(self) -> Iterator[sa.Constraint]:
        collection = self.collection
        if collection.key:
            names = [column_name(name) for name in collection.key]
            plain = self._is_plain(collection.key)
            yield sa.PrimaryKeyConstraint(*names) if plain else sa.UniqueConstraint(*names)
        for reference in collection.references if self.peers else ():
            yield self._foreign_key(reference)

    def _is_plain(self, names: Sequence[str]) -> bool:
        """Whether a plain unique constraint on these columns means what core means."""
        columns = map(self.collection.column, names)
        return not any(column.nullable or column.kind is Kind.REAL for column in columns)

    def _foreign_key(self, reference: Reference) -> sa.Constraint:
        if reference.to not in self.peers:
            raise InvalidRecord(
                f"{self.collection.name}.{reference.columns[0]} refers to {reference.to!r}, which "
                "is not in this keep: open it with records=[...] of both"
            )
        target = self.peers[reference.to]
        names = [
            n if n == "revision" and target.log else column_name(n) for n in target.key_columns
        ]
        return sa.ForeignKeyConstraint(
            [column_name(name) for name in reference.columns],
            [f"{target.name}.{name}" for name in names],
            ondelete="CASCADE" if reference.on_delete == "cascade" else None,
            deferrable=True,
            initially="DEFERRED",
        )

    # -- indexes ---------------------------------------------------------------------------------

    @cached_property
    def indexes(self) -> list[sa.Index]:
        """The indexes of the table, those that keep it unique included."""
        collection = self.collection
        made = [self._unique(group) for group in collection.unique]
        if collection.key and not self._is_plain(collection.key):
            made.append(self._unique(collection.key))
        if collection.identity:
            made.append(self._identity())
        if collection.log and self._is_referenced():
            made.append(self._place())
        made += [self._index(columns) for columns in self._queried()]
        return [*{str(index.name): index for index in made}.values()]

    def _unique(self, group: Sequence[str]) -> sa.Index:
        name = index_name("uq", self.collection.name, self._said(group))
        return sa.Index(name, *map(self._distinct, group), unique=True)

    def _identity(self) -> sa.Index:
        """Unique where it is whole: an entry without identity always adds."""
        collection = self.collection
        columns = (*collection.stream, *collection.identity)
        whole = sa.and_(*(self.content(name).is_not(None) for name in collection.identity))
        name = index_name("uq", collection.name, ("identity", *self._said(columns)))
        options: dict[str, Any] = {f"{self.engine.dialect.name}_where": whole}
        streams = map(self._distinct, collection.stream)
        identity = map(self._compared, collection.identity)
        return sa.Index(name, *streams, *identity, unique=True, **options)

    def _place(self) -> sa.Index:
        columns = [*map(self.content, self.collection.stream), self.table.c.revision]
        name = index_name("uq", self.collection.name, (*self.collection.stream, "revision"))
        return sa.Index(name, *columns, unique=True)

    def _index(self, columns: Sequence[str]) -> sa.Index:
        """What queries compare: of a real its rank; of a decimal its text, found when equal."""
        name = index_name("ix", self.collection.name, columns)
        return sa.Index(name, *(self._compared(column) for column in columns))

    def _compared(self, name: str) -> Expression:
        return self.engine.same(self.described(name), self.stored(name))

    def _distinct(self, name: str) -> Expression:
        return self.engine.distinct(self.collection.column(name), self.content(name))

    def _said(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names for a unique index: another nullability is another index."""
        columns = map(self.collection.column, names)
        return tuple(column.name + ("?" if column.nullable else "") for column in columns)

    def _queried(self) -> Iterator[tuple[str, ...]]:
        """Columns to index: as declared, and as the engine follows references backwards."""
        declared = [index.columns for index in self.collection.indexes]
        yield from declared
        known = [*declared, self.collection.key]
        for reference in self.collection.references if self.peers else ():
            width = len(reference.columns)
            if not any(columns[:width] == reference.columns for columns in known):
                yield reference.columns

    def _is_referenced(self) -> bool:
        names = (r.to for peer in self.peers.values() for r in peer.references)
        return self.collection.name in names
