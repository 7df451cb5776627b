"""What is kept of now: one record for each thing, replaced by its next word."""

from typing import Generic, TypeVar

from quantkeep.batch import ANYTHING, Expectation, Receipt
from quantkeep.records import Record
from quantkeep.store import PendingBatch, Store
from quantkeep.table import Table

R = TypeVar("R", bound=Record)


class Current(Store, Generic[R]):
    """Base of the books of current positions and orders."""

    name = "sessions"
    kept: type[R]

    @property
    def _kept(self) -> Table[R]:
        return self.table(self.kept)

    def save(
        self,
        *records: R,
        expect: Expectation = ANYTHING,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Write *records*, new ones and changed ones, in one commit: the last word of each stays.

        Raises:
            InvalidValue: a field does not fit; names it.
            Conflict: *expect* does not hold of one of them; nothing is written.
        """
        writes = [self._kept.put(record, expect) for record in records]
        return self._commit(*writes, op_id=op_id, batch=batch)
