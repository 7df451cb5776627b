"""Reading the tape: the six logs by name, and each as a stream, as Arrow, or page by page."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar, Unpack

from quantkeep.columns import Scalar
from quantkeep.query import Condition, Query
from quantkeep.records import Record
from quantkeep.tape.asking import BY_TIME, Asked, conditions, newest
from quantkeep.tape.logs import Logs
from quantkeep.tape.records import (
    Diagnostic,
    EquityPoint,
    ExpectedValue,
    PositionEvent,
    Slippage,
)
from quantkeep.tape.trade import Trade

if TYPE_CHECKING:
    import pyarrow as pa

R = TypeVar("R", bound=Record)
Cursor = tuple[Scalar, ...]


class Listings(Logs):
    """Listings are in order of time, ties in the order of commits.

    ``since`` is inclusive, ``until`` exclusive. A ``limit`` gives the newest, oldest of them first
    (Z-38). Where ``mode`` or ``account`` is left out, all are listed. Further conditions, on fields
    of your own too, are given by position: ``tape.trades(Where("desk", "==", "fx"), mode="live")``.
    """

    def trades(
        self,
        *more: Condition,
        action: str | None = None,
        limit: int | None = None,
        **asked: Unpack[Asked],
    ) -> list[Trade]:
        """Fills (CODEX-19): ``trades(mode="paper", limit=100)``."""
        return self._list(Trade, conditions(more, action=action, **asked), limit)

    def equity(
        self,
        *more: Condition,
        limit: int | None = None,
        **asked: Unpack[Asked],
    ) -> list[EquityPoint]:
        """The equity curve (CODEX-20): ``equity(mode="live", since=monday)``."""
        return self._list(EquityPoint, conditions(more, **asked), limit)

    def position_events(
        self,
        *more: Condition,
        event_type: str | None = None,
        limit: int | None = None,
        **asked: Unpack[Asked],
    ) -> list[PositionEvent]:
        """What happened to positions."""
        return self._list(PositionEvent, conditions(more, event_type=event_type, **asked), limit)

    def slippage(
        self,
        *more: Condition,
        limit: int | None = None,
        **asked: Unpack[Asked],
    ) -> list[Slippage]:
        """How far each live fill was from its target; :meth:`slippage_stats` sums them up."""
        return self._list(Slippage, conditions(more, **asked), limit)

    def diagnostics(
        self,
        *more: Condition,
        metric_type: str | None = None,
        limit: int | None = None,
        **asked: Unpack[Asked],
    ) -> list[Diagnostic]:
        """Metrics of the program itself."""
        return self._list(Diagnostic, conditions(more, metric_type=metric_type, **asked), limit)

    def expected_values(
        self,
        *more: Condition,
        limit: int | None = None,
        **asked: Unpack[Asked],
    ) -> list[ExpectedValue]:
        """What the strategy expected of symbols."""
        return self._list(ExpectedValue, conditions(more, **asked), limit)

    # -- any log ---------------------------------------------------------------------------------

    def scan(self, kind: type[R], *more: Condition, **asked: Unpack[Asked]) -> Iterator[R]:
        """The entries one by one, in bounded memory: ``scan(Trade, mode="live")``."""
        return self._log(kind).scan(newest(conditions(more, **asked), None))

    def arrow(
        self,
        kind: type[Record],
        *more: Condition,
        limit: int | None = None,
        batch_rows: int = 10_000,
        **asked: Unpack[Asked],
    ) -> "pa.RecordBatchReader":
        """The entries as a stream of Arrow record batches, in bounded memory.

        The columns are the record's fields and ``revision``; see :mod:`quantkeep.arrow`.
        """
        query = newest(conditions(more, **asked), limit)
        return self._log(kind).arrow(query, batch_rows=batch_rows)

    def page(
        self,
        kind: type[R],
        *more: Condition,
        after: Cursor | None = None,
        limit: int = 1_000,
        **asked: Unpack[Asked],
    ) -> tuple[list[R], Cursor | None]:
        """A page of entries, oldest first, and the cursor to give as *after* for the next one.

        The cursor is ``None`` at the end. What is added meanwhile neither shifts nor repeats
        entries; to be told of everything that is added, :meth:`follow`.
        """
        found = conditions(more, **asked)
        return self._log(kind).page(Query(where=found, order=BY_TIME, limit=limit, after=after))

    def _list(self, kind: type[R], found: tuple[Condition, ...], limit: int | None) -> list[R]:
        return [*self._log(kind).scan(newest(found, limit))]
