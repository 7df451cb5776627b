"""What the five stores share: tables on one backend, and one way to commit."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar

import attrs

from quantkeep.batch import Batch, Put, Receipt, Write
from quantkeep.collection import Collection, Key, Reference, SealedRow, StoredRow
from quantkeep.contract import dangling
from quantkeep.errors import Conflict, InvalidRecord, NotFound, OutcomeUnknown, Unsupported
from quantkeep.guard import GuardedBackend
from quantkeep.hosts import Hosts
from quantkeep.records import Record
from quantkeep.table import Table

R = TypeVar("R", bound=Record)

_TRIES: Final = 16  # of a commit, each lost to another writer


@attrs.frozen
class Home:
    """Where a store lives: its backend, the collections there, the host types of the keep."""

    backend: GuardedBackend
    collections: Mapping[str, Collection]
    hosts: Hosts

    def table(self, record: type[R]) -> Table[R]:
        """The table of *record*, in the form this keep has of it (extensions included)."""
        name = record.collection.name
        if name not in self.collections:
            raise InvalidRecord(f"{name!r} is not in this keep: open it with records=[...]")
        return Table(self.collections[name], self.backend, self.hosts)


class Part(Protocol):
    """What joins a batch with writes that depend on what else is in it."""

    def writes(self, gathered: Sequence[Write]) -> Sequence[Write]:
        """Its writes, made when the batch is committed; they stand behind all that was gathered."""

    def revise(self, backend: GuardedBackend) -> bool:
        """Look again after a commit that was refused: whether :meth:`writes` gives others now."""

    def applied(self, receipt: Receipt) -> None:
        """The batch was committed; *receipt* is of the part's own writes."""


class PendingBatch:
    """Writes gathered from several calls, applied together when the ``with`` block ends (Z-8).

    Attributes:
        receipt: of the whole, once it was committed.
    """

    def __init__(self, op_id: str | None = None) -> None:
        self.op_id = op_id
        self.receipt: Receipt | None = None
        self._backend: GuardedBackend | None = None
        self._writes: list[Write] = []
        self._rows: dict[tuple[str, Key], SealedRow] = {}
        self._afterwards: list[tuple[slice, Callable[[Receipt], object]]] = []
        self._parts: list[Part] = []
        self._unknown: tuple[Batch, list[slice]] | None = None

    def add(self, backend: GuardedBackend, writes: Sequence[Write]) -> None:
        """Gather *writes*; raises :class:`Unsupported` if they would span two backends."""
        self._meet(backend)
        self._writes.extend(writes)
        for put in writes:
            if isinstance(put, Put):
                self._rows[put.collection.name, put.collection.key_of(put.row.values)] = put.row

    def join(self, backend: GuardedBackend, part: Part) -> None:
        """Let *part* say what it writes when the batch is committed; raises as :meth:`add`."""
        self._meet(backend)
        self._parts.append(part)

    def _meet(self, backend: GuardedBackend) -> None:
        if self._backend not in (None, backend):
            raise Unsupported(
                "a batch cannot span two backends: these stores are kept in different ones. "
                "Commit the tape first, then the session with the tape's revision in its watermark"
            )
        self._backend = backend

    @property
    def size(self) -> int:
        """How many writes were gathered so far."""
        return len(self._writes)

    def afterwards(self, writes: int, then: Callable[[Receipt], object]) -> None:
        """Call *then* with the receipt of the last *writes* gathered, once they are committed."""
        gathered = len(self._writes)
        self._afterwards.append((slice(gathered - writes, gathered), then))

    def row(self, collection: Collection, key: Key) -> SealedRow | None:
        """The row that the batch would put under the canonical *key*: rules look at it too."""
        return self._rows.get((collection.name, key))

    def commit(self) -> Receipt:
        """Apply everything gathered; an empty batch applies trivially."""
        if self._backend is None:
            self.receipt = Receipt(op_id=self.op_id)
            return self.receipt
        self.receipt, places = self._committed(self._backend)
        for place, part in zip(places, self._parts, strict=True):
            part.applied(self._receipt_of(self.receipt, place))
        for place, then in self._afterwards:
            then(self._receipt_of(self.receipt, place))
        return self.receipt

    def _committed(self, backend: GuardedBackend) -> tuple[Receipt, list[slice]]:
        for _ in range(_TRIES):
            # after a lost answer the same again, so that its operation id is known again
            batch, places = self._unknown or self._made()
            self._unknown = None
            try:
                return backend.commit(batch), places
            except OutcomeUnknown:
                self._unknown = batch, places
                raise
            except (Conflict, NotFound):
                revised = [part.revise(backend) for part in self._parts]
                if not any(revised):
                    raise
        raise Conflict(f"{_TRIES} times another writer was first: commit the batch again")

    def _made(self) -> tuple[Batch, list[slice]]:
        writes, places = [*self._writes], []
        for part in self._parts:
            made = part.writes(self._writes)
            places.append(slice(len(writes), len(writes) + len(made)))
            writes.extend(made)
        return Batch(tuple(writes), self.op_id), places

    def _receipt_of(self, receipt: Receipt, place: slice) -> Receipt:
        return attrs.evolve(receipt, outcomes=receipt.outcomes[place])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            self.commit()


class Store:
    """Base of the five stores.

    Methods that write take ``op_id``, making the commit idempotent, or ``batch``, joining a batch
    of the keep; then nothing is written yet, and the receipt they return is empty.
    """

    name: ClassVar[str]
    records: ClassVar[tuple[type[Record], ...]]

    def __init__(self, home: Home) -> None:
        self._home = home

    def table(self, record: type[R]) -> Table[R]:
        """Typed access to the records of one collection of this store."""
        return self._home.table(record)

    def meet(self, stores: Mapping[str, "Store"]) -> None:
        """Called once, with all stores of the keep by their names, this one included."""

    def _commit(
        self, *writes: Write, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> Receipt:
        if batch is None:
            return self._home.backend.commit(Batch(writes, op_id))
        if op_id is not None:
            raise Unsupported("give the op_id to keep.batch(op_id=...), not to one of its parts")
        batch.add(self._home.backend, writes)
        return Receipt()

    # -- reading, what a batch has gathered included -----------------------------------------------

    def _find(self, record: type[R], *key: Any, batch: PendingBatch | None = None) -> R | None:
        """The record known by *key*, as *batch* would leave it."""
        table = self.table(record)
        if batch is not None:
            row = batch.row(table.collection, table.collection.canonical_key(key))
            if row is not None:
                return table.load(_as_if_stored(row, table.collection.schema_version))
        return table.get(*key)

    def _fetch(self, record: type[R], *key: Any, batch: PendingBatch | None = None) -> R:
        found = self._find(record, *key, batch=batch)
        if found is None:
            shown = key[0] if len(key) == 1 else key
            raise NotFound(f"{record.collection.name} {str(shown)!r} is not stored")
        return found

    def _referred(
        self, holder: type[Record], record: type[R], *key: Any, batch: PendingBatch | None
    ) -> R:
        """What *holder* refers to by *key*; raises :class:`InvalidReference`."""
        found = self._find(record, *key, batch=batch)
        if found is None:
            reference = Reference(record.collection.key, record.collection.name)
            raise dangling(holder.collection, reference, tuple(map(str, key)))
        return found


def _as_if_stored(row: SealedRow, schema_version: int) -> StoredRow:
    """A row of a pending batch, to be read like a stored one; it has no revision yet."""
    return StoredRow(row.values, 0, 0, 0, schema_version, row.digest)
