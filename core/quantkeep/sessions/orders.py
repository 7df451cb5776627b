"""Current orders."""

from datetime import datetime
from typing import Any, Final

from quantkeep.batch import Receipt
from quantkeep.query import Where, where
from quantkeep.records import Record, field, record
from quantkeep.sessions.current import Current
from quantkeep.store import PendingBatch
from quantkeep.trading import Mode

OPEN: Final = ("pending", "partial")  # may still be filled


@record(
    "orders",
    key=("account", "mode", "order_id"),
    stream=("account", "mode"),
    indexes=[("symbol", "status"), ("client_order_id",)],
)
class Order(Record):
    """An order as it stands (Z-35, CODEX-16)."""

    account: str = "default"
    mode: Mode
    order_id: str = field(doc="the exchange's id")
    client_order_id: str | None = field(default=None, doc="the id this program gave it")
    symbol: str
    side: str = field(choices=("BUY", "SELL"), extensible=True)
    quantity: float = field(finite=True, doc="base units, or contracts")
    filled: float = field(default=0.0, finite=True, doc="of the quantity")
    price: float | None = field(default=None, doc="the limit; none for a market order")
    average_price: float | None = field(default=None, doc="of what was filled")
    status: str = field(
        choices=("pending", "partial", "filled", "cancelled", "rejected", "expired"),
        extensible=True,
    )
    submitted_at: datetime
    last_update_at: datetime | None = field(default=None, doc="by the exchange's clock")
    raw_data: Any = field(default=None, doc="what the exchange said, as it said it")

    @property
    def is_open(self) -> bool:
        """Whether it may still be filled."""
        return self.status in OPEN

    @property
    def pending_qty(self) -> float:
        """What is not filled, in base units or contracts; 0 once it cannot be any more."""
        return max(self.quantity - self.filled, 0.0) if self.is_open else 0.0

    @property
    def fill_progress(self) -> float:
        """The filled part, 0 to 1."""
        return self.filled / self.quantity if self.quantity else 0.0

    def age(self, at: datetime) -> float:
        """Seconds from its submission until *at*, or until its last update if it is done."""
        until = at if self.is_open else self.last_update_at or at
        return (until - self.submitted_at).total_seconds()


class Orders(Current[Order]):
    """The orders of now, by account, mode and id; those that are done stay until deleted."""

    records = (Order,)
    kept = Order

    def get(self, order_id: str, *, mode: Mode, account: str = "default") -> Order | None:
        """The order; ``None`` if it is not kept."""
        return self._kept.get(account, mode, order_id)

    def all(
        self, *, mode: Mode, account: str = "default", symbol: str | None = None
    ) -> list[Order]:
        """Orders in the order of their submission."""
        asked = where(account=account, mode=mode, symbol=symbol)
        return self._kept.list(*asked, order=("submitted_at",))

    def pending(
        self, *, mode: Mode, account: str = "default", symbol: str | None = None
    ) -> list[Order]:
        """Orders that may still be filled, in the order of their submission."""
        asked = where(account=account, mode=mode, symbol=symbol)
        open_ones = Where("status", "in", OPEN)
        return self._kept.list(*asked, open_ones, order=("submitted_at",))

    def delete(
        self,
        order_id: str,
        *,
        mode: Mode,
        account: str = "default",
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Forget an order; what it did is on the tape."""
        return self._commit(self._kept.delete(account, mode, order_id), op_id=op_id, batch=batch)

    def delete_done(
        self,
        *,
        mode: Mode,
        account: str = "default",
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Forget the orders that cannot be filled any more."""
        done = [o for o in self.all(mode=mode, account=account) if not o.is_open]
        writes = [self._kept.delete(account, mode, order.order_id) for order in done]
        return self._commit(*writes, op_id=op_id, batch=batch)
