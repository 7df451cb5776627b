"""The strategy: long while the 5-day average of closing prices is above the 20-day average.

It looks at the book and says what to do at the day's opening. Nothing here knows that anything is
stored.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Literal

import attrs

from quantkeep_plugins.demo.book import Book
from quantkeep_plugins.demo.prices import Day

FAST, SLOW = 5, 20  # days

Action = Literal["OPEN", "CLOSE"]


@attrs.frozen
class Order:
    """To be filled at the opening price, as nearly as the market allows."""

    symbol: str
    action: Action
    reason: str


def orders(book: Book, day: Day) -> Iterator[Order]:
    """What to do on *day*, symbol by symbol."""
    for symbol in sorted(day.bars):
        closes = book.closes.get(symbol, [])
        if len(closes) < SLOW:
            continue
        rising, held = _rising(closes), symbol in book.positions
        if rising and not held:
            yield Order(symbol, "OPEN", f"the {FAST}-day average is above the {SLOW}-day average")
        elif held and not rising:
            yield Order(symbol, "CLOSE", f"the {FAST}-day average is below the {SLOW}-day average")


def _rising(closes: Sequence[Decimal]) -> bool:
    return _mean(closes[-FAST:]) > _mean(closes[-SLOW:])


def _mean(prices: Sequence[Decimal]) -> Decimal:
    return sum(prices, Decimal(0)) / len(prices)
