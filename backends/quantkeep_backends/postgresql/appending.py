"""Entries of logs on their way into a table, inside a transaction."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import psycopg

from quantkeep.batch import Outcome
from quantkeep.collection import SealedRow
from quantkeep.contract import taken
from quantkeep.errors import QuantkeepError
from quantkeep_backends.postgresql.complaints import explain_row
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.copying import Copier
from quantkeep_backends.postgresql.ground import Ground, Known
from quantkeep_backends.postgresql.needs import FEW
from quantkeep_backends.postgresql.prepared import Prepared
from quantkeep_backends.postgresql.statements import Waiting

_CHUNK: Final = 5_000  # entries that are looked up at once


class Appending:
    """Appends, one by one, or as a stream of bytes (COPY) where they are many.

    Many are copied as if all were new; only where a constraint says that they are not does the
    whole begin again, with care, by looking each chunk up before it is copied.
    """

    def __init__(self, link: Link, ground: Ground, waiting: Waiting, *, careful: bool) -> None:
        self._link = link
        self._ground = ground
        self._waiting = waiting
        self._careful = careful

    def append(self, prepared: Prepared, rows: Iterable[SealedRow]) -> Outcome:
        """Add *rows*; those whose identity is there already add nothing."""
        if isinstance(rows, list | tuple) and len(rows) <= FEW:
            if self._careful:
                self._ground.look_up(prepared, rows)
            return self._few(prepared, rows)
        if not self._careful:
            self._waiting.flush()
            self._ground.forget(prepared.collection)
            return Copier(self._link, self._ground, prepared).copy_all(rows)
        return self._many_with_care(prepared, rows)

    # -- few -------------------------------------------------------------------------------------

    def _few(self, prepared: Prepared, rows: Sequence[SealedRow]) -> Outcome:
        revisions, added = [], 0
        for row in rows:
            known = self._appended(prepared, row)
            added += known is None
            revisions.append(self._add(prepared, row) if known is None else known)
        return Outcome(revisions, added)

    def _add(self, prepared: Prepared, row: SealedRow) -> int:
        revision = self._number(prepared, row)
        values = prepared.codec.entry(row, revision, self._ground.now)
        self._waiting.add(
            prepared.insert,
            values,
            lambda error: explain_row(self._link, prepared, row, None, error),
        )
        return revision

    def _number(self, prepared: Prepared, row: SealedRow) -> int:
        """The revision of a new entry, whose identity is known from now on."""
        collection = prepared.collection
        key = collection.stream_of(row.values)
        stream = self._ground.stream(collection, key)
        stream.head += 1
        identity = prepared.identity_of(row.values)
        if identity is not None:
            self._ground.entries[collection.name, key, identity] = (stream.head, row.digest)
        now = Known(stream.head, self._ground.now, row.digest, None)
        self._ground.rows[collection.name, (*key, stream.head)] = now
        return stream.head

    def _appended(self, prepared: Prepared, row: SealedRow) -> int | None:
        """The revision of the entry that is there already, if it is."""
        collection = prepared.collection
        identity = prepared.identity_of(row.values)
        if identity is None:
            return None
        stream = collection.stream_of(row.values)
        found = self._ground.entries.get((collection.name, stream, identity))
        if found is None:
            return None
        if found[1] != row.digest:
            raise taken(collection, (*stream, *identity), collection.identity)
        return found[0]

    # -- many, of which some may be there already -------------------------------------------------

    def _many_with_care(self, prepared: Prepared, rows: Iterable[SealedRow]) -> Outcome:
        revisions: list[int] = []
        added = 0
        left = iter(rows)
        while chunk := [*islice(left, _CHUNK)]:
            fresh = [*self._fresh(prepared, chunk, revisions)]
            added += len(fresh)
            self._copy(prepared, fresh)
        return Outcome(revisions, added)

    def _fresh(
        self, prepared: Prepared, chunk: Sequence[SealedRow], revisions: list[int]
    ) -> Iterator[tuple[SealedRow, int]]:
        """Those of *chunk* that are new, each with its revision."""
        if prepared.collection.identity:
            self._ground.look_up(prepared, chunk)
        for row in chunk:
            known = self._appended(prepared, row)
            if known is None:
                known = self._number(prepared, row)
                yield row, known
            revisions.append(known)

    def _copy(self, prepared: Prepared, fresh: Sequence[tuple[SealedRow, int]]) -> None:
        def explain(error: psycopg.Error) -> QuantkeepError:
            complaints = (
                explain_row(self._link, prepared, row, None, error, sure=False) for row, _ in fresh
            )
            found = next(filter(None, complaints), None)
            return found or explain_row(self._link, prepared, fresh[0][0], None, error)

        copier = Copier(self._link, self._ground, prepared)
        if fresh:
            self._waiting.guarded(lambda: copier.copy(fresh), explain)
