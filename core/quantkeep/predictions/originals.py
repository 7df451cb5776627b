"""Records that were made elsewhere, with the stamps they had there: for imports."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import attrs

from quantkeep.batch import ABSENT, Put, Receipt, Write
from quantkeep.contract import taken
from quantkeep.errors import InvalidValue
from quantkeep.predictions.forecasts import Prediction
from quantkeep.predictions.part import Part
from quantkeep.predictions.results import PerformanceResult, check_against
from quantkeep.records import Record
from quantkeep.sealing import stamped
from quantkeep.store import PendingBatch


@attrs.frozen
class Original:
    """A record, and when it was created and last changed where it comes from (X-7)."""

    record: Record
    created_at: datetime | None = None  # aware; the store's own clock if not known
    updated_at: datetime | None = None


@attrs.frozen
class Inserted:
    """What an insertion of originals did.

    Attributes:
        added: records that are new.
        already: records that were stored before, with the same content.
        receipt: of the one commit.
    """

    added: int
    already: int
    receipt: Receipt


class Originals(Part):
    """Records as they are, all or none."""

    def insert(
        self,
        originals: Iterable[Original | Record],
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Inserted:
        """Store complete records in one commit; those that are stored already add nothing.

        They may refer to each other, in any order. Results are held against their predictions.

        Raises:
            InvalidValue: a value does not fit its field, which is named, and so is the record; or
                a result contradicts its prediction.
            InvalidReference: something that is referred to is neither stored nor among them.
            AlreadyExists: other content is stored under a record's key.
        """
        given = [o if isinstance(o, Original) else Original(o) for o in originals]
        records = [o.record for o in given]
        puts = [self._sealed(original) for original in given]
        predictions = {r.prediction_id: r for r in records if isinstance(r, Prediction)}
        for record in records:
            if isinstance(record, PerformanceResult):
                wanted = record.prediction_id
                prediction = predictions.get(wanted) or self._referred(
                    PerformanceResult, Prediction, wanted, batch=batch
                )
                check_against(prediction, record)
        writes: list[Write] = [put for put in puts if self._is_new(put)]
        receipt = self._commit(*writes, op_id=op_id, batch=batch)
        return Inserted(len(writes), len(given) - len(writes), receipt)

    def _sealed(self, original: Original) -> Put:
        """The write of a record, with the stamps it brings."""
        try:
            put = self.table(type(original.record)).put(original.record, ABSENT)
        except InvalidValue as error:
            raise error.of(_key_of(original.record)) from None
        if original.created_at is None:
            return put
        row = stamped(put.row, original.created_at, original.updated_at)
        return attrs.evolve(put, row=row)

    def _is_new(self, put: Put) -> bool:
        """Whether it is not there already; raises :class:`AlreadyExists` if another is."""
        key = put.collection.key_of(put.row.values)
        known = self._home.backend.get(put.collection, key)
        if known is not None and known.digest != put.row.digest:
            raise taken(put.collection, key, put.collection.key)
        return known is None


def _key_of(record: Record) -> Any:
    return getattr(record, record.collection.key[0])
