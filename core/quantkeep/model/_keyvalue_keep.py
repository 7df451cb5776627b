"""A whole keep in an ordered key-value store, as one transaction sees it."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache

from quantkeep import schema
from quantkeep.backend import Backdoor, Head
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.model._keyvalue import KeyValue, KeyValueShelf
from quantkeep.model._operations import KeyValueOperations
from quantkeep.model._packing import pack, unpack
from quantkeep.model._reading import listed, pinned_stream
from quantkeep.model._rules import Rules
from quantkeep.query import Query

_DESCRIPTION, _STATE = b"k.description", b"k.state"
_BLOB = b"b"
_understood = lru_cache(maxsize=8)(schema.understand)


class KeyValueKeep:
    """What a backend does, but for transactions, locks, errors and the clock.

    Every method works inside *engine*, one transaction: whoever began it commits it where a method
    that writes returns, and rolls it back where it raises. Before it is committed, whoever wrote
    calls :meth:`count_write`. Make one for each transaction: it holds nothing of its own.

    Attributes:
        operations: operation ids, and what was answered under them.
    """

    def __init__(self, engine: KeyValue) -> None:
        self._engine = engine
        self.operations = KeyValueOperations(engine)

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
        return None if said is None else said.decode(errors="replace")  # a checksum is in it

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
        if batch.op_id is None:
            return self._applied(batch, now)
        digest = batch.digest()
        known = self.operations.replayed(batch.op_id, digest)
        if known is not None:
            return known
        receipt = self._applied(batch, now)
        self.operations.remember(batch.op_id, digest, receipt)
        return receipt

    def _applied(self, batch: Batch, now: int) -> Receipt:
        receipt, _ = Rules(self.shelves()).apply(batch, now)
        return receipt

    def outcome(self, op_id: str) -> Receipt | None:
        """As :meth:`Backend.outcome`."""
        return self.operations.outcome(op_id)

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

    def check(self) -> list[str]:
        """As :meth:`Backend.check`: which receipts were changed behind the keep's back."""
        return [*self.operations.complaints()]

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
            keep.operations.flip(op_id)
