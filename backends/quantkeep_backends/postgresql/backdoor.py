"""Damage on purpose, past constraints, digests and seals."""

from typing import Any, Final

from quantkeep.backend import Backdoor
from quantkeep.collection import Collection, Key
from quantkeep.columns import Column, Kind, Scalar
from quantkeep.contract import flipped, flipped_receipt
from quantkeep.errors import NotFound
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.database import Database
from quantkeep_backends.postgresql.engine import parameter
from quantkeep_backends.postgresql.system import OPERATIONS
from quantkeep_backends.postgresql.tools import Tools

_SOMETHING: Final[dict[Kind, Scalar]] = {
    Kind.TEXT: "!",
    Kind.INTEGER: 1,
    Kind.REAL: 1.0,
    Kind.DECIMAL: "1",
    Kind.BOOLEAN: True,
    Kind.TIMESTAMP: 1,
    Kind.DATE: "2000-01-01",
    Kind.UUID: "00000000-0000-0000-0000-000000000001",
    Kind.BINARY: b"!",
    Kind.DOCUMENT: "null",
}


class PostgresqlBackdoor(Backdoor):
    """Writes as ``psql`` would, in a session whose triggers are off where the user may do that."""

    def __init__(self, database: Database, tools: Tools) -> None:
        self._database = database
        self._tools = tools

    def flip(self, collection: Collection, key: Key, column: str) -> None:
        prepared = self._tools.prepare(collection)
        here, values = prepared.equal(collection.key_columns, key, 1)
        stored = self._stored(collection, key)
        described = collection.column(column)
        damaged = _damaged(described, stored[collection.places[column]])
        sql = f"UPDATE {prepared.table} SET {prepared.name(column)} = $1 WHERE {here}"
        self._change(sql, [parameter(described, damaged), *values])

    def remove(self, collection: Collection, key: Key) -> None:
        prepared = self._tools.prepare(collection)
        here, values = prepared.equal(collection.key_columns, key)
        self._stored(collection, key)
        self._change(f"DELETE FROM {prepared.table} WHERE {here}", values)

    def flip_receipt(self, op_id: str) -> None:
        table = self._database.engine.table(OPERATIONS)
        sql = f"SELECT receipt FROM {table} WHERE op_id = $1"
        (found,) = self._database.read(lambda link: link.run(sql, (op_id,)).fetchone()) or ("",)
        sql = f"UPDATE {table} SET receipt = $1 WHERE op_id = $2"
        self._change(sql, [flipped_receipt(found), op_id])

    def _stored(self, collection: Collection, key: Key) -> tuple[Scalar, ...]:
        prepared = self._tools.prepare(collection)
        asked = prepared.get(key)
        found = self._database.read(lambda link: link.run(*asked).fetchone())
        if found is None:
            raise NotFound(f"{collection.name} {key!r} is not stored")
        return prepared.codec.peek(found).values

    def _change(self, sql: str, values: list[Any]) -> None:
        def work(link: Link) -> None:
            link.run("BEGIN")
            link.run("SET LOCAL session_replication_role = replica")  # no foreign keys
            link.run(sql, values)
            link.run("COMMIT")

        self._database.write(work)


def _damaged(column: Column, scalar: Scalar) -> Scalar:
    if scalar is None:
        return _SOMETHING[column.kind]
    if column.kind is Kind.DOCUMENT:
        return str(scalar) + " "  # what is no JSON any more would be refused
    if column.kind is Kind.DATE:
        return "2000-01-01" if scalar != "2000-01-01" else "2000-01-02"
    if column.kind in (Kind.DECIMAL, Kind.UUID):
        return _other(str(scalar))
    if isinstance(scalar, float):
        changed = scalar + 1.0
        return 0.0 if changed != changed or changed == scalar else changed
    return flipped(scalar)


def _other(text: str) -> str:
    """Another value of the same form: its last digit is changed."""
    last = text[-1]
    return text[:-1] + ("1" if last != "1" else "2")
