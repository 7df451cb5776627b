"""Which reference a batch left broken. Asked only after the database said that there is one."""

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence

from quantkeep.batch import Append, Batch, Put
from quantkeep.collection import Collection, Key, Reference, SealedRow, StoredRow
from quantkeep.contract import dangling, still_referenced
from quantkeep.errors import InvalidReference, QuantkeepError


class References(abc.ABC):
    """Finds the reference that a batch left broken, in the state after it.

    Args:
        peers: every collection of the keep, by name.
    """

    def __init__(self, peers: Mapping[str, Collection]) -> None:
        self._peers = peers

    @abc.abstractmethod
    def is_stored(self, collection: Collection, key: Key) -> bool:
        """Whether there is such a record, or entry."""

    @abc.abstractmethod
    def referring(self, child: Collection, reference: Reference, key: Key) -> Iterable[StoredRow]:
        """A row of *child* whose *reference* is *key*, if there is any."""

    def explain(self, batch: Batch, removed: Sequence[tuple[Collection, Key]]) -> QuantkeepError:
        """The first reference that does not hold, after *batch* and all it *removed*."""
        for found in self._broken(batch, removed):
            return found
        return InvalidReference("a reference would be left to what is not stored")

    def _broken(
        self, batch: Batch, removed: Sequence[tuple[Collection, Key]]
    ) -> Iterator[QuantkeepError]:
        for collection, key in removed:
            if not self.is_stored(collection, key):
                yield from self._left(collection, key)
        for write in batch.writes:
            if isinstance(write, Put | Append) and write.collection.references:
                for row in [write.row] if isinstance(write, Put) else write.rows:
                    yield from self._dangling(write.collection, row)

    def _left(self, collection: Collection, key: Key) -> Iterator[QuantkeepError]:
        for child in self._peers.values():
            for reference in child.references:
                if reference.to == collection.name:
                    for stored in self.referring(child, reference, key):
                        yield still_referenced(collection, key, child, child.stored_key(stored))

    def _dangling(self, collection: Collection, row: SealedRow) -> Iterator[QuantkeepError]:
        for reference in collection.references:
            key = collection.pick(reference.columns)(row.values)
            if None not in key and not self.is_stored(self._peers[reference.to], key):
                yield dangling(collection, reference, key)
