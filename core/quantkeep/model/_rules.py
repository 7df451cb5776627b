"""What a commit means, over any shelves."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

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
from quantkeep.contract import check_expectation, dangling, still_referenced, stored_row, taken
from quantkeep.model._effects import Effect, Removed, Stored
from quantkeep.model._shelf import Shelf, arranger

S = TypeVar("S", bound=Shelf)


class Rules(Generic[S]):
    """Applies batches to shelves. What a refused batch had changed by then stays: roll it back.

    Attributes:
        shelves: by the name of their collection; all that may refer to each other.
    """

    def __init__(self, shelves: Mapping[str, S]) -> None:
        self.shelves = shelves
        self._effects: list[Effect] = []

    def apply(self, batch: Batch, now: int) -> tuple[Receipt, list[Effect]]:
        """Apply *batch* at the instant *now*; the effects say what changed, in order.

        Operation ids are the caller's: whether the batch was applied before is asked first.

        Raises:
            Conflict, StaleOwner, InvalidReference: a precondition or constraint does not hold.
        """
        self._effects = []
        outcomes = tuple(self._apply(write, now) for write in batch.writes)
        for effect in self._effects:
            self._check_removal(effect)
        for effect in self._effects:
            self._check_references(effect)
        effects, self._effects = self._effects, []
        return Receipt(outcomes, now, batch.op_id), effects

    # -- writes ----------------------------------------------------------------------------------

    def _apply(self, write: Write, now: int) -> Outcome:
        shelf = self.shelves[write.collection.name]
        match write:
            case Append():
                return self._append_all(shelf, write, now)
            case Put(expect=expect):
                (row,) = self._given(write)
                return self._put(shelf, row, expect, now)
            case Delete(_, key, expect):
                return self._delete(shelf, key, expect)
            case Require(_, key, expect):
                check_expectation(shelf.collection, key, shelf.row(key), expect)
                return Outcome()

    def _given(self, write: Put | Append) -> Iterable[SealedRow]:
        """The rows with the columns of the shelf: another program may have added some (Z-3)."""
        rows = (write.row,) if isinstance(write, Put) else write.rows
        arranged = arranger(write.collection, self.shelves[write.collection.name].collection)
        return [row._replace(values=arranged(row.values)) for row in rows] if arranged else rows

    def _append_all(self, shelf: S, write: Append, now: int) -> Outcome:
        before = len(self._effects)
        revisions = [self._append(shelf, row, now) for row in self._given(write)]
        return Outcome(revisions, len(self._effects) - before)

    def _append(self, shelf: S, row: SealedRow, now: int) -> int:
        collection = shelf.collection
        for group, value in shelf.groups(row.values):
            holder = shelf.holder(group, value)
            known = None if holder is None else shelf.row(holder)
            if known is not None:
                if group[0] == "" and known.digest == row.digest:
                    return known.revision  # appended before: adds nothing
                raise taken(collection, value, group)
        revision = shelf.head(collection.stream_of(row.values)) + 1
        self._store(shelf, stored_row(collection, row, revision, now))
        return revision

    def _put(self, shelf: S, row: SealedRow, expect: Expectation, now: int) -> Outcome:
        collection = shelf.collection
        key = collection.key_of(row.values)
        known = shelf.row(key)
        check_expectation(collection, key, known, expect)
        if known is not None and collection.immutable:
            if known.digest == row.digest:
                return Outcome((known.revision,), 0)
            raise taken(collection, key, collection.key)
        revision = shelf.head(collection.stream_of(row.values)) + 1
        if known is not None:
            self._remove(shelf, key, said=False)
        for group, value in shelf.groups(row.values):
            if shelf.holder(group, value) is not None:
                raise taken(collection, value, group)
        created = known.created_at if known else None
        self._store(shelf, stored_row(collection, row, revision, now, created))
        return Outcome((revision,), 0 if known else 1)

    def _delete(self, shelf: S, key: Key, expect: Expectation) -> Outcome:
        known = shelf.row(key)
        check_expectation(shelf.collection, key, known, expect)
        if known is None:
            return Outcome()
        self._remove(shelf, key)
        self._cascade(shelf.collection, key)
        return Outcome((), 1)

    def _store(self, shelf: S, row: StoredRow) -> None:
        shelf.add(row)
        self._effects.append(Stored(shelf.collection.name, row))

    def _remove(self, shelf: S, key: Key, *, said: bool = True) -> None:
        shelf.drop(key)
        if said:  # otherwise another row takes its place
            self._effects.append(Removed(shelf.collection.name, key))

    # -- references, judged by the state after the batch -----------------------------------------

    def _check_removal(self, effect: Effect) -> None:
        """What was deleted, or went with it by a cascade, must not be referred to any more."""
        if isinstance(effect, Removed):
            shelf = self.shelves[effect.collection]
            if shelf.row(effect.key) is None:
                self._check_unreferenced(shelf.collection, effect.key)

    def _check_references(self, effect: Effect) -> None:
        """What was stored, and not taken away again in the batch, must refer to what is there."""
        shelf = self.shelves[effect.collection]
        if isinstance(effect, Stored) and shelf.collection.references:
            row = effect.row
            known = shelf.row(shelf.collection.stored_key(row))
            if known is not None and known.revision == row.revision:
                self._check_targets(shelf.collection, row)

    def _check_targets(self, collection: Collection, row: StoredRow) -> None:
        for reference in collection.references:
            key = collection.pick(reference.columns)(row.values)
            if None not in key and self.shelves[reference.to].row(key) is None:
                raise dangling(collection, reference, key)

    def _referring(self, name: str, key: Key) -> Iterator[tuple[S, Reference, Key]]:
        for shelf in self.shelves.values():
            for reference in shelf.collection.references:
                if reference.to == name:
                    for other in [*shelf.referring(reference.columns, key)]:
                        yield shelf, reference, other

    def _check_unreferenced(self, collection: Collection, key: Key) -> None:
        for shelf, _, other in self._referring(collection.name, key):
            raise still_referenced(collection, key, shelf.collection, other)

    def _cascade(self, collection: Collection, key: Key) -> None:
        for shelf, reference, other in [*self._referring(collection.name, key)]:
            if reference.on_delete == "cascade" and shelf.row(other) is not None:
                self._remove(shelf, other)
                self._cascade(shelf.collection, other)
