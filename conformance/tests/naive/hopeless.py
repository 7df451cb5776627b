"""Backends so careless that whole stores notice; each is a control of clauses about a store."""

from collections.abc import Iterator
from contextlib import suppress

from naive.careless import Forgiving
from naive.fronts import Front, Wrapper
from quantkeep.batch import Absent, AtRevision, Batch, Holding, Present, Receipt
from quantkeep.collection import Collection, StoredRow
from quantkeep.errors import QuantkeepError
from quantkeep.query import Query


class ExpectsNothing(Forgiving):
    """Writes whatever was expected."""

    forgiven = (Absent, AtRevision, Holding, Present)


class CommitsWhatItCan(Wrapper):
    """Where a batch is refused, applies those of its writes that can be applied."""

    def commit(self, batch: Batch) -> Receipt:
        try:
            return self.engine.commit(batch)
        except QuantkeepError:
            for write in batch.writes:
                with suppress(QuantkeepError):
                    self.engine.commit(Batch((write,)))
            raise


class SkipsARowBehindACursor(Wrapper):
    """Reads on one too far."""

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        found = self.engine.scan(collection, query)
        if query.after is not None:
            next(found, None)
        return found


expects_nothing = Front(ExpectsNothing)
commits_what_it_can = Front(CommitsWhatItCan)
skips_a_row_behind_a_cursor = Front(SkipsARowBehindACursor)
