"""Snapshots of what a user holds, and of what was recommended instead."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from quantkeep.batch import PRESENT, Receipt
from quantkeep.predictions.figures import MONEY
from quantkeep.predictions.part import Part, Saved, numbered
from quantkeep.predictions.shapes import (
    allocation_of,
    check_allocation,
    check_holdings,
    check_mapping,
    value_of,
)
from quantkeep.query import where
from quantkeep.records import Record, field, record
from quantkeep.store import PendingBatch

CURRENT: Final = "current"
RECOMMENDED: Final = "recommended"
_CHRONOLOGICAL: Final = ("snapshot_date", "sequence", "revision")


@record(
    "portfolios",
    key=("portfolio_id",),
    stream=("user_id",),
    immutable=True,
    unique=[("user_id", "snapshot_date", "portfolio_type", "sequence")],
    indexes=[("user_id", "snapshot_date")],
)
class Portfolio(Record):
    """A snapshot of holdings on a day: what went into a prediction, or came out (MARA-3)."""

    portfolio_id: str
    user_id: str = field(references="users")
    snapshot_date: date
    portfolio_type: str = field(choices=(CURRENT, RECOMMENDED), extensible=True)
    sequence: int = field(
        default=1, between=(1, 2**31), doc="which snapshot of that type on that day, from 1 (Z-21)"
    )
    total_value: Decimal | None = field(
        default=None, precision=MONEY, doc="in the account's currency"
    )
    holdings: dict[str, Any] = field(
        doc='{ticker: {"shares", "value", "cost_basis"?}, "cash": {"value"}} (MARA-5)'
    )
    allocation: dict[str, Any] = field(doc="{ticker or cash: weight}, parts of 1 (MARA-5)")
    metadata: dict[str, Any] | None = None

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        check_holdings(name, self.holdings)
        check_allocation(name, "allocation", self.allocation)
        check_mapping(name, "metadata", self.metadata)


class Portfolios(Part):
    """The portfolio snapshots of a prediction store."""

    def save_portfolio(
        self,
        *,
        user_id: str,
        snapshot_date: date,
        portfolio_type: str = CURRENT,
        holdings: dict[str, Any],
        allocation: dict[str, Any] | None = None,
        total_value: Decimal | None = None,
        metadata: dict[str, Any] | None = None,
        portfolio_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Saved[Portfolio]:
        """Store a snapshot; the same snapshot again adds nothing (MARA-25).

        Args:
            user_id: whose; must be stored.
            snapshot_date: the day the holdings were taken on.
            portfolio_type: ``"current"`` or ``"recommended"``, or what the keep was opened with.
            holdings: ``{"SPY": {"shares": 100, "value": 45000}, "cash": {"value": 33000}}``, each
                with ``cost_basis`` if it is known (Z-25).
            allocation: weights; derived from the values if left out.
            total_value: at most two decimals; left out, it is the sum of the values if that fits.
            metadata: anything else.
            portfolio_id: left out, ``{user}_{date}_{type}``, with ``_2``, ``_3`` ... after it for
                further snapshots of that type and day (Z-21). Further ones in one uncommitted
                batch need an id of their own.
            extra: fields that your own extension of the record adds.
            op_id: makes the commit idempotent (Z-10).
            batch: joins a batch of the keep; nothing is written before it ends.

        Raises:
            InvalidValue: a holding lacks its value or shares, or a value does not fit its field.
            InvalidReference: there is no such user.
            AlreadyExists: other content is stored under *portfolio_id*.
        """
        check_holdings(Portfolio.__name__, holdings)
        said = {
            "user_id": user_id,
            "snapshot_date": snapshot_date,
            "portfolio_type": portfolio_type,
            "holdings": holdings,
            "allocation": allocation_of(holdings) if allocation is None else allocation,
            "total_value": value_of(holdings) if total_value is None else total_value,
            "metadata": metadata,
        }

        def make(number: int) -> Portfolio:
            name = portfolio_id or numbered(f"{user_id}_{snapshot_date}_{portfolio_type}", number)
            return self._new(
                Portfolio, {**said, "portfolio_id": name, "sequence": number}, extra or {}
            )

        if portfolio_id is not None:
            return self._save_named(portfolio_id, make, op_id=op_id, batch=batch)
        return self._save_numbered(make, op_id=op_id, batch=batch)

    def portfolio(self, portfolio_id: str) -> Portfolio | None:
        """The snapshot known by its id (MARA-15)."""
        return self.table(Portfolio).get(portfolio_id)

    def latest_portfolio(self, user_id: str, portfolio_type: str = CURRENT) -> Portfolio | None:
        """The user's newest snapshot of that type, by its day and sequence (MARA-16)."""
        asked = where(user_id=user_id, portfolio_type=portfolio_type)
        return self.table(Portfolio).last(*asked, order=_CHRONOLOGICAL)

    def portfolio_history(
        self, user_id: str, *, limit: int = 10, portfolio_type: str | None = None
    ) -> list[Portfolio]:
        """The newest *limit* snapshots, oldest of them first (MARA-17, Z-38)."""
        asked = where(user_id=user_id, portfolio_type=portfolio_type)
        return self.table(Portfolio).list(*asked, order=_CHRONOLOGICAL, limit=limit, take="last")

    def delete_portfolio(
        self, portfolio_id: str, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> Receipt:
        """Forget a snapshot.

        Raises:
            StillReferenced: a prediction was made from it.
            NotFound: there is no such snapshot.
        """
        delete = self.table(Portfolio).delete(portfolio_id, expect=PRESENT)
        return self._commit(delete, op_id=op_id, batch=batch)
