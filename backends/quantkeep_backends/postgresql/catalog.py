"""What is in a schema, as PostgreSQL's own catalogue says it."""

from typing import Final

import attrs

from quantkeep_backends.postgresql.connections import Link

_RELATIONS: Final = (
    "SELECT c.relname, c.relkind::text, c.relispartition FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1"
)
_COLUMNS: Final = (
    "SELECT c.relname, a.attname, a.attnotnull FROM pg_attribute a "
    "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = $1 AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
)
_CONSTRAINTS: Final = (
    "SELECT c.relname, o.conname FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1"
)
_INDEXES: Final = "SELECT tablename, indexname FROM pg_indexes WHERE schemaname = $1"

_TABLES: Final = ("r", "p")


@attrs.frozen
class Catalog:
    """The tables of a schema.

    Attributes:
        relations: everything that has a name there, and what kind of thing it is.
        columns: whether each column of a table forbids nulls.
        constraints: names of constraints, with their tables.
        indexes: names of indexes, with their tables.
    """

    relations: dict[str, str]
    columns: dict[str, dict[str, bool]]
    constraints: frozenset[tuple[str, str]]
    indexes: frozenset[tuple[str, str]]

    @classmethod
    def read(cls, link: Link, schema: str) -> "Catalog":
        """What is in *schema* now."""
        asked = (schema,)
        with link.together():
            relations = link.queue(_RELATIONS, asked)
            columns = link.queue(_COLUMNS, asked)
            constraints = link.queue(_CONSTRAINTS, asked)
            indexes = link.queue(_INDEXES, asked)
        by_table: dict[str, dict[str, bool]] = {}
        for table, column, not_null in columns:
            by_table.setdefault(table, {})[column] = not_null
        return cls(
            {name: kind for name, kind, _ in relations},
            by_table,
            frozenset((table, name) for table, name in constraints),
            frozenset((table, name) for table, name in indexes),
        )

    def has_table(self, name: str) -> bool:
        """Whether there is a table of that name."""
        return self.relations.get(name) in _TABLES
