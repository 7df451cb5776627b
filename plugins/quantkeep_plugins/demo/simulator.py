"""The paper exchange: fills orders a little worse than asked, keeps the book, writes the entries.

All of it is a function of the book, the day's prices and the seed, so that an independent replay
can tell what should have happened.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from random import Random
from typing import Any, Final

import attrs

from quantkeep.tape import EquityPoint, PositionEvent, Trade
from quantkeep_plugins.demo.book import CAPITAL, Book, Position
from quantkeep_plugins.demo.prices import Day
from quantkeep_plugins.demo.strategy import SLOW, Order, orders

STAKE: Final = CAPITAL / 4
FEE_RATE: Final = Decimal("0.0005")
EXPECTED_BPS: Final = 2.0  # slippage against us: its mean ...
SPREAD_BPS: Final = 3.0  # ... and its standard deviation
_TICK: Final = Decimal("0.0001")


@attrs.frozen
class Entries:
    """What one day puts on the tape."""

    trades: tuple[Trade, ...]
    events: tuple[PositionEvent, ...]
    equity: EquityPoint

    def __len__(self) -> int:
        return len(self.trades) + len(self.events) + 1


@attrs.frozen
class Simulator:
    """A paper account on a paper exchange.

    Attributes:
        account: its name.
        seed: the luck of the exchange.
        filled: prices by ``uid`` of orders that were filled before: what the tape has, has
            happened, and is not asked of the exchange again.
    """

    account: str
    seed: int
    filled: Mapping[str, Decimal] = attrs.field(factory=dict)

    def trade(self, book: Book, day: Day) -> Entries:
        """Trade one day: change *book*, and say what to put on the tape."""
        done = [self._filled(book, day, order) for order in orders(book, day)]
        book.remember(day, SLOW)
        trades, events = [*zip(*done, strict=True)] or ((), ())
        return Entries(trades, events, self._equity(book, day))

    def _filled(self, book: Book, day: Day, order: Order) -> tuple[Trade, PositionEvent]:
        if order.action == "OPEN":
            return self._opened(book, day, order)
        return self._closed(book, day, order)

    def _opened(self, book: Book, day: Day, order: Order) -> tuple[Trade, PositionEvent]:
        price = self._price(day, order, EXPECTED_BPS)
        position = Position(
            qty=int(STAKE / price),
            entry_price=price,
            entry_time=_opening(day.date),
            link_id=f"{order.symbol}-{day.date}",
        )
        fee = book.open(order.symbol, position, FEE_RATE)
        trade = self._trade(day, order, position, price, fee)
        return trade, self._event(day, order, position, entry_price=float(price))

    def _closed(self, book: Book, day: Day, order: Order) -> tuple[Trade, PositionEvent]:
        price = self._price(day, order, -EXPECTED_BPS)
        position = book.positions[order.symbol]
        profit, fee = book.close(order.symbol, price, FEE_RATE)
        held = _opening(day.date) - position.entry_time
        trade = self._trade(
            day, order, position, price, fee,
            realized_pnl=float(profit),
            roe=float(profit / position.worth(position.entry_price)),
            hold_duration_sec=held.total_seconds(),
        )  # fmt: skip
        event = self._event(
            day, order, position, exit_price=float(price), realized_pnl=float(profit)
        )
        return trade, event

    def _price(self, day: Day, order: Order, expected_bps: float) -> Decimal:
        known = self.filled.get(_uid(day, order))
        if known is not None:
            return known
        luck = Random(f"{self.seed}/{_uid(day, order)}")  # noqa: S311  # not for secrets
        slipped = Decimal(luck.gauss(expected_bps, SPREAD_BPS)) / 10_000
        return (day.bars[order.symbol].open * (1 + slipped)).quantize(_TICK)

    def _trade(
        self, day: Day, order: Order, position: Position, price: Decimal, fee: Decimal, **more: Any
    ) -> Trade:
        opens = order.action == "OPEN"
        return Trade(
            account=self.account,
            mode="paper",
            uid=_uid(day, order),
            timestamp=_opening(day.date),
            symbol=order.symbol,
            side="LONG",
            action=order.action,
            qty=position.qty,
            target_price=float(day.bars[order.symbol].open),
            fill_price=float(price),
            slippage_est_bps=EXPECTED_BPS if opens else -EXPECTED_BPS,
            fee=float(fee),
            fee_rate=float(FEE_RATE),
            pos_source="simulator",
            exec_type="taker",
            entry_link_id=position.link_id,
            entry_reason=order.reason if opens else None,
            **more,
        )

    def _event(self, day: Day, order: Order, position: Position, **more: Any) -> PositionEvent:
        return PositionEvent(
            account=self.account,
            mode="paper",
            uid=_uid(day, order),
            timestamp=_opening(day.date),
            symbol=order.symbol,
            event_type=order.action,
            pos_source="simulator",
            side="LONG",
            size=position.qty,
            reason=order.reason,
            **more,
        )

    def _equity(self, book: Book, day: Day) -> EquityPoint:
        invested = book.invested(day)
        return EquityPoint(
            account=self.account,
            mode="paper",
            uid=f"{day.date}",
            timestamp=datetime.combine(day.date, time(21, tzinfo=UTC)),  # New York closes
            pos_source="simulator",
            total_equity=float(book.cash + invested),
            wallet_balance=float(book.cash),
            position_count=len(book.positions),
            total_notional=float(invested),
        )


def _uid(day: Day, order: Order) -> str:
    """Names an order for ever: whoever decides it again gives it the same."""
    return f"{day.date}/{order.symbol}/{order.action}"


def _opening(day: date) -> datetime:
    return datetime.combine(day, time(14, 30, tzinfo=UTC))  # New York opens, in winter
