"""Why a constraint said no. Asked only after it did: a write that is right pays nothing."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from quantkeep.batch import Append, Batch, Put
from quantkeep.collection import Collection, Key, Reference, SealedRow
from quantkeep.contract import dangling, still_referenced, taken
from quantkeep.errors import InvalidReference, InvalidValue, QuantkeepError
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


class References:
    """Finds the reference that a batch left broken, in the state after it."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        prepare: Callable[[Collection], Prepared],
        peers: Mapping[str, Collection],
    ) -> None:
        self._connection = connection
        self._prepare = prepare
        self._peers = peers

    def explain(self, batch: Batch, removed: Sequence[tuple[Collection, Key]]) -> QuantkeepError:
        """The first reference that does not hold, after *batch* and all it *removed*."""
        for found in self._broken(batch, removed):
            return found
        return InvalidReference("a reference would be left to what is not stored")

    def _broken(
        self, batch: Batch, removed: Sequence[tuple[Collection, Key]]
    ) -> Iterator[QuantkeepError]:
        for collection, key in removed:
            if not self._is_stored(collection, key):
                yield from self._referring(collection, key)
        for write in batch.writes:
            if isinstance(write, Put | Append) and write.collection.references:
                for row in [write.row] if isinstance(write, Put) else write.rows:
                    yield from self._dangling(write.collection, row)

    def _referring(self, collection: Collection, key: Key) -> Iterator[QuantkeepError]:
        for child in self._peers.values():
            prepared = self._prepare(child)
            for reference in _to(collection, child):
                rows = prepared.rows_referring(self._connection, reference, key, most=1)
                for _, stored in rows:
                    yield still_referenced(collection, key, child, child.stored_key(stored))

    def _dangling(self, collection: Collection, row: SealedRow) -> Iterator[QuantkeepError]:
        for reference in collection.references:
            key = collection.pick(reference.columns)(row.values)
            if None not in key and not self._is_stored(self._peers[reference.to], key):
                yield dangling(collection, reference, key)

    def _is_stored(self, collection: Collection, key: Key) -> bool:
        prepared = self._prepare(collection)
        wanted = prepared.key_values(key)
        return bool(wanted and self._connection.execute(prepared.get.sql, wanted).fetchone())


def _to(collection: Collection, child: Collection) -> Iterator[Reference]:
    return (r for r in child.references if r.to == collection.name)
