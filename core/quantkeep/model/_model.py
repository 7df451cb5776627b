"""A whole keep in dictionaries: what the memory backend is, and what others keep of a journal.

Not safe for threads by itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from quantkeep.backend import Head
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.contract import operation_conflict
from quantkeep.model._effects import Effect, Removed
from quantkeep.model._packed import Packed, unpacked
from quantkeep.model._reading import listed, pinned_stream
from quantkeep.model._rules import Rules
from quantkeep.model._shelf import HeldShelf, arranger
from quantkeep.query import Query, Tally, sort_key


class _Step(NamedTuple):
    """What undoes one change: of a row that was stored, *head* is that of its stream before."""

    shelf: HeldShelf
    row: StoredRow
    head: int | None


class Model(Rules[HeldShelf]):
    """Collections, operations, and the rules of a commit, which is applied wholly or not at all.

    Attributes:
        shelves: by the name of their collection.
        operations: by operation id, the digest of its batch and its receipt.
    """

    shelves: dict[str, HeldShelf]

    def __init__(self) -> None:
        super().__init__({})
        self.operations: dict[str, tuple[bytes, Receipt]] = {}
        self._steps: list[_Step] = []
        self._remembered: str | None = None

    def ensure(self, collections: Sequence[Collection]) -> None:
        """Make room; a collection that gained columns keeps its rows, with nulls there."""
        for collection in collections:
            old = self.shelves.get(collection.name)
            if old is None:
                self.shelves[collection.name] = HeldShelf(collection)
            elif old.collection != collection:
                self.shelves[collection.name] = old.moved(collection)

    # -- commits ---------------------------------------------------------------------------------

    def apply(self, batch: Batch, now: int) -> tuple[Receipt, list[Effect]]:
        """Apply all of *batch* or nothing; the effects say what changed, in order."""
        digest = batch.digest() if batch.op_id is not None else b""
        if batch.op_id in self.operations:
            return self._replayed(batch.op_id, digest), []
        self._steps, self._remembered = [], None
        try:
            receipt, effects = super().apply(batch, now)
        except BaseException:
            self.undo()
            raise
        if batch.op_id is not None:
            self.operations[batch.op_id] = (digest, receipt)
            self._remembered = batch.op_id
        return receipt, effects

    def undo(self) -> None:
        """Take the last applied batch back: what it was to be written to has refused it."""
        while self._steps:
            shelf, row, head = self._steps.pop()
            if head is None:
                shelf.put_back(row)
            else:
                shelf.take_back(row, head)
        if self._remembered is not None:
            del self.operations[self._remembered]
            self._remembered = None

    def settle(self) -> None:
        """The last applied batch stays: let go of what would have undone it."""
        self._steps, self._remembered = [], None

    def replay(self, effect: Effect) -> None:
        """Do again what another process did; ``KeyError`` if it removes what is not there."""
        shelf = self.shelves[effect.collection]
        if isinstance(effect, Removed):
            shelf.drop(effect.key)
            return
        key = shelf.collection.stored_key(effect.row)
        if key in shelf.rows:
            shelf.drop(key)
        shelf.add(effect.row)

    def outcome(self, op_id: str) -> Receipt | None:
        """The receipt remembered under *op_id*."""
        known = self.operations.get(op_id)
        return known and Receipt(known[1].outcomes, known[1].at, op_id, replayed=True)

    def _replayed(self, op_id: str, digest: bytes) -> Receipt:
        known, receipt = self.operations[op_id]
        if known != digest:
            raise operation_conflict(op_id)
        return Receipt(receipt.outcomes, receipt.at, op_id, replayed=True)

    def _store(self, shelf: HeldShelf, row: StoredRow) -> None:
        self._steps.append(_Step(shelf, row, shelf.head(shelf.collection.stream_of(row.values))))
        super()._store(shelf, row)

    def _remove(self, shelf: HeldShelf, key: Key, *, said: bool = True) -> None:
        self._steps.append(_Step(shelf, shelf.rows[key], None))
        super()._remove(shelf, key, said=said)

    # -- reads -----------------------------------------------------------------------------------

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        """The row under *key*."""
        row = self.shelves[collection.name].row(key)
        return row and next(self._shown(collection, [row]))

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        """The rows the bound *query* asks for, of the state as it is now."""
        stream = pinned_stream(collection, query)
        if stream is None:
            return self._run(collection, query)
        if not query.order:
            revisions = self._by_revision(collection, stream, query)
        elif query.limit is not None and query.after is None:
            revisions = self._by_order(collection, stream, query)
        else:
            return self._run(collection, query, stream)
        rows = self._found(collection, stream, revisions)
        # Read now: commits may go on beside the reader.
        return iter([*listed(collection, query, rows, self.rows)])

    def _run(
        self, collection: Collection, query: Query, stream: Key | None = None
    ) -> Iterator[StoredRow]:
        """Answer *query* from all rows there are (in *stream*), in whatever order."""
        packed = self._packed(collection, stream)
        if query.limit is not None or query.after is not None:
            return query.run(collection, self._unpacked(collection, packed), self.rows)
        tests = query.tests(collection, self.rows)
        key = sort_key(collection, query.ordering(collection))
        rows = zip(self._unpacked(collection, packed), packed, strict=True)
        found = [(key(row), data) for row, data in rows if all(test(row) for test in tests)]
        found.sort(key=itemgetter(0))
        return self._unpacked(collection, (data for _, data in found))

    def rows(self, collection: Collection) -> list[StoredRow]:
        """All rows, in no order."""
        return [*self._unpacked(collection, self._packed(collection))]

    def _packed(self, collection: Collection, stream: Key | None = None) -> list[Packed]:
        """The rows as they are now: what commits change later is not in it."""
        return self.shelves[collection.name].rows.packed(stream)

    def _unpacked(self, collection: Collection, packed: Iterable[Packed]) -> Iterator[StoredRow]:
        return self._shown(collection, map(unpacked, packed))

    def _shown(self, collection: Collection, rows: Iterable[StoredRow]) -> Iterator[StoredRow]:
        """The rows with the columns of *collection*, which may be an earlier form of the shelf."""
        arranged = arranger(self.shelves[collection.name].collection, collection)
        if arranged is None:
            return iter(rows)
        return (row._replace(values=arranged(row.values)) for row in rows)

    def _by_revision(
        self, collection: Collection, stream: Key, query: Query | None = None
    ) -> Iterable[int]:
        """Revisions of one stream; the newest first if *query* takes the last ones."""
        head = self.shelves[collection.name].head(stream)
        last = query is not None and query.take == "last"
        return range(head, 0, -1) if last else range(1, head + 1)

    def _by_order(self, collection: Collection, stream: Key, query: Query) -> Iterable[int]:
        """The same in the order that *query* asks for."""
        shelf = self.shelves[collection.name]
        sort = sort_key(shelf.collection, query.ordering(shelf.collection))
        order = shelf.ordered(stream, query.order, sort)
        return order.revisions(backwards=query.take == "last")

    def _found(
        self, collection: Collection, stream: Key, revisions: Iterable[int]
    ) -> Iterator[StoredRow]:
        rows = self.shelves[collection.name].stream(stream)
        found = (rows[revision] for revision in revisions if revision in rows)
        return self._shown(collection, found)

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        """Answer the bound *tally*."""
        rows = self._unpacked(collection, self._packed(collection))
        return tally.run(collection, rows, self.rows)

    def heads(self, collection: Collection) -> list[Head]:
        """The head of each stream."""
        heads = self.shelves[collection.name].heads
        return [Head(stream, heads[stream]) for stream in sorted(heads, key=repr)]

    def sizes(self) -> Mapping[str, int]:
        """Rows by collection."""
        return {name: len(shelf.rows) for name, shelf in self.shelves.items()}
