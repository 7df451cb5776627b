"""Which results there are, newest first (BT-16, BT-17, BT-19)."""

from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from quantkeep.backtests.part import Part, instant_of
from quantkeep.backtests.reading import NEWEST, by_symbol
from quantkeep.backtests.records import BacktestResult
from quantkeep.columns import Scalar, instant
from quantkeep.errors import InvalidQuery
from quantkeep.query import Query, Where, where

Cursor = tuple[Scalar, ...]


class Listing(Part):
    """How results are found."""

    def list_results(
        self,
        limit: int | None = 100,
        offset: int = 0,
        *,
        strategy: str | None = None,
        status: str | None = None,
        symbol: str | None = None,
        since: datetime | None = None,
    ) -> list[BacktestResult]:
        """Results, newest first; ties by revision (BT-19, Z-38).

        Args:
            limit: at most so many; ``None``: all.
            offset: pass over so many; :meth:`page_results` costs less on long listings.
            strategy: only this one's.
            status: only in this status.
            symbol: only those that traded it (BT-5).
            since: only those made from this instant on.

        Raises:
            InvalidQuery: a limit or offset that is no count.
        """
        if type(offset) is not int or offset < 0:
            raise InvalidQuery(f"offset {offset!r}: expected a count of rows")
        most = None if limit is None else limit + offset
        query = _asked(strategy, status, symbol, since, limit=most)
        return [*islice(self._results.scan(query), offset, None)]

    def page_results(
        self,
        limit: int = 100,
        *,
        after: Cursor | None = None,
        strategy: str | None = None,
        status: str | None = None,
        symbol: str | None = None,
        since: datetime | None = None,
    ) -> tuple[list[BacktestResult], Cursor | None]:
        """As :meth:`list_results`, page by page.

        Returns:
            Results, and the cursor to give as *after* for the next page; ``None`` at the end.
        """
        query = _asked(strategy, status, symbol, since, limit=limit, after=after)
        return self._results.page(query)

    def latest_completed(self, limit: int = 5) -> list[BacktestResult]:
        """The newest completed results (BT-16)."""
        return self.list_results(limit, status="completed")

    def recent(self, strategy: str, *, days: float = 7) -> list[BacktestResult]:
        """One strategy's results of the last *days*, newest first (BT-17)."""
        start = self._before(timedelta(days=days))
        asked = (*where(strategy=strategy), Where("created_at", ">", start))
        return self._results.list(*asked, order=NEWEST.order)

    def _before(self, age: timedelta) -> datetime:
        """So long ago, by the store's clock."""
        return instant(self._home.backend.now()) - age


def _asked(
    strategy: str | None,
    status: str | None,
    symbol: str | None,
    since: datetime | None,
    **asked: Any,
) -> Query:
    instant_of(since, "since")
    conditions = [*where(strategy=strategy, status=status)]
    conditions += [by_symbol(symbol)] if symbol is not None else []
    conditions += [Where("created_at", ">=", since)] if since is not None else []
    return Query(where=tuple(conditions), order=NEWEST.order, **asked)
