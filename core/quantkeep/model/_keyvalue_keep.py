"""A whole keep in an ordered key-value store, as one transaction sees it."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache

from quantkeep import schema
from quantkeep.backend import Backdoor, Head
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.contract import flipped, replayed
from quantkeep.errors import Corrupt
from quantkeep.model._keyvalue import KeyValue, KeyValueShelf
from quantkeep.model._packing import hashed, pack, unpack
from quantkeep.model._reading import listed, pinned_stream
from quantkeep.model._rules import Rules
from quantkeep.query import Query

_DESCRIPTION, _STATE = b"k.description", b"k.state"
_OPERATION, _BLOB = b"o", b"b"
_understood = lru_cache(maxsize=8)(schema.understand)


class KeyValueKeep:
    """What a backend does, but for transactions, locks, errors and the clock.

    Every method works inside *engine*, one transaction: whoever began it commits it where a method
    that writes returns, and rolls it back where it raises. Before it is committed, whoever wrote
    calls :meth:`count_write`. Make one for each transaction: it holds nothing of its own.
    """

    def __init__(self, engine: KeyValue) -> None:
        self._engine = engine

    def state(self) -> tuple[str, int]:
        """Which keep this is, and how often it was written to; ``("", 0)`` before the first time.

        A handle that remembers the last one it saw knows that an older backup was put under it:
        another identity, or a lower count. Identities have no order; compare them for equality.
        Take what was remembered before a snapshot begins: what another thread sees meanwhile may
        be newer. Remember your own writes too, once they are committed.
        """
        identity, writes = unpack(self._engine.get(_STATE) or pack("", 0))
        return str(identity), int(writes)  # type: ignore[arg-type]  # a count

    def count_write(self) -> None:
        """Raise the count of :meth:`state`; once in each transaction that writes."""
        identity, writes = self.state()
        self._engine.put(_STATE, pack(identity or str(uuid.uuid4()), writes + 1))

    # -- collections -----------------------------------------------------------------------------

    def description(self) -> str | None:
        """As :meth:`Backend.description`."""
        said = self._engine.get(_DESCRIPTION)
        return None if said is None else said.decode()

    def shelf(self, collection: Collection) -> KeyValueShelf:
        """The rows of *collection*, in its form."""
        return KeyValueShelf(collection, self._engine)

    def shelves(self) -> dict[str, KeyValueShelf]:
        """All there are, in the form in which they are stored."""
        said = self.description()
        return {c.name: self.shelf(c) for c in (_understood(said) if said else ())}

    def ensure(self, description: str) -> None:
        """As :meth:`Backend.ensure`; what others have added in between is kept."""
        before = self.shelves()
        stored = [shelf.collection for shelf in before.values()]
        merged = schema.merge(schema.understand(description), stored)
        for collection in merged:
            if collection.name in before:
                before[collection.name].relinked(collection)
        self._engine.put(_DESCRIPTION, schema.describe(merged).encode())

    # -- commits ---------------------------------------------------------------------------------

    def commit(self, batch: Batch, now: int) -> Receipt:
        """As :meth:`Backend.commit`."""
        if batch.op_id is not None and (known := self._engine.get(_operation(batch.op_id))):
            return replayed(batch.op_id, batch.digest(), *_remembered(known, batch.op_id))
        applied, _ = Rules(self.shelves()).apply(batch, now)
        if batch.op_id is not None:
            digest = batch.digest()
            said = pack(digest, applied.to_json(digest), batch.op_id)
            self._engine.put(_operation(batch.op_id), said)
        return applied

    def outcome(self, op_id: str) -> Receipt | None:
        """As :meth:`Backend.outcome`."""
        known = self._engine.get(_operation(op_id))
        return None if known is None else _receipt(known, op_id)

    def check(self) -> list[str]:
        """As :meth:`Backend.check`: what of the receipts was changed behind the keep's back."""
        return [*self._complaints()]

    def _complaints(self) -> Iterator[str]:
        for place, known in self._engine.range(_OPERATION):
            try:
                op_id = _op_id(known)
                _receipt(known, op_id)
            except Corrupt as error:
                yield str(error)
            else:
                if op_id and _operation(op_id) != place:
                    yield f"the receipt of operation {op_id!r} is in the place of another"

    def flip_receipt(self, op_id: str) -> None:
        """As :meth:`Backdoor.flip_receipt`."""
        digest, text = _remembered(self._engine.get(_operation(op_id)) or pack(b"", ""), op_id)
        at = text.rindex(",") - 1  # behind it is the last number of all
        changed = text[:at] + str(flipped(text[at:]))
        self._engine.put(_operation(op_id), pack(digest, changed, op_id))

    # -- reads -----------------------------------------------------------------------------------

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        """As :meth:`Backend.scan`, while the transaction lasts."""
        shelf, stream = self.shelf(collection), pinned_stream(collection, query)
        if stream is not None and not query.order:
            rows = shelf.stream(stream, newest_first=query.take == "last")
            return listed(collection, query, rows, self._rows)
        return query.run(collection, shelf.rows(), self._rows)

    def _rows(self, collection: Collection) -> Iterator[StoredRow]:
        return self.shelf(collection).rows()

    def heads(self, collection: Collection) -> list[Head]:
        """As :meth:`Backend.heads`."""
        return [Head(*head) for head in sorted(self.shelf(collection).heads(), key=repr)]

    def sizes(self) -> Mapping[str, int]:
        """As :meth:`Backend.sizes`, without the bytes."""
        return {name: shelf.count() for name, shelf in self.shelves().items()}

    # -- blobs -----------------------------------------------------------------------------------

    def put_blob(self, digest: str, data: bytes, now: int) -> None:
        """As :meth:`Backend.put_blob`."""
        self._engine.put(_BLOB + digest.encode(), now.to_bytes(8) + data)

    def open_blob(self, digest: str) -> bytes | None:
        """As :meth:`Backend.open_blob`."""
        found = self._engine.get(_BLOB + digest.encode())
        return None if found is None else found[8:]

    def delete_blob(self, digest: str, staged_before: int | None) -> None:
        """As :meth:`Backend.delete_blob`."""
        found = self._engine.get(_BLOB + digest.encode())
        if found and (staged_before is None or int.from_bytes(found[:8]) < staged_before):
            self._engine.delete(_BLOB + digest.encode())

    def blobs(self) -> list[tuple[str, int]]:
        """As :meth:`Backend.list_blobs`."""
        every = self._engine.range(_BLOB)
        return [(name[1:].decode(), int.from_bytes(said[:8])) for name, said in every]


class KeyValueBackdoor(Backdoor):
    """As :meth:`Backend.backdoor`; *writing* begins a transaction, and commits it at its end."""

    def __init__(self, writing: Callable[[], AbstractContextManager[KeyValueKeep]]) -> None:
        self._writing = writing

    def flip(self, collection: Collection, key: Key, column: str) -> None:
        with self._writing() as keep:
            keep.shelf(collection).flip(key, column)

    def remove(self, collection: Collection, key: Key) -> None:
        with self._writing() as keep:
            keep.shelf(collection).erase(key)

    def flip_receipt(self, op_id: str) -> None:
        with self._writing() as keep:
            keep.flip_receipt(op_id)


def _operation(op_id: str) -> bytes:
    return _OPERATION + hashed(op_id)
