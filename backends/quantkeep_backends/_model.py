"""A keep held in dictionaries: what the memory backend is, and what the JSON backend keeps of its
journal. Says in plain Python what a commit means; not safe for threads by itself.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from quantkeep.backend import Head
from quantkeep.batch import (
    Append,
    Batch,
    Delete,
    Expectation,
    Outcome,
    Put,
    Receipt,
    Require,
    Write,
)
from quantkeep.collection import Collection, Key, Reference, SealedRow, StoredRow
from quantkeep.columns import Row
from quantkeep.contract import (
    check_expectation,
    dangling,
    operation_conflict,
    still_referenced,
    stored_row,
    taken,
)
from quantkeep.query import Query, Tally, Where

Group = tuple[str, ...]


class Stored(NamedTuple):
    """An effect of a commit: this row is now the collection's."""

    collection: str
    row: StoredRow


class Removed(NamedTuple):
    """An effect of a commit: the row under this key is gone; its stream stays numbered."""

    collection: str
    key: Key


Effect = Stored | Removed


class Shelf:
    """The rows of one collection, and what its constraints need to know."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.rows: dict[Key, StoredRow] = {}
        self.heads: dict[Key, int] = {}
        self.streams: dict[Key, dict[int, Key]] = defaultdict(dict)  # of logs, by revision
        self.taken: dict[Group, dict[Key, Key]] = defaultdict(dict)

    def groups(self, row: tuple[Any, ...]) -> Iterator[tuple[Group, Key]]:
        """Each group of columns that must be unique, and what *row* has there."""
        collection = self.collection
        for group in collection.unique:
            yield group, collection.pick(group)(row)
        if collection.identity:
            identity = collection.identity_of(row)
            if None not in identity:
                yield ("", *collection.identity), (*collection.stream_of(row), *identity)

    def add(self, row: StoredRow) -> Key:
        """Put *row* in, minding heads and uniqueness; returns its key."""
        key = self.collection.stored_key(row)
        stream = self.collection.stream_of(row.values)
        self.rows[key] = row
        self.heads[stream] = max(self.heads.get(stream, 0), row.revision)
        if self.collection.log:
            self.streams[stream][row.revision] = key
        for group, value in self.groups(row.values):
            self.taken[group][value] = key
        return key

    def drop(self, key: Key) -> StoredRow:
        """Take the row under *key* out."""
        row = self.rows.pop(key)
        if self.collection.log:
            del self.streams[self.collection.stream_of(row.values)][row.revision]
        for group, value in self.groups(row.values):
            if self.taken[group].get(value) == key:
                del self.taken[group][value]
        return row


class Model:
    """Collections, operations, and the rules of a commit."""

    def __init__(self) -> None:
        self.shelves: dict[str, Shelf] = {}
        self.operations: dict[str, tuple[bytes, Receipt]] = {}
        self._undo: list[Callable[[], object]] = []
        self._effects: list[Effect] = []

    def ensure(self, collections: Sequence[Collection]) -> None:
        """Make room; a collection that gained columns keeps its rows, with nulls there."""
        for collection in collections:
            old = self.shelves.get(collection.name)
            if old is None or old.collection != collection:
                self.shelves[collection.name] = _moved(old, collection)

    # -- commits ---------------------------------------------------------------------------------

    def apply(self, batch: Batch, now: int) -> tuple[Receipt, list[Effect]]:
        """Apply all of *batch* or nothing; the effects say what changed, in order."""
        digest = batch.digest() if batch.op_id is not None else b""
        if batch.op_id in self.operations:
            return self._replayed(batch.op_id, digest), []
        self._undo, self._effects = [], []
        try:
            receipt = self._applied(batch, now)
        except BaseException:
            self.undo()
            raise
        if batch.op_id is not None:
            self.operations[batch.op_id] = (digest, receipt)
            self._undo.append(lambda op_id=batch.op_id: self.operations.pop(op_id))  # type: ignore[misc]  # bound now
        return receipt, self._effects

    def undo(self) -> None:
        """Take the last applied batch back: what it was to be written to has refused it."""
        for undo in reversed(self._undo):
            undo()
        self._undo = []

    def replay(self, effect: Effect) -> None:
        """Do again what another process did."""
        shelf = self.shelves[effect.collection]
        if isinstance(effect, Removed):
            shelf.drop(effect.key)
            return
        key = shelf.collection.stored_key(effect.row)
        if key in shelf.rows:
            shelf.drop(key)
        shelf.add(effect.row)

    def _replayed(self, op_id: str, digest: bytes) -> Receipt:
        known, receipt = self.operations[op_id]
        if known != digest:
            raise operation_conflict(op_id)
        return Receipt(receipt.outcomes, receipt.at, op_id, replayed=True)

    def _applied(self, batch: Batch, now: int) -> Receipt:
        outcomes = tuple(self._apply(write, now) for write in batch.writes)
        for effect in self._effects:
            self._check_removal(effect)
        for effect in self._effects:
            self._check_references(effect)
        return Receipt(outcomes, now, batch.op_id)

    def _apply(self, write: Write, now: int) -> Outcome:
        shelf = self.shelves[write.collection.name]
        match write:
            case Append():
                before = len(shelf.rows)
                revisions = [self._append(shelf, row, now) for row in self._given(write)]
                return Outcome(revisions, len(shelf.rows) - before)
            case Put(expect=expect):
                (row,) = self._given(write)
                return self._put(shelf, row, expect, now)
            case Delete(_, key, expect):
                return self._delete(shelf, key, expect)
            case Require(_, key, expect):
                check_expectation(shelf.collection, key, shelf.rows.get(key), expect)
                return Outcome()

    def _given(self, write: Put | Append) -> Iterable[SealedRow]:
        """The rows with the columns of the shelf: another program may have added some (Z-3)."""
        rows = (write.row,) if isinstance(write, Put) else write.rows
        arranged = _arranger(write.collection, self.shelves[write.collection.name].collection)
        return [row._replace(values=arranged(row.values)) for row in rows] if arranged else rows

    def _append(self, shelf: Shelf, row: SealedRow, now: int) -> int:
        collection = shelf.collection
        for group, value in shelf.groups(row.values):
            holder = shelf.taken[group].get(value)
            if holder is not None:
                known = shelf.rows[holder]
                if group[0] == "" and known.digest == row.digest:
                    return known.revision  # appended before: adds nothing
                raise taken(collection, value, group)
        revision = shelf.heads.get(collection.stream_of(row.values), 0) + 1
        self._store(shelf, stored_row(collection, row, revision, now))
        return revision

    def _put(self, shelf: Shelf, row: SealedRow, expect: Expectation, now: int) -> Outcome:
        collection = shelf.collection
        key = collection.key_of(row.values)
        known = shelf.rows.get(key)
        check_expectation(collection, key, known, expect)
        if known is not None and collection.immutable:
            if known.digest == row.digest:
                return Outcome((known.revision,), 0)
            raise taken(collection, key, collection.key)
        revision = shelf.heads.get(collection.stream_of(row.values), 0) + 1
        if known is not None:
            self._remove(shelf, key, said=False)
        for group, value in shelf.groups(row.values):
            if value in shelf.taken[group]:
                raise taken(collection, value, group)
        created = known.created_at if known else None
        self._store(shelf, stored_row(collection, row, revision, now, created))
        return Outcome((revision,), 0 if known else 1)

    def _delete(self, shelf: Shelf, key: Key, expect: Expectation) -> Outcome:
        check_expectation(shelf.collection, key, shelf.rows.get(key), expect)
        if key not in shelf.rows:
            return Outcome()
        self._remove(shelf, key)
        self._cascade(shelf.collection, key)
        return Outcome((), 1)

    def _store(self, shelf: Shelf, row: StoredRow) -> None:
        stream = shelf.collection.stream_of(row.values)
        before = shelf.heads.get(stream, 0)
        key = shelf.add(row)
        self._effects.append(Stored(shelf.collection.name, row))

        def undo() -> None:
            shelf.drop(key)
            shelf.heads[stream] = before
            if not before:
                del shelf.heads[stream]

        self._undo.append(undo)

    def _remove(self, shelf: Shelf, key: Key, *, said: bool = True) -> None:
        row = shelf.drop(key)
        if said:  # otherwise another row takes its place
            self._effects.append(Removed(shelf.collection.name, key))
        self._undo.append(lambda: shelf.add(row))

    # -- references, judged by the state after the batch -----------------------------------------

    def _check_removal(self, effect: Effect) -> None:
        """What was deleted, or went with it by a cascade, must not be referred to any more."""
        shelf = self.shelves[effect.collection]
        if isinstance(effect, Removed) and effect.key not in shelf.rows:
            self._check_unreferenced(shelf.collection, effect.key)

    def _check_references(self, effect: Effect) -> None:
        """What was stored, and not taken away again in the batch, must refer to what is there."""
        shelf = self.shelves[effect.collection]
        if isinstance(effect, Stored) and shelf.collection.references:
            row = effect.row
            if shelf.rows.get(shelf.collection.stored_key(row)) is row:
                self._check_targets(shelf.collection, row)

    def _check_targets(self, collection: Collection, row: StoredRow) -> None:
        for reference in collection.references:
            key = collection.pick(reference.columns)(row.values)
            if None not in key and key not in self.shelves[reference.to].rows:
                raise dangling(collection, reference, key)

    def _referring(self, name: str, key: Key) -> Iterator[tuple[Shelf, Reference, Key]]:
        for shelf in self.shelves.values():
            for reference in shelf.collection.references:
                if reference.to == name:
                    pick = shelf.collection.pick(reference.columns)
                    for row in [*shelf.rows.values()]:
                        if pick(row.values) == key:
                            yield shelf, reference, shelf.collection.stored_key(row)

    def _check_unreferenced(self, collection: Collection, key: Key) -> None:
        for shelf, _, other in self._referring(collection.name, key):
            raise still_referenced(collection, key, shelf.collection, other)

    def _cascade(self, collection: Collection, key: Key) -> None:
        for shelf, reference, other in [*self._referring(collection.name, key)]:
            if reference.on_delete == "cascade" and other in shelf.rows:
                self._remove(shelf, other)
                self._cascade(shelf.collection, other)

    def outcome(self, op_id: str) -> Receipt | None:
        """The receipt remembered under *op_id*."""
        known = self.operations.get(op_id)
        return known and Receipt(known[1].outcomes, known[1].at, op_id, replayed=True)

    # -- reads -----------------------------------------------------------------------------------

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        """The row under *key*."""
        row = self.shelves[collection.name].rows.get(key)
        return row and next(self._shown(collection, [row]))

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        """The rows the bound *query* asks for, of the state as it is now."""
        stream = self._pinned(collection, query)
        if stream is None:
            return query.run(collection, self.rows(collection), self.rows)
        rows = self._of_stream(collection, stream, newest_first=query.take == "last")
        if query.order:
            return query.run(collection, rows, self.rows)
        return self._in_order(collection, query, rows)

    def rows(self, collection: Collection) -> list[StoredRow]:
        """All rows, in no order."""
        return [*self._shown(collection, self.shelves[collection.name].rows.values())]

    def _shown(self, collection: Collection, rows: Iterable[StoredRow]) -> Iterator[StoredRow]:
        """The rows with the columns of *collection*, which may be an earlier form of the shelf."""
        arranged = _arranger(self.shelves[collection.name].collection, collection)
        if arranged is None:
            return iter(rows)
        return (row._replace(values=arranged(row.values)) for row in rows)

    def _pinned(self, collection: Collection, query: Query) -> Key | None:
        """The one stream of a log that *query* is about, if it says so."""
        if not collection.log:
            return None
        equal = {
            c.column: c.value
            for c in query.where
            if isinstance(c, Where) and c.operator == "==" and c.value is not None
        }
        stream = tuple(equal.get(name) for name in collection.stream)
        return None if None in stream else stream

    def _of_stream(
        self, collection: Collection, stream: Key, *, newest_first: bool
    ) -> Iterator[StoredRow]:
        shelf = self.shelves[collection.name]
        keys, head = shelf.streams.get(stream, {}), shelf.heads.get(stream, 0)
        revisions = range(head, 0, -1) if newest_first else range(1, head + 1)
        found = (shelf.rows[keys[revision]] for revision in revisions if revision in keys)
        return self._shown(collection, found)

    def _in_order(
        self, collection: Collection, query: Query, rows: Iterator[StoredRow]
    ) -> Iterator[StoredRow]:
        """A listing in the log's own order stops as soon as it has enough."""
        unlimited = Query(where=query.where)
        tests = unlimited.tests(collection, self.rows)
        found = (row for row in rows if all(test(row) for test in tests))
        if query.after is not None:
            last = query.after[-1]
            found = (row for row in found if row.revision > last)  # type: ignore[operator]  # of this log
        taken_rows = [*islice(found, query.limit)]  # now: commits may go on beside the reader
        return reversed(taken_rows) if query.take == "last" else iter(taken_rows)

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        """Answer the bound *tally*."""
        return tally.run(collection, self.rows(collection), self.rows)

    def heads(self, collection: Collection) -> list[Head]:
        """The head of each stream."""
        heads = self.shelves[collection.name].heads
        return [Head(stream, heads[stream]) for stream in sorted(heads, key=repr)]

    def sizes(self) -> Mapping[str, int]:
        """Rows by collection."""
        return {name: len(shelf.rows) for name, shelf in self.shelves.items()}


def _arranger(have: Collection, want: Collection) -> Callable[[Row], Row] | None:
    """What gives a row of *have* the columns of *want*; ``None``: they are the same."""
    if have.names == want.names:
        return None
    places = [have.places.get(name) for name in want.names]
    return lambda values: tuple([None if p is None else values[p] for p in places])


def _moved(old: Shelf | None, collection: Collection) -> Shelf:
    shelf = Shelf(collection)
    if old is None:
        return shelf
    arranged = _arranger(old.collection, collection)
    for row in old.rows.values():
        shelf.add(row._replace(values=arranged(row.values)) if arranged else row)
    shelf.heads.update(old.heads)
    return shelf
