"""The statements of one collection, each compiled when it is first needed."""

import sqlite3
from collections.abc import Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa

from quantkeep.collection import Collection, Key, Reference, StoredRow
from quantkeep.columns import Kind, Row
from quantkeep_backends._sql.conditions import Scope
from quantkeep_backends._sql.engine import Expression
from quantkeep_backends._sql.names import column_name
from quantkeep_backends._sql.statements import AS_THEY_ARE, Slots, Statement, compiled
from quantkeep_backends._sql.streams import stream_text
from quantkeep_backends._sql.tables import Layout
from quantkeep_backends.sqlite.engine import REVISION_BITS, REVISION_MASK, SqliteEngine
from quantkeep_backends.sqlite.rows import Codec, Raw
from quantkeep_backends.sqlite.system import STREAMS

T = TypeVar("T")

_STATEMENTS: Final = 512  # of queries, that are kept for each collection
_COLLECTIONS: Final = 256  # that are kept for keeps to come
_LOG_STAMPS = ("created_at", "schema_version", "digest", "seal")
_KEYED_STAMPS = ("revision", "created_at", "updated_at", "schema_version", "digest", "seal")

# A column of a record cannot start with an underscore, so this is always SQLite's own
_ROWID: Expression = sa.literal_column("_rowid_")


class Update(NamedTuple):
    """Changes a row, if it is as it was found.

    Takes what *pick* gives of a whole row, then the rowid, revision and digest that it had.
    """

    sql: str
    pick: Callable[[Raw], Raw]


