"""Damage on purpose, past constraints, digests and seals."""

import sqlite3
from typing import Any, Final

from quantkeep.backend import Backdoor
from quantkeep.collection import Collection, Key
from quantkeep.columns import Kind, Scalar
from quantkeep.contract import flipped, flipped_receipt
from quantkeep.errors import NotFound
from quantkeep_backends._sql.names import column_name
from quantkeep_backends.sqlite.connections import connect
from quantkeep_backends.sqlite.database import Database
from quantkeep_backends.sqlite.functions import real_for_sqlite
from quantkeep_backends.sqlite.prepared import Prepared
from quantkeep_backends.sqlite.transaction import Prepare

_SOMETHING: dict[Kind, Scalar] = {
    Kind.INTEGER: 1,
    Kind.TIMESTAMP: 1,
    Kind.BOOLEAN: True,
    Kind.REAL: 1.0,
    Kind.BINARY: b"!",
}
_RECEIPT: Final = "SELECT receipt FROM quantkeep_operations WHERE op_id = ?"
_DAMAGE: Final = "UPDATE quantkeep_operations SET receipt = ? WHERE op_id = ?"


class SqliteBackdoor(Backdoor):
    """Writes with a connection of its own, that no constraint stops."""

    def __init__(self, database: Database, prepare: Prepare) -> None:
        self._database = database
        self._prepare = prepare

    def flip(self, collection: Collection, key: Key, column: str) -> None:
        prepared = self._prepare(collection)
        raw = self._raw(prepared, key)
        place = collection.places[column]
        value = _damaged(collection.columns[place].kind, prepared.codec.peek(raw).values[place])
        table, row = collection.name, self._row(prepared)
        self._change(
            f'UPDATE "{table}" SET "{column_name(column)}" = ? WHERE {row}',
            (value, *self._place(prepared, raw)),
        )

    def remove(self, collection: Collection, key: Key) -> None:
        prepared = self._prepare(collection)
        place = self._place(prepared, self._raw(prepared, key))
        self._change(f'DELETE FROM "{collection.name}" WHERE {self._row(prepared)}', place)

    def flip_receipt(self, op_id: str) -> None:
        with self._database.reading() as reader:
            found = reader.execute(_RECEIPT, (op_id,)).fetchone() or ("",)
        self._change(_DAMAGE, (flipped_receipt(found[0]), op_id))

    def _raw(self, prepared: Prepared, key: Key) -> tuple[Any, ...]:
        wanted = prepared.key_values(key)
        with self._database.reading() as reader:
            found = wanted and reader.execute(prepared.get.sql, wanted).fetchone()
        if not found:
            raise NotFound(f"{prepared.collection.name} {key!r} is not stored")
        raw: tuple[Any, ...] = found
        return raw

    def _row(self, prepared: Prepared) -> str:
        if prepared.collection.log:
            return "id = ?"
        return " AND ".join(f'"{column_name(name)}" IS ?' for name in prepared.collection.key)

    def _place(self, prepared: Prepared, raw: tuple[Any, ...]) -> tuple[Any, ...]:
        if prepared.collection.log:
            return (raw[0],)
        return tuple(raw[prepared.collection.places[name]] for name in prepared.collection.key)

    def _change(self, sql: str, values: tuple[Any, ...]) -> None:
        with self._database.turn():
            connection = connect(self._database.path, "mode=rw", self._database.settings)
            try:
                self._open_up(connection)
                connection.execute(sql, values)
            finally:
                connection.close()

    def _open_up(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")


def _damaged(kind: Kind, scalar: Scalar) -> Any:
    if scalar is None:
        return _SOMETHING.get(kind, "!")
    if isinstance(scalar, float):
        changed = flipped(scalar)
        return real_for_sqlite(0.0) if changed != changed or changed == scalar else changed
    return flipped(scalar)
