"""What the parts of the prediction store share: saving once, changing under optimistic locking."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from itertools import count
from typing import Any, Final, Generic, TypeVar

import attrs

from quantkeep.batch import (
    ABSENT,
    ANYTHING,
    AtRevision,
    Expectation,
    Outcome,
    Receipt,
    Write,
)
from quantkeep.columns import instant
from quantkeep.contract import taken
from quantkeep.errors import (
    AlreadyExists,
    Conflict,
    InvalidValue,
    OperationConflict,
)
from quantkeep.query import Where
from quantkeep.records import Record
from quantkeep.store import PendingBatch, Store

R = TypeVar("R", bound=Record)
T = TypeVar("T")

# Each lost race is another writer's success, so this many in a row means something else is wrong.
TRIES: Final = 64


@attrs.frozen
class Saved(Generic[R]):
    """What a saving call did.

    Attributes:
        id: the key it is stored under.
        record: as it is stored, derived fields included.
        receipt: of the commit; without revisions if it joined a batch that is not committed yet.
            ``receipt.added`` is 0 if the same record was stored before.
    """

    id: str
    record: R
    receipt: Receipt


def natural_id(*parts: str) -> str:
    """An id made of *parts*, different for different parts: ``marv/monetary_agent``."""
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def numbered(name: str, number: int) -> str:
    """*name* for the first, then ``name_2``, ``name_3`` ... (Z-21)."""
    return name if number == 1 else f"{name}_{number}"


class Part(Store):
    """Base of the parts that :class:`quantkeep.predictions.PredictionStore` consists of."""

    def _new(self, record: type[R], fields: Mapping[str, Any], extra: Mapping[str, Any]) -> R:
        """A record of this keep's own class, which may extend ours with *extra* fields (Z-3)."""
        cls = self.table(record).collection.record or record
        known = {field.name for field in attrs.fields(cls)} - {"envelope"}
        for name, value in extra.items():
            if name in fields or name not in known:
                raise InvalidValue(
                    "is given twice" if name in fields else "is no field of this keep's record",
                    record=cls.__name__, field=name, value=value,
                    expected="fields that the record class given to open(records=[...]) adds",
                )  # fmt: skip
        made: R = cls(**fields, **extra)
        return made

    def _today(self) -> date:
        """The day in UTC by the store's clock."""
        return instant(self._home.backend.now()).date()

    def _aged(self, as_of: date | None, older_than: timedelta | int) -> tuple[Where, ...]:
        """The condition that a prediction is at least *older_than* old on the day *as_of*."""
        age = older_than if isinstance(older_than, timedelta) else timedelta(days=older_than)
        if age % timedelta(days=1):
            raise InvalidValue(
                f"cannot be {age}", field="older_than", value=older_than,
                expected="whole days, because predictions carry dates",
            )  # fmt: skip
        if not age and as_of is None:
            return ()
        return (Where("prediction_date", "<=", (as_of or self._today()) - age),)

    # -- saving once -----------------------------------------------------------------------------

    def _save(
        self,
        record: R,
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
        same: Callable[[R, R], R] | None = None,
    ) -> Saved[R]:
        """Store *record* under its key; once more the same adds nothing, another is a conflict.

        *same* takes over, from what is stored, the fields that are changed after the fact.
        """
        table = self.table(type(record))
        key, put = _key(record), table.put(record, ABSENT)
        known = self._find(type(record), key, batch=batch)
        if known is None or op_id is not None:
            try:
                return Saved(key, known or record, self._commit(put, op_id=op_id, batch=batch))
            except OperationConflict:
                if known is None:
                    raise  # else the operation may be that of the next number
            except AlreadyExists:
                known = known or table.get(key)
                if known is None:
                    raise  # not the key, a number is taken
        if not self._equal(same(record, known) if same else record, known):
            raise taken(table.collection, (key,), table.collection.key)
        if self._replays(batch):
            self._commit(put, batch=batch)
        return Saved(key, known, unchanged(known))

    def _save_numbered(
        self,
        make: Callable[[int], R],
        *,
        op_id: str | None,
        batch: PendingBatch | None,
        same: Callable[[R, R], R] | None = None,
    ) -> Saved[R]:
        """Store the first of ``make(1)``, ``make(2)`` ... whose id is free, or holds the same."""
        for number in count(1):
            try:
                return self._save(make(number), op_id=op_id, batch=batch, same=same)
            except AlreadyExists:
                continue
        raise AssertionError("numbers do not end")

    def _save_named(
        self,
        key: str,
        make: Callable[[int], R],
        *,
        op_id: str | None,
        batch: PendingBatch | None,
        same: Callable[[R, R], R] | None = None,
    ) -> Saved[R]:
        """Store ``make(n)`` under the caller's own *key*, where n is the first sequence free."""
        for number in count(1):
            known = self._find(type(make(1)), key, batch=batch)
            sequence = number if known is None else known.as_dict()["sequence"]
            try:
                return self._save(make(sequence), op_id=op_id, batch=batch, same=same)
            except AlreadyExists:
                if known is not None:
                    raise
        raise AssertionError("numbers do not end")

    def _equal(self, record: R, known: R) -> bool:
        """Whether two records have the same content: NaN equals itself, 0.10 equals 0.1."""
        seal = self.table(type(known)).seal
        return seal(record).digest == seal(known).digest

    # -- changing --------------------------------------------------------------------------------

    def _change(
        self,
        decide: Callable[[Receipt | None], tuple[Sequence[Write], T]],
        *,
        op_id: str | None,
        batch: PendingBatch | None,
    ) -> tuple[T, Receipt]:
        """Commit what *decide* makes of what it reads; whenever another writer was first, again.

        *decide* is given the receipt of the operation if it was applied before, and then writes
        nothing. In a batch nothing can be read again: there the loser's commit is a ``Conflict``.
        """
        for attempt in count(1):
            before = self._applied(op_id, batch)
            writes, decided = decide(before)
            if not writes:
                return decided, before or Receipt(op_id=op_id)
            try:
                return decided, self._commit(*writes, op_id=op_id, batch=batch)
            except Conflict as error:
                misused = isinstance(error, OperationConflict) and before is not None
                if misused or attempt == TRIES:
                    raise
        raise AssertionError("attempts do not end")

    def _applied(self, op_id: str | None, batch: PendingBatch | None) -> Receipt | None:
        """The receipt of what was committed under *op_id* before."""
        if op_id is None or batch is not None:
            return None
        return self._home.backend.outcome(op_id)

    def _replays(self, batch: PendingBatch | None) -> bool:
        """Whether *batch* was applied before: then it must be gathered as it was the first time."""
        return batch is not None and self._applied(batch.op_id, None) is not None


def at(known: Record) -> Expectation:
    """That *known* is still as it was read; of what a batch would put, nothing is expected."""
    return AtRevision(known.revision) if known.revision else ANYTHING


def unchanged(known: Record) -> Receipt:
    """The receipt of a write that found its content stored already."""
    assert known.envelope is not None
    return Receipt((Outcome((known.envelope.revision,), 0),))


def _key(record: Record) -> str:
    (name,) = record.collection.key
    key: str = getattr(record, name)
    return key
