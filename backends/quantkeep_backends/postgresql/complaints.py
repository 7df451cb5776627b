"""Why a constraint said no. Asked only after it did: a write that is right pays nothing."""

from collections.abc import Sequence
from typing import Literal, overload

import psycopg

from quantkeep.collection import Collection, Key, Reference, SealedRow, StoredRow
from quantkeep.contract import taken
from quantkeep.errors import Busy, InvalidValue, QuantkeepError
from quantkeep_backends._sql.references import References
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


class PostgresqlReferences(References):
    """Looks over a link, inside the transaction that is to be refused."""

    def __init__(self, link: Link, tools: Tools) -> None:
        super().__init__(tools.peers())
        self._link = link
        self._tools = tools

    def is_stored(self, collection: Collection, key: Key) -> bool:
        asked = self._tools.prepare(collection).get(key)
        return self._link.run(*asked).fetchone() is not None

    def referring(self, child: Collection, reference: Reference, key: Key) -> list[StoredRow]:
        return self._tools.prepare(child).rows_referring(self._link, reference, key, most=1)
