"""Why a constraint said no. Asked only after it did: a write that is right pays nothing."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from quantkeep.collection import Collection, Key, Reference, SealedRow, StoredRow
from quantkeep.contract import taken
from quantkeep.errors import InvalidValue, QuantkeepError
from quantkeep_backends._sql.references import References
from quantkeep_backends.sqlite.prepared import Prepared


def explain_row(
    connection: sqlite3.Connection,
    prepared: Prepared,
    row: SealedRow,
    own: int | None,
    error: sqlite3.IntegrityError,
) -> QuantkeepError:
    """Why *row* was refused; *own* is the rowid of the record it was to replace."""
    collection = prepared.collection
    for group in collection.unique:
        value = collection.pick(group)(row.values)
        wanted = prepared.distinct_values(group, value)
        if _is_held(connection, prepared.holder(group), wanted, own):
            return taken(collection, value, group)
    identified = prepared.identity_values(row.values)
    if identified and _is_held(connection, prepared.identified, identified, own):
        value = (*collection.stream_of(row.values), *collection.identity_of(row.values))
        return taken(collection, value, collection.identity)
    return InvalidValue(f"SQLite refuses the row: {error}", record=collection.name)


def _is_held(
    connection: sqlite3.Connection, sql: str, wanted: Sequence[Any], own: int | None
) -> bool:
    """Whether a row other than *own* has what is *wanted*."""
    return any(rowid != own for rowid, *_ in connection.execute(sql, wanted))


class SqliteReferences(References):
    """Looks over a connection, inside the transaction that is to be refused."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        prepare: Callable[[Collection], Prepared],
        peers: Mapping[str, Collection],
    ) -> None:
        super().__init__(peers)
        self._connection = connection
        self._prepare = prepare

    def is_stored(self, collection: Collection, key: Key) -> bool:
        prepared = self._prepare(collection)
        wanted = prepared.key_values(key)
        return bool(wanted and self._connection.execute(prepared.get.sql, wanted).fetchone())

    def referring(self, child: Collection, reference: Reference, key: Key) -> Iterator[StoredRow]:
        prepared = self._prepare(child)
        rows = prepared.rows_referring(self._connection, reference, key, most=1)
        return (stored for _, stored in rows)
