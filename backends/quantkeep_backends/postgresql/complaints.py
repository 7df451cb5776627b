"""Why a constraint said no. Asked only after it did: a write that is right pays nothing."""

from collections.abc import Iterator, Sequence
from typing import Literal, overload

import psycopg

from quantkeep.batch import Append, Batch, Put
from quantkeep.collection import Collection, Key, Reference, SealedRow
from quantkeep.contract import dangling, still_referenced, taken
from quantkeep.errors import Busy, InvalidReference, InvalidValue, QuantkeepError
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.prepared import Prepared
from quantkeep_backends.postgresql.tools import Tools


@overload
def explain_row(
    link: Link,
    prepared: Prepared,
    row: SealedRow,
    own: Key | None,
    error: psycopg.Error,
    *,
    sure: Literal[True] = True,
) -> QuantkeepError: ...


@overload
def explain_row(
    link: Link,
    prepared: Prepared,
    row: SealedRow,
    own: Key | None,
    error: psycopg.Error,
    *,
    sure: Literal[False],
) -> QuantkeepError | None: ...


def explain_row(
    link: Link,
    prepared: Prepared,
    row: SealedRow,
    own: Key | None,
    error: psycopg.Error,
    *,
    sure: bool = True,
) -> QuantkeepError | None:
    """Why *row* was refused; *own* is the key of the record it was to replace.

    If it is not *sure* that this is the row, ``None`` says that nothing speaks against it.
    """
    collection = prepared.collection
    for group in collection.unique:
        value = collection.pick(group)(row.values)
        if _is_held(link, prepared, group, value, own):
            return taken(collection, value, group)
    identity = prepared.identity_of(row.values)
    if identity is not None:
        group = (*collection.stream, *collection.identity)
        value = (*collection.stream_of(row.values), *identity)
        if _is_held(link, prepared, group, value, own):
            return taken(collection, value, collection.identity)
    key = collection.key
    if key and _is_held(link, prepared, key, collection.key_of(row.values), None):
        return Busy(f"{collection.name}: another writer stored the same key just now: try again")
    if not sure:
        return None
    return InvalidValue(
        f"PostgreSQL refuses the row: {error.diag.message_primary}", record=collection.name
    )


def _is_held(
    link: Link, prepared: Prepared, group: Sequence[str], value: Key, own: Key | None
) -> bool:
    """Whether a row other than *own* has that *value*."""
    here, values = prepared.equal(group, value)
    rows = link.run(f"SELECT {prepared.listed} FROM {prepared.table} WHERE {here}", values)
    stored = [prepared.codec.peek(raw) for raw in rows]
    return any(own is None or prepared.collection.stored_key(each) != own for each in stored)


class References:
    """Finds the reference that a batch left broken, in the state after it."""

    def __init__(self, link: Link, tools: Tools) -> None:
        self._link = link
        self._tools = tools
        self._peers = tools.peers()

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
            prepared = self._tools.prepare(child)
            for reference in _to(collection, child):
                for stored in prepared.rows_referring(self._link, reference, key, most=1):
                    yield still_referenced(collection, key, child, child.stored_key(stored))

    def _dangling(self, collection: Collection, row: SealedRow) -> Iterator[QuantkeepError]:
        for reference in collection.references:
            key = collection.pick(reference.columns)(row.values)
            if None not in key and not self._is_stored(self._peers[reference.to], key):
                yield dangling(collection, reference, key)

    def _is_stored(self, collection: Collection, key: Key) -> bool:
        asked = self._tools.prepare(collection).get(key)
        return self._link.run(*asked).fetchone() is not None


def _to(collection: Collection, child: Collection) -> Iterator[Reference]:
    return (r for r in child.references if r.to == collection.name)
