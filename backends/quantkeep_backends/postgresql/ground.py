"""What a commit stands on: the locks it takes before it writes, and what it reads under them."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import attrs

from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, SealedRow, StoredRow
from quantkeep.contract import regressed
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.exchange import Answer
from quantkeep_backends.postgresql.many import known_many, packed_keys
from quantkeep_backends.postgresql.needs import GONE, Needs
from quantkeep_backends.postgresql.prepared import Prepared
from quantkeep_backends.postgresql.rows import microseconds_sql
from quantkeep_backends.postgresql.streams import Seen
from quantkeep_backends.postgresql.tools import Tools

_CLOCK: Final = f"SELECT {microseconds_sql('clock_timestamp()')}"


class Known(NamedTuple):
    """What is stored under a key."""

    revision: int
    created_at: int
    digest: bytes
    token: int | None

    def as_stored(self, collection: Collection) -> StoredRow:
        """As much of the record as preconditions are held against."""
        values: list[Any] = [None] * len(collection.columns)
        if "token" in collection.places:
            values[collection.places["token"]] = self.token
        return StoredRow(tuple(values), self.revision, self.created_at, 0, 0, self.digest)


@attrs.define
class Stream:
    """A stream whose lock is held."""

    collection: Collection
    key: Key
    head: int
    stored: int  # the head as it is in the database


class _Asked(NamedTuple):
    """A head that was asked for, and how far it had been seen to have come by then.

    If the server fails, the lock is gone before the answer is read, and others may go on.
    """

    collection: Collection
    key: Key
    seen: int
    cursor: Answer


@attrs.define
class Ground:
    """See the top of this module."""

    link: Link
    tools: Tools
    seen: Seen
    now: int = 0
    streams: dict[tuple[str, Key], Stream] = attrs.field(factory=dict)
    rows: dict[tuple[str, Key], Known | None] = attrs.field(factory=dict)
    entries: dict[tuple[str, Key, Key], tuple[int, bytes]] = attrs.field(factory=dict)

    def take(self, batch: Batch, digest: bytes) -> Receipt | None:
        """Begin, and take all locks; the receipt, if *batch* was applied before."""
        needs, operation = Needs.of(batch), None
        with self.link.together():
            self.link.begin()
            if needs.copies:
                self.link.take_time()
            if batch.op_id is not None:
                operation = self.tools.operations.lock(self.link, batch.op_id)
            for name in sorted(needs.tables):
                table = self.tools.engine.table(name)
                self.link.send(f"LOCK TABLE {table} IN SHARE MODE")
            heads = [self._ask_for_head(*place) for place in needs.in_order()]
            clock = self.link.queue(_CLOCK)
            rows = [*self._ask_for_rows(needs)]
            entries = [*self._ask_for_entries(needs)]
        if batch.op_id is not None and operation is not None:
            receipt = self.tools.operations.replayed(operation, batch.op_id, digest)
            if receipt is not None:
                return receipt
        self.now = _one(clock)[0]
        for asked in rows:
            self._note_rows(*asked)
        for found in entries:
            self._note(*found)
        self._hold(heads)
        return None

    # -- streams ---------------------------------------------------------------------------------

    def _ask_for_head(self, collection: Collection, key: Key) -> _Asked:
        seen = self.seen.head(collection, key)
        return _Asked(collection, key, seen, self.tools.heads.lock(self.link, collection, key))

    def _hold(self, heads: Iterable[_Asked]) -> None:
        missing = []
        for collection, key, seen, cursor in heads:
            found = cursor.fetchone()
            if found is None:
                missing.append((collection, key))
            else:
                self._held(collection, key, seen, found[0])
        for collection, key in missing:
            self.stream(collection, key)

    def _held(self, collection: Collection, key: Key, seen: int, head: int) -> Stream:
        if head < seen:
            raise regressed(collection, key, seen, head)
        stream = Stream(collection, key, head, head)
        self.streams[collection.name, key] = stream
        return stream

    def find(self, collection: Collection, key: Key) -> Stream | None:
        """A stream whose lock is held already."""
        return self.streams.get((collection.name, key))

    def stream(self, collection: Collection, key: Key) -> Stream:
        """A stream whose lock is held from now on."""
        found = self.find(collection, key)
        if found is None:
            seen = self.seen.head(collection, key)
            head = self.tools.heads.add(self.link, collection, key)
            found = self._held(collection, key, seen, head)
        return found

    # -- rows ------------------------------------------------------------------------------------

    def _ask_for_rows(self, needs: Needs) -> Iterator[tuple[Collection, Sequence[Key], Answer]]:
        """One by one, or together where they are many."""
        for (collection, lock), keys in needs.alike().items():
            prepared = self.tools.prepare(collection)
            many = prepared.once(("known", lock), partial(known_many, prepared, lock))
            together = packed_keys(prepared, many, keys) if self.link.speaks_utf8 else None
            if together is not None:
                yield collection, keys, self.link.queue(many.sql, together)
                continue
            for key in keys:
                yield collection, (key,), self.link.queue(*prepared.known(key, lock))

    def _note_rows(self, collection: Collection, keys: Sequence[Key], cursor: Answer) -> None:
        places = {(collection.name, key): None for key in keys}
        self.rows.update(places)
        found = cursor.fetchall()
        if len(keys) == 1:
            found = [(1, *row) for row in found]
        for place, *row in found:
            self.rows[collection.name, keys[place - 1]] = Known(*row)

    def known(self, prepared: Prepared, key: Key) -> Known | None:
        """What is stored under *key*, locked."""
        place = (prepared.collection.name, key)
        if place not in self.rows:
            self.rows[place] = _known(self.link.run(*prepared.known(key, GONE)))
        return self.rows[place]

    def forget(self, collection: Collection) -> None:
        """Its rows are about to change, and will have to be read again."""
        for place in [place for place in self.rows if place[0] == collection.name]:
            del self.rows[place]

    # -- entries of logs ---------------------------------------------------------------------------

    def _ask_for_entries(self, needs: Needs) -> Iterator[tuple[Collection, Key, list[Key], Answer]]:
        for (_, stream), (collection, identities) in needs.entries.items():
            prepared = self.tools.prepare(collection)
            asked = prepared.identified(stream, prepared.identities_text(identities))
            yield collection, stream, identities, self.link.queue(*asked)

    def look_up(self, prepared: Prepared, rows: Iterable[SealedRow]) -> None:
        """Find out which of *rows* were appended before."""
        needs = Needs()
        for row in rows:
            needs.entry(prepared.collection, row)
        with self.link.together():
            asked = [*self._ask_for_entries(needs)]
        for collection, stream, identities, cursor in asked:
            self._note(collection, stream, identities, cursor)

    def _note(
        self, collection: Collection, stream: Key, identities: list[Key], cursor: Answer
    ) -> None:
        for place, revision, digest in cursor:
            self.entries[collection.name, stream, identities[place - 1]] = (revision, digest)


def _one(cursor: Answer) -> tuple[Any, ...]:
    found = cursor.fetchone()
    assert found is not None
    return found


def _known(cursor: Answer) -> Known | None:
    found = cursor.fetchone()
    return None if found is None else Known(*found)
