"""The statements of one collection, each written when it is first needed."""

import json
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from quantkeep.collection import Collection, Key, Reference, StoredRow
from quantkeep.columns import Kind, Row, Scalar
from quantkeep_backends._sql.names import column_name
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.engine import PostgresqlEngine, parameter
from quantkeep_backends.postgresql.rows import Codec, microseconds_sql
from quantkeep_backends.postgresql.tables import PostgresqlLayout

T = TypeVar("T")

_STATEMENTS: Final = 512  # of queries, that are kept for each collection
_LOG_STAMPS: Final = ("revision", "created_at", "schema_version", "digest", "seal")
_KEYED_STAMPS: Final = (
    "revision", "created_at", "updated_at", "schema_version", "digest", "seal",
)  # fmt: skip


class Prepared:
    """What the backend needs to know of a collection to read and write it fast."""

    def __init__(self, collection: Collection, engine: PostgresqlEngine) -> None:
        self.collection = collection
        self.engine = engine
        self.layout = PostgresqlLayout(collection, engine)
        self.codec = Codec(collection)
        self.table = engine.table(collection.name)
        self._asked: dict[Any, Any] = {}

    def once(self, asked: Hashable, make: Callable[[], T]) -> T:
        """What *make* made when the same was *asked* before; of those, not too many are kept."""
        found: T | None = self._asked.get(asked)
        if found is None:
            if len(self._asked) >= _STATEMENTS:
                self._asked.clear()
            found = self._asked[asked] = make()
        return found

    # -- columns ---------------------------------------------------------------------------------

    @cached_property
    def columns(self) -> list[sa.Column[Any]]:
        """What is written and read of a row, in the order of its codec."""
        return [self.layout.table.c[name] for name in self._names]

    @cached_property
    def _names(self) -> list[str]:
        return [*map(column_name, self.collection.names), *self.stamps]

    @property
    def stamps(self) -> tuple[str, ...]:
        """The store's own columns, which come last."""
        return _LOG_STAMPS if self.collection.log else _KEYED_STAMPS

    @cached_property
    def quoted_names(self) -> list[str]:
        """The names of :attr:`columns`, as statements name them."""
        return [*map(self.engine.quoted, self._names)]

    @cached_property
    def listed(self) -> str:
        """Those columns, as statements list them."""
        return ", ".join(self.quoted_names)

    def name(self, column: str) -> str:
        """A column of the key, as statements name it."""
        own = column in self.collection.places
        return self.engine.quoted(column_name(column) if own else column)

    def bound(self, column: str, scalar: Scalar) -> Any:
        """What is bound for *scalar* of a column of the key."""
        if scalar.__class__ is str:  # most are; as they are
            return scalar
        return parameter(self.layout.described(column), scalar)

    def equal(
        self, columns: Sequence[str], values: Sequence[Scalar], start: int = 0
    ) -> tuple[str, list[Any]]:
        """That *columns* are *values*, and the parameters for it, from the one after *start*.

        A null is told apart, for an index does not find what IS NOT DISTINCT FROM it.
        """
        nulls = tuple([value is None for value in values])
        asked = ("equal", tuple(columns), nulls, start)
        condition = self.once(asked, lambda: self._condition(columns, nulls, start))
        pairs = zip(columns, values, strict=True)
        return condition, [self.bound(c, v) for c, v in pairs if v is not None]

    def _condition(self, columns: Sequence[str], nulls: Sequence[bool], start: int) -> str:
        parts = []
        for column, null in zip(columns, nulls, strict=True):
            start += not null
            name = self.name(column)
            if self.layout.described(column).kind is Kind.DOCUMENT:
                name += "::text"  # json cannot be compared
            parts.append(f"{name} IS NULL" if null else f"{name} = ${start}")
        return " AND ".join(parts) or "true"

    # -- writing ---------------------------------------------------------------------------------

    @cached_property
    def insert(self) -> str:
        """Takes a row as :attr:`columns` selects it."""
        places = ", ".join(f"${n}" for n in range(1, len(self._names) + 1))
        return f"INSERT INTO {self.table} ({self.listed}) VALUES ({places})"

    @cached_property
    def update(self) -> str:
        """The beginning of a statement that takes such a row; the condition follows."""
        pairs = (f"{self.engine.quoted(name)} = ${n}" for n, name in enumerate(self._names, 1))
        return f"UPDATE {self.table} SET {', '.join(pairs)} WHERE "

    @cached_property
    def width(self) -> int:
        """How many values such a row has."""
        return len(self._names)

    @cached_property
    def copy(self) -> str:
        """Takes rows as they are written in binary form."""
        return f"COPY {self.table} ({self.listed}) FROM STDIN (FORMAT binary)"

    def known(self, key: Key, lock: str) -> tuple[str, list[Any]]:
        """Asks for what a commit must know of the row with a key, which it locks."""
        condition, values = self.equal(self.collection.key_columns, key)
        return f"{self._known} {condition} {lock}", values

    @cached_property
    def has_nullable_key(self) -> bool:
        """Whether a part of a key may be null."""
        names = self.collection.stream if self.collection.log else self.collection.key
        return any(self.collection.column(name).nullable for name in names)

    def may_refer(self, *, again: bool) -> bool:
        """Whether a row that is written may refer to what is not there; or written *again*."""
        key = {*self.collection.key} if again else set()
        return any(not key.issuperset(r.columns) for r in self.collection.references)

    @cached_property
    def has_token(self) -> bool:
        """Whether its records carry a fencing token."""
        places, columns = self.collection.places, self.collection.columns
        return "token" in places and columns[places["token"]].kind is Kind.INTEGER

    @cached_property
    def known_columns(self) -> str:
        """What a commit must know of a row of ``t``."""
        held = f"t.{self.name('token')}" if self.has_token else "NULL::bigint"
        return f"t.revision, {microseconds_sql('t.created_at')}, t.digest, {held}"

    @cached_property
    def _known(self) -> str:
        return f"SELECT {self.known_columns} FROM {self.table} AS t WHERE"

    def identified(self, stream: Key, identities: str) -> tuple[str, list[Any]]:
        """Asks which of *identities*, a JSON array of arrays, are in *stream*."""
        collection = self.collection
        wanted = [
            f"(e.v->>{n})::{self.engine.type_name(collection.column(name))}"
            for n, name in enumerate(collection.identity)
        ]
        asked = "FROM json_array_elements($1::json) WITH ORDINALITY AS e(v, n)"
        here, values = self.equal(collection.stream, stream, 1)
        if None in stream:
            pairs = zip(map(self.name, collection.identity), wanted, strict=True)
            same = " AND ".join(f"{name} = {value}" for name, value in pairs)
            sql = f"SELECT e.n, t.revision, t.digest {asked} JOIN {self.table} t ON {same}"
            return f"{sql} WHERE {here}", [identities, *values]
        streams = [f"${n}" for n, _ in enumerate(stream, 2)]
        entry = self.entry_of([*streams, *wanted])
        sql = f"SELECT e.n, i.revision, i.digest {asked} CROSS JOIN LATERAL ({entry}) AS i"
        return sql, [identities, *values]

    def entry_of(self, wanted: Sequence[str]) -> str:
        """Asks for revision and digest of the entry with a stream and identity, given as SQL.

        It is asked for the first one in an order that the index of identities alone has: a plan
        may be made while the table is empty, when to the planner any index is as good.
        """
        names = [*map(self.name, (*self.collection.stream, *self.collection.identity))]
        whole = [f"{self.name(name)} IS NOT NULL" for name in self.collection.identity]
        listed = ", ".join(names)
        first = (
            f"SELECT {listed}, revision, digest FROM {self.table} "
            f"WHERE ({listed}) >= ({', '.join(wanted)}) AND {' AND '.join(whole)} "
            f"ORDER BY {listed} LIMIT 1"
        )
        pairs = zip(names, wanted, strict=True)
        same = " AND ".join(f"t.{name} = {value}" for name, value in pairs)
        return f"SELECT t.revision, t.digest FROM ({first}) AS t WHERE {same}"

    def identities_text(self, identities: Sequence[Key]) -> str:
        """*identities* as :meth:`identified` takes them."""
        columns = [self.collection.column(name) for name in self.collection.identity]
        return json.dumps([
            [_text(parameter(column, part)) for column, part in zip(columns, identity, strict=True)]
            for identity in identities
        ])  # fmt: skip

    # -- reading ---------------------------------------------------------------------------------

    def get(self, key: Key) -> tuple[str, list[Any]]:
        """Asks for the whole row with a key."""
        condition, values = self.equal(self.collection.key_columns, key)
        return f"SELECT {self.listed} FROM {self.table} WHERE {condition}", values

    def rows_referring(
        self, link: Link, reference: Reference, key: Key, *, most: int | None = None, lock: str = ""
    ) -> list[StoredRow]:
        """Rows whose *reference* is *key*; not checked against their seals."""
        condition, values = self.equal(reference.columns, key)
        limit = f" LIMIT {most}" if most is not None else ""
        sql = f"SELECT {self.listed} FROM {self.table} WHERE {condition}{limit} {lock}"
        return [self.codec.peek(raw) for raw in link.run(sql, values)]

    def identity_of(self, row: Row) -> Key | None:
        """The identity of a log's row; ``None`` if it has none."""
        identity = self.collection.identity_of(row)
        return identity if identity and None not in identity else None


def _text(bound: Any) -> Any:
    return f"\\x{bound.hex()}" if isinstance(bound, bytes) else bound
