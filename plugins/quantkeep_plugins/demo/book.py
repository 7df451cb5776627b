"""The live state of the paper account: cash, positions, and the prices the strategy remembers."""

from datetime import datetime
from decimal import Decimal
from typing import Final

import attrs

from quantkeep_plugins.demo.prices import Day

CAPITAL: Final = Decimal(100_000)
_TICK: Final = Decimal("0.0001")


@attrs.frozen
class Position:
    """An open long position. Objects of one's own classes are welcome in session state."""

    qty: int
    entry_price: Decimal
    entry_time: datetime
    link_id: str  # the same on all tape entries of the position's life

    def worth(self, price: Decimal) -> Decimal:
        """What it would fetch at *price*, before fees."""
        return self.qty * price


@attrs.define
class Book:
    """Everything that a resumed process needs to go on as if nothing had happened.

    Attributes:
        closes: the last closing prices of each symbol, as many as the strategy looks at.
        next_day: number of the day to trade next.
    """

    cash: Decimal = CAPITAL
    positions: dict[str, Position] = attrs.field(factory=dict)
    closes: dict[str, list[Decimal]] = attrs.field(factory=dict)
    trades: int = 0
    winners: int = 0
    realized: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    next_day: int = 0

    def open(self, symbol: str, position: Position, fee_rate: Decimal) -> Decimal:
        """Take *position* in; the fee."""
        self.positions[symbol] = position
        cost = position.worth(position.entry_price)
        self.cash -= cost
        return self._pay(cost, fee_rate)

    def close(self, symbol: str, price: Decimal, fee_rate: Decimal) -> tuple[Decimal, Decimal]:
        """Sell the position at *price*; its profit after the fee of this trade, and the fee."""
        position = self.positions.pop(symbol)
        proceeds = position.worth(price)
        fee = self._pay(proceeds, fee_rate)
        profit = proceeds - position.worth(position.entry_price) - fee
        self.cash += proceeds
        self.realized += profit
        self.winners += profit > 0
        return profit, fee

    def _pay(self, amount: Decimal, fee_rate: Decimal) -> Decimal:
        fee = (amount * fee_rate).quantize(_TICK)
        self.cash -= fee
        self.fees += fee
        self.trades += 1
        return fee

    def invested(self, day: Day) -> Decimal:
        """What the positions are worth at the day's closing prices."""
        held = self.positions.items()
        return sum((each.worth(day.bars[symbol].close) for symbol, each in held), Decimal(0))

    def remember(self, day: Day, window: int) -> None:
        """Take the day's closing prices into account; the next day comes next."""
        for symbol, bar in day.bars.items():
            self.closes[symbol] = [*self.closes.get(symbol, []), bar.close][-window:]
        self.next_day = day.number + 1
