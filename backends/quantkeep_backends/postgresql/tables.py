"""Tables of collections as a DBA would make them: named constraints, foreign keys, comments."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from quantkeep.collection import Collection, Reference
from quantkeep.columns import Column, Kind
from quantkeep_backends._sql.engine import Expression
from quantkeep_backends._sql.names import column_name, index_name
from quantkeep_backends._sql.tables import Layout
from quantkeep_backends.postgresql.engine import PostgresqlEngine

_NULLS_ALIKE: Final[dict[str, Any]] = {"postgresql_nulls_not_distinct": True}


class PostgresqlLayout(Layout):
    """The table of one collection.

    Constraints and indexes are named after what they say, so that a change of the declaration is a
    change of names.
    """

    engine: PostgresqlEngine

    def __init__(
        self,
        collection: Collection,
        engine: PostgresqlEngine,
        peers: Mapping[str, Collection] | None = None,
        metadata: sa.MetaData | None = None,
    ) -> None:
        super().__init__(collection, engine, peers, metadata)
        self.table.comment = collection.doc.partition("\n\n")[0] or None

    # -- columns ---------------------------------------------------------------------------------

    def _column(self, column: Column) -> sa.Column[Any]:
        return sa.Column(
            column_name(column.name),
            self.engine.column_type(column),
            nullable=column.nullable,
            comment=column.doc or None,
        )

    @cached_property
    def checks(self) -> list[sa.CheckConstraint]:
        """What values the columns take, each under a name of its own."""
        found = [(column.name, self.engine.check(column)) for column in self.collection.columns]
        return [
            sa.CheckConstraint(check, name=index_name("ck", self.collection.name, (name, check)))
            for name, check in found
            if check
        ]

    # -- constraints -----------------------------------------------------------------------------

    def _constraints(self) -> Iterator[sa.Constraint]:
        """Those that a new table has from the beginning; the others are added to it."""
        collection = self.collection
        key = [name if name == "revision" else column_name(name) for name in collection.key_columns]
        if collection.log:
            key = [*map(column_name, collection.stream), "revision"]
        name = index_name("pk", collection.name, key)
        if self._is_plain([n for n in collection.key_columns if n in collection.places]):
            yield sa.PrimaryKeyConstraint(*key, name=name)
        else:
            yield sa.UniqueConstraint(*key, name=name, **_NULLS_ALIKE)

    def _is_plain(self, names: Sequence[str]) -> bool:
        return not any(self.collection.column(name).nullable for name in names)

    @cached_property
    def foreign_keys(self) -> list[sa.ForeignKeyConstraint]:
        """What its references say; judged when a transaction ends."""
        return [self._foreign_key(reference) for reference in self.collection.references]

    def _foreign_key(self, reference: Reference) -> sa.ForeignKeyConstraint:
        target = self.peers[reference.to]
        theirs = [*map(column_name, target.stream), "revision"]
        if not target.log:
            theirs = [*map(column_name, target.key)]
        ours = [column_name(name) for name in reference.columns]
        said = (*ours, reference.to, reference.on_delete)
        return sa.ForeignKeyConstraint(
            ours,
            [f"{self.engine.schema}.{target.name}.{name}" for name in theirs],
            name=index_name("fk", self.collection.name, said),
            ondelete="CASCADE" if reference.on_delete == "cascade" else None,
            deferrable=True,
            initially="DEFERRED",
            link_to_name=True,
        )

    # -- indexes ---------------------------------------------------------------------------------

    @cached_property
    def indexes(self) -> list[sa.Index]:
        collection = self.collection
        made = [self._unique(group) for group in collection.unique]
        if collection.identity:
            made.append(self._identity())
        for columns in self._queried():
            documents = [n for n in columns if self.described(n).kind is Kind.DOCUMENT]
            others = [name for name in columns if name not in documents]
            made += [self._elements(name) for name in documents]
            made += [self._index(others)] if others else []
        return [*{str(index.name): index for index in made}.values()]

    def _unique(self, group: Sequence[str]) -> sa.Index:
        name = index_name("uq", self.collection.name, self._said(group))
        return sa.Index(name, *map(self._compared, group), unique=True, **_NULLS_ALIKE)

    def _identity(self) -> sa.Index:
        """Unique where it is whole: an entry without identity always adds."""
        collection = self.collection
        columns = (*collection.stream, *collection.identity)
        whole = sa.and_(*(self.content(name).is_not(None) for name in collection.identity))
        name = index_name("uq", collection.name, ("identity", *self._said(columns)))
        return sa.Index(
            name,
            *map(self.content, columns),
            unique=True,
            postgresql_where=whole,
            **_NULLS_ALIKE,
        )

    def _index(self, columns: Sequence[str]) -> sa.Index:
        name = index_name("ix", self.collection.name, self._said_of(columns))
        return sa.Index(name, *map(self._in_order, columns))

    def _elements(self, name: str) -> sa.Index:
        """For what a list in a document has (``contains``)."""
        said = index_name("gin", self.collection.name, (name,))
        held = sa.cast(self.stored(name), JSONB).label("held")
        return sa.Index(
            said, held, postgresql_using="gin", postgresql_ops={"held": "jsonb_path_ops"}
        )

    def _in_order(self, name: str) -> Expression:
        stored = self.stored(name)
        return stored.nulls_first() if self.described(name).nullable else stored

    def _said_of(self, names: Sequence[str]) -> tuple[str, ...]:
        columns = map(self.described, names)
        return tuple(column.name + ("?" if column.nullable else "") for column in columns)
