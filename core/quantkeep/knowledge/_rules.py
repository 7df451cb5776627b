"""How the knowledge store reads before it writes: what is there already, what is referred to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Final, TypeVar
from uuid import UUID, uuid4, uuid5

import attrs

from quantkeep.batch import ABSENT, ANYTHING, AtRevision, Expectation, Put, Receipt, Write
from quantkeep.contract import operation_conflict
from quantkeep.errors import AlreadyExists
from quantkeep.query import ENVELOPE_COLUMNS
from quantkeep.records import Record
from quantkeep.sealing import stamped
from quantkeep.store import PendingBatch, Store

R = TypeVar("R", bound=Record)

IDS: Final = UUID("6f1c2a52-8d0e-5b77-9c53-0d1c5a1f7e10")  # namespace of the ids we make


class Rules(Store):
    """Base of the parts of the knowledge store."""

    name: ClassVar[str] = "knowledge"

    # -- writing -----------------------------------------------------------------------------------

    def _put(
        self, record: Record, expect: Expectation = ANYTHING, created_at: datetime | None = None
    ) -> Put:
        """The write of *record*; an import gives the stamp it had where it comes from (X-7)."""
        put = self.table(type(record)).put(record, expect)
        if created_at is None:
            return put
        ENVELOPE_COLUMNS["created_at"].canonical(created_at, record=type(record).__name__)
        return attrs.evolve(put, row=stamped(put.row, created_at))

    def _add(
        self,
        record: Record,
        *others: Write,
        moving: tuple[str, ...] = (),
        created_at: datetime | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Store *record*, and *others* that belong to it; the same one again adds nothing.

        What changed since in the fields *moving* is no difference, if *record* says nothing there.

        Raises:
            AlreadyExists: another one is stored under its key; names the fields that differ.
        """
        key = [getattr(record, name) for name in record.collection.key]
        stored = self._find(type(record), *key, batch=batch)
        if stored is not None and not self._replays(batch):
            return self._same_again(record, stored, moving, op_id)
        put = self._put(record, ABSENT, created_at)
        try:
            return self._commit(put, *others, op_id=op_id, batch=batch)
        except AlreadyExists:
            stored = self._find(type(record), *key)  # another writer was first
            if stored is None:
                raise
            return self._same_again(record, stored, moving, op_id)

    def _same_again(
        self, record: Record, stored: Record, moving: tuple[str, ...], op_id: str | None
    ) -> Receipt:
        receipt = self._receipt_of(op_id)
        try:
            self._check_same(record, stored, moving)
        except AlreadyExists:
            if op_id is not None and receipt.replayed:
                raise operation_conflict(op_id) from None
            raise
        return receipt

    def _check_same(self, record: Record, stored: Record, moving: tuple[str, ...] = ()) -> None:
        defaults = attrs.fields_dict(type(record))
        silent = [name for name in moving if getattr(record, name) == defaults[name].default]
        moved = record.replace(**{name: getattr(stored, name) for name in silent})
        differing = self._differing(moved, stored)
        if differing:
            name = record.collection.name
            key = ", ".join(str(getattr(stored, part)) for part in record.collection.key)
            raise AlreadyExists(
                f"{name} {key!r} is stored already, with another {', '.join(differing)}"
            )

    def _differing(self, record: Record, stored: Record) -> Sequence[str]:
        """Names of the fields in which two records differ, bit for bit."""
        table = self.table(type(record))
        ours, theirs = table.seal(record), table.seal(stored)
        if ours.digest == theirs.digest:
            return ()
        pairs = zip(table.collection.names, ours.values, theirs.values, strict=True)
        return tuple(name for name, a, b in pairs if repr(a) != repr(b))

    def _change(
        self,
        record: type[Record],
        *key: Any,
        changes: dict[str, Any],
        op_id: str | None,
        batch: PendingBatch | None,
    ) -> Receipt:
        """Write *changes* to what is stored, unless they are there already.

        Raises:
            NotFound: nothing is stored under *key*.
            Conflict: another writer changed it meanwhile.
        """
        current = self._fetch(record, *key, batch=batch)
        wanted = current.replace(**changes)
        if not self._differing(wanted, current):
            return self._receipt_of(op_id)
        expect = AtRevision(current.revision) if current.revision else ANYTHING
        return self._commit(self._put(wanted, expect), op_id=op_id, batch=batch)

    def _receipt_of(self, op_id: str | None) -> Receipt:
        """Of what was done before: the first receipt, if its operation id is known."""
        known = self._home.backend.outcome(op_id) if op_id is not None else None
        return known or Receipt(op_id=op_id)

    def _replays(self, batch: PendingBatch | None) -> bool:
        """Whether *batch* was applied before: then it must be gathered as it was the first time."""
        if batch is None or batch.op_id is None:
            return False
        return self._home.backend.outcome(batch.op_id) is not None

    # -- ids ---------------------------------------------------------------------------------------

    def _new_id(self, kind: str, op_id: str | None, batch: PendingBatch | None) -> str:
        """A fresh id; under an operation id the same one each time, so that it can be replayed."""
        if op_id is not None:
            return str(uuid5(IDS, f"{kind}/{op_id}"))
        if batch is not None and batch.op_id is not None:
            return str(uuid5(IDS, f"{kind}/{batch.op_id}/{batch.size}"))
        return str(uuid4())
