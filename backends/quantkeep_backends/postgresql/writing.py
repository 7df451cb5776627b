"""The statements that write one row and commit themselves; see :mod:`.single`."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from quantkeep_backends._sql.names import column_name
from quantkeep_backends.postgresql.engine import PostgresqlEngine, literal
from quantkeep_backends.postgresql.operations import receipt_sql
from quantkeep_backends.postgresql.prepared import Prepared
from quantkeep_backends.postgresql.rows import microseconds_sql, seal_sql
from quantkeep_backends.postgresql.system import OPERATIONS, STREAMS

_CLOCK: Final = "clock_timestamp() AS now"


class Form(NamedTuple):
    """Which statement it is.

    Attributes:
        kind: ``append``, ``insert``, ``upsert``, ``at revision`` or ``holding``.
        asks: the entry may be there already under its identity, and then it is no error.
        remembers: there is an operation id.
    """

    kind: str
    asks: bool
    remembers: bool

    @property
    def updates(self) -> bool:
        """Whether the record must be there."""
        return self.kind in ("at revision", "holding")


def statement(prepared: Prepared, engine: PostgresqlEngine, form: Form) -> tuple[str, list[int]]:
    """The statement of *form*, and which of its parameters are in binary form.

    Takes the content's values, the digest, its token, the text of the stream, the head that was
    seen, the operation's id and digest, and what *form* expects. Answers with revision, time and
    rows added; with nothing if it wrote nothing.
    """
    forms = [*prepared.codec.forms, 1, 1, 0, 0]
    forms += [0, 1] if form.remembers else []
    forms += [0] if form.updates else []
    return _Statement(prepared, engine, form).text(), forms


class _Statement:
    def __init__(self, prepared: Prepared, engine: PostgresqlEngine, form: Form) -> None:
        self._prepared = prepared
        self._engine = engine
        self._form = form
        self._collection = prepared.collection
        self._names = [engine.quoted(column_name(name)) for name in self._collection.names]
        places = iter(range(len(self._names) + 1, len(self._names) + 20))
        self._digest, self._token = f"${next(places)}", f"${next(places)}"
        self._stream, self._seen = f"${next(places)}", f"${next(places)}"
        self._op = (f"${next(places)}", f"${next(places)}") if form.remembers else ("", "")
        self._expected = f"${next(places)}"

    def text(self) -> str:
        parts = ", ".join(f"{name} AS {how} ({sql})" for name, how, sql in self._parts())
        return f"WITH {parts} {' UNION ALL '.join(self._answers())}"

    def _answers(self) -> Iterator[str]:
        answer = "SELECT w.revision, w.at, w.added"
        if self._form.updates:
            # Where the head was counted up, and then nothing written, this undoes it
            guard = "1 / (CASE WHEN w.revision IS NULL THEN 0 ELSE 1 END)"
            yield f"{answer}, {guard} FROM stamp LEFT JOIN written w ON true"
            return
        yield f"{answer} FROM written w"
        if self._form.asks and not self._form.remembers:
            # Else the operation is to be remembered too: by a transaction
            yield self._known()

    def _parts(self) -> Iterator[tuple[str, str, str]]:
        if self._form.asks:
            yield "head", "MATERIALIZED", self._locked()
            yield "stamp", "MATERIALIZED", f"SELECT head.head, {_CLOCK} FROM head"
        else:
            yield "stamp", "", self._counted()
        yield "written", "", self._written()
        if self._form.asks:
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
            f"SELECT revision, clock_timestamp(), 0 "
            f"FROM ({self._prepared.entry_of(wanted)}) AS known "
            f"WHERE digest = {self._digest} AND NOT EXISTS (SELECT FROM written)"
        )

    def _locked(self) -> str:
        """Takes the lock of the stream; or nothing, and then nothing else happens."""
        return f"SELECT head + 1 AS head FROM {self._streams} WHERE {self._plain} FOR UPDATE"

    def _advanced(self) -> str:
        """Counts the head up, once it is known that the entry is new."""
        changed = "SET head = w.revision FROM written w"
        return f"UPDATE {self._streams} {changed} WHERE {self._this_stream}"

    def _counted(self) -> str:
        """Counts the head up, and so takes the lock; or nothing, and then nothing else happens."""
        changed = f"SET head = head + 1 WHERE {self._plain}"
        return f"UPDATE {self._streams} {changed} RETURNING head, {_CLOCK}"

    @property
    def _streams(self) -> str:
        return self._engine.table(STREAMS)

    @property
    def _this_stream(self) -> str:
        return f"collection = {literal(self._collection.name)} AND stream = {self._stream}::text"

    @property
    def _plain(self) -> str:
        """That the stream is there, is no older than was seen, and all is as expected."""
        seen = f"head >= {self._seen}::bigint"
        return " AND ".join([self._this_stream, seen, *self._conditions()])

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
        stamps = ", ".join(self._stamps)
        mark = self._seal(*self._stamps)
        version = f"{self._collection.schema_version}::bigint"
        values = f"{content}, stamp.head, {stamps}, {version}, {self._digest}, {mark}"
        into = f"{self._prepared.table} AS t ({self._prepared.listed})"
        written = f"INSERT INTO {into} SELECT {values} FROM stamp"
        if self._form.asks:
            # The index of identities is asked without a planner, who may know of an empty table
            written += f" ON CONFLICT {self._identities()} DO NOTHING"
        if self._form.kind == "upsert":
            key = ", ".join(map(self._prepared.name, self._collection.key))
            # xmax is 0 in a version that no update made
            written += f" ON CONFLICT ({key}) DO UPDATE SET {self._changes('excluded.revision')}"
            return f"{written} RETURNING t.revision, t.updated_at AS at, (t.xmax = 0)::int AS added"
        return f"{written} RETURNING t.revision, t.created_at AS at, 1 AS added"

    @property
    def _stamps(self) -> list[str]:
        """When it is written: the time of creation and, of a record, that of the update."""
        return ["stamp.now"] if self._collection.log else ["stamp.now", "stamp.now"]

    def _identities(self) -> str:
        """The index of them."""
        collection, name = self._collection, self._prepared.name
        columns = ", ".join(map(name, (*collection.stream, *collection.identity)))
        whole = " AND ".join(f"{name(column)} IS NOT NULL" for column in collection.identity)
        return f"({columns}) WHERE {whole}"

    def _update(self) -> str:
        here = self._equal(self._collection.key, "t.") + self._as_expected("t.")
        changes = self._changes("stamp.head", "stamp.now")
        return (
            f"UPDATE {self._prepared.table} AS t SET {changes} FROM stamp WHERE {here} "
            "RETURNING t.revision, t.updated_at AS at, 0 AS added"
        )

    def _changes(self, revision: str, now: str = "excluded.updated_at") -> str:
        """What an update sets; the time of creation stays."""
        mark = self._seal("t.created_at", now, revision)
        content = [
            f"{quoted} = ${n}::{self._type(name)}"
            for quoted, (n, name) in zip(self._names, self._numbered(), strict=True)
        ]
        stamps = [
            f"revision = {revision}",
            f"updated_at = {now}",
            f"schema_version = {self._collection.schema_version}::bigint",
            f"digest = {self._digest}",
            f"seal = {mark}",
        ]
        return ", ".join([*content, *stamps])

    def _numbered(self) -> Iterator[tuple[int, str]]:
        return enumerate(self._collection.names, 1)

    def _seal(self, created: str, updated: str | None = None, revision: str = "stamp.head") -> str:
        version = self._collection.schema_version
        return seal_sql(f"{self._token}::bigint", revision, created, updated, version)

    def _remembered(self) -> str:
        form = '\'{"at":%s,"outcomes":[[%s,[[%s,1]]]]}\''
        op_id, digest = f"{self._op[0]}::text", f"{self._op[1]}::bytea"
        at = microseconds_sql("w.at")
        return (
            f"INSERT INTO {self._engine.table(OPERATIONS)} (op_id, digest, receipt, created_at) "
            f"SELECT {op_id}, {digest}, {receipt_sql('w.said', op_id, digest)}, w.at "
            f"FROM (SELECT at, format({form}, {at}, w.added, w.revision) AS said FROM written w) w"
        )
