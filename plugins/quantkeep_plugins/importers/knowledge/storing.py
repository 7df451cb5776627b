"""Storing the backtests of a source, each of which stays, and counting what is new."""

from datetime import datetime

from quantkeep import Keep
from quantkeep.errors import AlreadyExists
from quantkeep.knowledge import Backtest, content_hash, reproducibility_key
from quantkeep.store import PendingBatch


class Backtests:
    """Stores backtests under their own ids.

    Sources run the same strategy on the same data as often as they like: what repeats an earlier
    one, of this source or of another, is kept as a rerun.
    """

    def __init__(self, keep: Keep) -> None:
        self._knowledge = keep.knowledge
        self._seen: set[str] = set()
        self.reruns = 0

    def insert(self, backtest: Backtest, created_at: datetime | None, batch: PendingBatch) -> None:
        """Store *backtest*, with the rest of *batch*.

        Raises:
            AlreadyExists: its id is stored with another content.
        """
        hashed = backtest.replace(calc_contract_hash=content_hash(backtest.calc_contract))
        key = reproducibility_key(hashed)
        if key in self._seen or not self._first(hashed, created_at, batch):
            self.reruns += 1
            self._knowledge.insert_backtest(hashed, rerun=True, created_at=created_at, batch=batch)
        self._seen.add(key)

    def _first(self, backtest: Backtest, created_at: datetime | None, batch: PendingBatch) -> bool:
        """Store *backtest* if nothing like it is stored; whether that is so."""
        try:
            found = self._knowledge.insert_backtest(backtest, created_at=created_at, batch=batch)
        except AlreadyExists:
            return False
        return found == backtest.backtest_id


def rows(keep: Keep) -> int:
    """How many rows the keep has."""
    return sum(size for name, size in keep.sizes().items() if name != "bytes")