class Prepared:
    """What the backend needs to know of a collection to read and write it fast."""

    def __init__(self, collection: Collection, engine: SqliteEngine) -> None:
        self.collection = collection
        self.engine = engine
        self.layout = Layout(collection, engine)
        self.codec = Codec(collection)
        self.table = self.layout.table
        self._asked: dict[Any, Any] = {}

    @classmethod
    def of(cls, collection: Collection) -> "Prepared":
        """Shared by all keeps of this process, for nothing of theirs is in it."""
        return _prepared(collection, collection.record_name)

    def once(self, asked: Hashable, make: Callable[[], T]) -> T:
        """What *make* made when the same was *asked* before; of those, not too many are kept."""
        found: T | None = self._asked.get(asked)
        if found is None:
            if len(self._asked) >= _STATEMENTS:
                self._asked.clear()
            found = self._asked[asked] = make()
        return found

    @cached_property
    def stream_part(self) -> Callable[[Row], Any] | None:
        """A quick way to see whether two rows are of one stream; ``None`` if all are."""
        places = [self.collection.places[name] for name in self.collection.stream]
        return itemgetter(*places) if places else None

    @cached_property
    def columns(self) -> list[sa.Column[Any]]:
        """What is written and read of a row, in the order of its codec and of the table."""
        first, stamps = (("id",), _LOG_STAMPS) if self.collection.log else ((), _KEYED_STAMPS)
        names = [column_name(name) for name in self.collection.names]
        return [self.table.c[name] for name in (*first, *names, *stamps)]

    def _compiled(self, element: sa.ClauseElement) -> Statement:
        return compiled(element, self.engine.dialect)

    def _plain(self, element: sa.ClauseElement) -> str:
        """The SQL of what takes its values in the order in which it was built."""
        statement = self._compiled(element)
        assert statement.arranged is AS_THEY_ARE
        return statement.sql

    def _is(self, names: Sequence[str], slots: Slots) -> list[Expression]:
        """That these columns are what the next slots are given, nulls included."""
        scope = Scope(self.layout, self.table)
        return [
            scope.same(name).is_not_distinct_from(slots.next())
            if self.collection.column(name).nullable
            else scope.same(name) == slots.next()
            for name in names
        ]

    def same_values(self, names: Sequence[str], values: Sequence[Any]) -> list[Any]:
        """*values* of these columns, as :meth:`_is` compares them."""
        column, engine = self.collection.column, self.engine
        return [
            engine.same_value(column(name), value)
            for name, value in zip(names, values, strict=True)
        ]

    # -- writing ---------------------------------------------------------------------------------

    @cached_property
    def insert(self) -> str:
        """Takes a row as :attr:`columns` selects it."""
        slots = Slots()
        values = {column: slots.next() for column in self.columns}
        return self._plain(sa.insert(self.table).values(values))

    @cached_property
    def grow(self) -> str:
        """Makes the head of a log's stream one more; takes its number, its head, its text.

        Changes nothing if the head is another one, or if its entry is gone that nobody deleted.
        """
        slots, known = Slots(), STREAMS.c
        newest = known.number.op("<<")(sa.literal_column(str(REVISION_BITS))).op("|")(known.head)
        is_there = sa.exists(sa.select(sa.literal_column("1")).where(self.table.c.id == newest))
        as_said = (
            known.number == slots.next(),
            known.head == slots.next(),
            known.stream == slots.next(),
            known.collection == sa.literal_column(_quoted(self.collection.name)),
            sa.or_(known.deleted > sa.literal_column("0"), is_there),
        )
        grown = sa.update(STREAMS).values(head=known.head + sa.literal_column("1"))
        return self._plain(grown.where(*as_said))

    @cached_property
    def steady(self) -> list[sa.Column[Any]]:
        """Columns that are in indexes, and that a put seldom changes.

        An update that leaves them alone leaves the pages of those indexes alone. Equal reals may
        differ in their bits.
        """
        collection = self.collection
        groups = (*collection.unique, *(index.columns for index in collection.indexes))
        indexed = {n for group in groups for n in group if n in collection.places}
        return self._of_known_bits(indexed - {*collection.key})

    @cached_property
    def fixed(self) -> list[sa.Column[Any]]:
        """What no put changes of a record: its key, and when it was made."""
        return [*self._of_known_bits({*self.collection.key}), self.table.c.created_at]

    def _of_known_bits(self, names: AbstractSet[str]) -> list[sa.Column[Any]]:
        """The columns called so that are no reals."""
        column = self.collection.column
        known = {column_name(name) for name in names if column(name).kind is not Kind.REAL}
        return [each for each in self.columns if each.name in known]

    def picked(self, columns: Sequence[sa.Column[Any]]) -> Callable[[Raw], Raw]:
        """A function that takes *columns* out of a row."""
        names = [column.name for column in self.columns]
        places = [names.index(column.name) for column in columns]
        if len(places) > 1:
            return itemgetter(*places)
        return lambda row: tuple([row[place] for place in places])

    @cached_property
    def steady_of(self) -> Callable[[Raw], Raw]:
        """Takes the :attr:`steady` columns out of a row."""
        return self.picked(self.steady)

    @cached_property
    def quiet(self) -> "Update":
        """Writes all but the :attr:`steady` columns, where those are what they were."""
        return self._updating(besides=(*self.fixed, *self.steady))

    @cached_property
    def update(self) -> "Update":
        """Writes the :attr:`steady` columns too."""
        return self._updating(besides=self.fixed)

    def _updating(self, *, besides: Sequence[sa.Column[Any]]) -> "Update":
        left_alone = {column.name for column in besides}
        columns = [column for column in self.columns if column.name not in left_alone]
        slots = Slots()
        values = {column: slots.next() for column in columns}
        known, there = self.table.c, slots.next() == _ROWID
        found = (there, known.revision == slots.next(), known.digest == slots.next())
        changed = sa.update(self.table).where(*found).values(values)
        return Update(self._plain(changed), self.picked(columns))

    @cached_property
    def delete(self) -> str:
        """Takes a rowid."""
        return self._compiled(sa.delete(self.table).where(Slots().next() == _ROWID)).sql

    @cached_property
    def known(self) -> Statement:
        """What :class:`Known` has of the record with a key."""
        slots, columns = Slots(), self.table.c
        fenced = "token" in self.collection.places
        token = self.layout.content("token") if fenced else sa.null()
        known = (_ROWID, columns.revision, columns.created_at, columns.digest, token)
        wanted = sa.select(*known, *self.steady).select_from(self.table)
        return self._compiled(wanted.where(*self._is(self.collection.key, slots)))

    # -- logs ------------------------------------------------------------------------------------

    @cached_property
    def last_place(self) -> str:
        """The greatest id above one and up to another."""
        slots, id_ = Slots(), self.table.c.id
        wanted = sa.select(sa.func.max(id_)).where(id_ > slots.next(), id_ <= slots.next())
        return self._compiled(wanted).sql

    @cached_property
    def identified(self) -> str:
        """Rowid and digest of the row with a stream and identity."""
        slots, scope = Slots(), Scope(self.layout, self.table)
        streams = self._distinctly(self.collection.stream, slots)
        same = [scope.same(name) == slots.next() for name in self.collection.identity]
        wanted = sa.select(_ROWID, self.table.c.digest).select_from(self.table)
        return self._compiled(wanted.where(*streams, *same)).sql

    def identity_values(self, row: Row) -> list[Any] | None:
        """What :attr:`identified` takes for *row*; ``None`` if it has no identity."""
        collection = self.collection
        identity = collection.identity_of(row)
        if not identity or None in identity:
            return None
        streams = self.distinct_values(collection.stream, collection.stream_of(row))
        return [*streams, *self.same_values(collection.identity, identity)]

    def _distinctly(self, names: Sequence[str], slots: Slots) -> list[Expression]:
        """That the expressions of a unique index are what the next slots are given."""
        column, content, engine = self.collection.column, self.layout.content, self.engine
        return [engine.distinct(column(n), content(n)) == slots.next() for n in names]

    def distinct_values(self, names: Sequence[str], values: Sequence[Any]) -> list[Any]:
        """*values* of these columns, as the unique indexes have them."""
        column, engine = self.collection.column, self.engine
        return [
            engine.distinct_value(column(name), value)
            for name, value in zip(names, values, strict=True)
        ]

    def holder(self, names: Sequence[str]) -> str:
        """Rowid of the record that has a group of columns."""
        wanted = sa.select(_ROWID).select_from(self.table)
        return self.once(
            ("holder", tuple(names)),
            lambda: self._compiled(wanted.where(*self._distinctly(names, Slots()))).sql,
        )

    # -- reading ---------------------------------------------------------------------------------

    @cached_property
    def get(self) -> Statement:
        """The whole row with a key; of a log, with the stream's text and a revision."""
        slots = Slots()
        wanted = sa.select(*self.columns)
        if not self.collection.log:
            return self._compiled(wanted.where(*self._is(self.collection.key, slots)))
        number = sa.select(STREAMS.c.number.op("<<")(sa.literal_column(str(REVISION_BITS)))).where(
            STREAMS.c.collection == sa.literal_column(_quoted(self.collection.name)),
            STREAMS.c.stream == slots.next(),
        )
        place = number.scalar_subquery().op("|")(slots.next())
        return self._compiled(wanted.where(self.table.c.id == place))

    @cached_property
    def _has_real_key(self) -> bool:
        return any(self.collection.column(name).kind is Kind.REAL for name in self.collection.key)

    def key_values(self, key: Key) -> Sequence[Any] | None:
        """What :attr:`get` takes for *key*; ``None`` if no row can have it."""
        if not self.collection.log:
            return self.same_values(self.collection.key, key) if self._has_real_key else key
        *stream, revision = key
        possible = isinstance(revision, int) and 0 < revision <= REVISION_MASK
        return [stream_text(tuple(stream)), revision] if possible else None

    def rows_referring(
        self, connection: sqlite3.Connection, reference: Reference, key: Key, most: int = -1
    ) -> list[tuple[int, StoredRow]]:
        """Rows whose *reference* is *key*, each with its rowid; not checked against their seals."""
        statement = self.once(("referring", reference.columns), lambda: self._referring(reference))
        values = statement.arranged([*self.same_values(reference.columns, key), most])
        rows = connection.execute(statement.sql, values).fetchall()
        return [(rowid, self.codec.peek(tuple(raw))) for rowid, *raw in rows]

    def _referring(self, reference: Reference) -> Statement:
        slots = Slots()
        wanted = sa.select(_ROWID, *self.columns).where(*self._is(reference.columns, slots))
        return self._compiled(wanted.limit(sa.type_coerce(slots.next(), sa.Integer)))


@lru_cache(maxsize=_COLLECTIONS)
def _prepared(collection: Collection, record_name: str) -> Prepared:
    """By the name too, for errors say it, and collections are equal without."""
    return Prepared(collection, SqliteEngine())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
