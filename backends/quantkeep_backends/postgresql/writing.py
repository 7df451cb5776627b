"""The statements that write one row and commit themselves; see :mod:`.single`."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from quantkeep_backends._sql.names import column_name
from quantkeep_backends.postgresql.engine import PostgresqlEngine, literal
from quantkeep_backends.postgresql.prepared import Prepared
from quantkeep_backends.postgresql.rows import microseconds_sql, seal_sql
from quantkeep_backends.postgresql.system import OPERATIONS, STREAMS


class Form(NamedTuple):
    """Which statement it is.

    Attributes:
        kind: ``append``, ``insert``, ``upsert``, ``at revision`` or ``holding``.
        identified: the entry has an identity, under which it may be there already.
        remembers: there is an operation id.
    """

    kind: str
    identified: bool
    remembers: bool

    @property
    def updates(self) -> bool:
        """Whether the record must be there."""
        return self.kind in ("at revision", "holding")


def statement(prepared: Prepared, engine: PostgresqlEngine, form: Form) -> str:
    """The statement of *form*.

    Takes the content's values, the digest, its token, the stamps to be kept (or nulls), the text of
    the stream, the head that was seen, the operation's id and digest, and what *form* expects.
    Answers with revision, time and rows added; with nothing if it wrote nothing.
    """
    return _Statement(prepared, engine, form).text()


class _Statement:
    def __init__(self, prepared: Prepared, engine: PostgresqlEngine, form: Form) -> None:
        self._prepared = prepared
        self._engine = engine
        self._form = form
        self._collection = prepared.collection
        self._names = [engine.quoted(column_name(name)) for name in self._collection.names]
        places = iter(range(len(self._names) + 1, len(self._names) + 20))
        self._digest, self._token = f"${next(places)}", f"${next(places)}"
        self._created = "" if form.updates else f"${next(places)}"
        self._updated = "" if form.kind == "append" else f"${next(places)}"
        self._stream, self._seen = f"${next(places)}", f"${next(places)}"
        self._op = (f"${next(places)}", f"${next(places)}") if form.remembers else ("", "")
        self._expected = f"${next(places)}"

    def text(self) -> str:
        parts = ", ".join(f"{name} AS {how} ({sql})" for name, how, sql in self._parts())
        answer = "SELECT revision, now, added, guard FROM"
        return f"WITH {parts} {answer} ({' UNION ALL '.join(self._answers())}) AS answer"

    def _answers(self) -> Iterator[str]:
        guard = f"1 / (CASE WHEN w.revision > {self._seen}::bigint THEN 1 ELSE 0 END)"
        # Where the head was counted up, and then nothing written, the guard undoes it
        how = "" if self._form.identified else "LEFT "
        yield (
            f"SELECT w.revision, {microseconds_sql('stamp.now')} AS now, w.added, {guard} AS guard "
            f"FROM stamp {how}JOIN written w ON true"
        )
        if self._form.identified and not self._form.remembers:
            # Else the operation is to be remembered too: by a transaction
            yield self._known()

    def _parts(self) -> Iterator[tuple[str, str, str]]:
        yield "head", "MATERIALIZED", self._locked() if self._form.identified else self._counted()
        stamp = "SELECT head.head, clock_timestamp() AS now FROM head"
        yield "stamp", "MATERIALIZED", stamp
        yield "written", "", self._written()
        if self._form.identified:
            yield "advanced", "", self._advanced()
        if self._form.remembers:
            yield "remembered", "", self._remembered()

    # -- what is there ---------------------------------------------------------------------------

    def _equal(self, names: Sequence[str], where: str = "") -> str:
        """That columns are what the new row has there."""
        places = self._collection.places
        types = {name: self._type(name) for name in names}
        pairs = (f"{where}{self._prepared.name(n)} = ${places[n] + 1}::{types[n]}" for n in names)
        return " AND ".join(pairs) or "true"

    def _type(self, name: str) -> str:
        return self._engine.type_name(self._collection.column(name))

    def _known(self) -> str:
        """The entry that is there already, if that is why none was written."""
        names = (*self._collection.stream, *self._collection.identity)
        places = self._collection.places
        wanted = [f"${places[name] + 1}::{self._type(name)}" for name in names]
        return (
            f"SELECT revision, {microseconds_sql('clock_timestamp()')}, 0, 1 "
            f"FROM ({self._prepared.entry_of(wanted)}) AS known "
            f"WHERE digest = {self._digest} AND NOT EXISTS (SELECT FROM written)"
        )

    def _locked(self) -> str:
        """Takes the lock of the stream; or nothing, and then nothing else happens."""
        conditions = " AND ".join([self._this_stream, *self._conditions()])
        table = self._engine.table(STREAMS)
        return f"SELECT head + 1 AS head FROM {table} WHERE {conditions} FOR UPDATE"

    def _advanced(self) -> str:
        table = self._engine.table(STREAMS)
        return f"UPDATE {table} SET head = w.revision FROM written w WHERE {self._this_stream}"

    @property
    def _this_stream(self) -> str:
        return f"collection = {literal(self._collection.name)} AND stream = {self._stream}::text"

    def _counted(self) -> str:
        """Counts the head up, and so takes the lock; or nothing, and then nothing else happens."""
        named = f"{literal(self._collection.name)}, {self._stream}::text, 1::bigint"
        conditions = " AND ".join(self._conditions()) or "true"
        return (
            f"INSERT INTO {self._engine.table(STREAMS)} AS s (collection, stream, head) "
            f"SELECT {named} WHERE {conditions} ON CONFLICT (collection, stream) "
            "DO UPDATE SET head = s.head + 1 RETURNING head"
        )

    def _conditions(self) -> Iterator[str]:
        if self._form.remembers:
            table = self._engine.table(OPERATIONS)
            yield f"NOT EXISTS (SELECT FROM {table} WHERE op_id = {self._op[0]}::text)"
        if self._form.updates or self._form.kind == "insert":
            here = self._equal(self._collection.key)
            found = f"EXISTS (SELECT FROM {self._prepared.table} WHERE {here}{self._as_expected()})"
            yield f"NOT {found}" if self._form.kind == "insert" else found

    def _as_expected(self, where: str = "") -> str:
        if self._form.kind == "at revision":
            return f" AND {where}revision = {self._expected}::bigint"
        if self._form.kind == "holding":
            return f" AND {where}{self._prepared.name('token')} = {self._expected}::bigint"
        return ""

    # -- what is written -------------------------------------------------------------------------

    def _written(self) -> str:
        if self._form.updates:
            return self._update()
        content = ", ".join(f"${n}::{self._type(name)}" for n, name in self._numbered())
        stamps = self._stamps()
        mark = self._seal(*stamps)
        version = f"{self._collection.schema_version}::bigint"
        values = f"{content}, stamp.head, {', '.join(stamps)}, {version}, {self._digest}, {mark}"
        into = f"{self._prepared.table} AS t ({self._prepared.listed})"
        written = f"INSERT INTO {into} SELECT {values} FROM stamp"
        if self._form.identified:
            # The index of identities is asked without a planner, who may know of an empty table
            written += f" ON CONFLICT {self._identities()} DO NOTHING"
        if self._form.kind == "upsert":
            key = ", ".join(map(self._prepared.name, self._collection.key))
            # xmax is 0 in a version that no update made
            written += f" ON CONFLICT ({key}) DO UPDATE SET {self._changes('excluded.revision')}"
            return f"{written} RETURNING t.revision, (t.xmax = 0)::integer AS added"
        return f"{written} RETURNING t.revision, 1 AS added"

    def _identities(self) -> str:
        """The index of them."""
        collection, name = self._collection, self._prepared.name
        columns = ", ".join(map(name, (*collection.stream, *collection.identity)))
        whole = " AND ".join(f"{name(column)} IS NOT NULL" for column in collection.identity)
        return f"({columns}) WHERE {whole}"

    def _update(self) -> str:
        here = self._equal(self._collection.key, "t.") + self._as_expected("t.")
        return (
            f"UPDATE {self._prepared.table} AS t SET {self._changes('stamp.head', 'stamp.now')} "
            f"FROM stamp WHERE {here} RETURNING t.revision, 0 AS added"
        )

    def _changes(self, revision: str, now: str = "excluded.updated_at") -> str:
        """What an update sets; the time of creation stays."""
        updated = f"coalesce({self._updated}::timestamptz, {now})"
        mark = self._seal("t.created_at", updated, revision)
        content = [
            f"{quoted} = ${n}::{self._type(name)}"
            for quoted, (n, name) in zip(self._names, self._numbered(), strict=True)
        ]
        stamps = [
            f"revision = {revision}",
            f"updated_at = {updated}",
            f"schema_version = {self._collection.schema_version}::bigint",
            f"digest = {self._digest}",
            f"seal = {mark}",
        ]
        return ", ".join([*content, *stamps])

    def _numbered(self) -> Iterator[tuple[int, str]]:
        return enumerate(self._collection.names, 1)

    def _stamps(self) -> list[str]:
        given = [self._created, self._updated] if self._updated else [self._created]
        return [f"coalesce({stamp}::timestamptz, stamp.now)" for stamp in given]

    def _seal(self, created: str, updated: str | None = None, revision: str = "stamp.head") -> str:
        version = self._collection.schema_version
        return seal_sql(f"{self._token}::bigint", revision, created, updated, version)

    def _remembered(self) -> str:
        """As :meth:`quantkeep.batch.Receipt.to_json` says it."""
        form = '\'{"at":%s,"outcomes":[[%s,[[%s,1]]]]}\''
        at = microseconds_sql("stamp.now")
        return (
            f"INSERT INTO {self._engine.table(OPERATIONS)} (op_id, digest, receipt, created_at) "
            f"SELECT {self._op[0]}::text, {self._op[1]}::bytea, "
            f"format({form}, {at}, w.added, w.revision), stamp.now FROM stamp, written w"
        )
