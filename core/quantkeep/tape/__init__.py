"""The trade tape: what was done, on paper and live.

    keep.tape.append(Trade(mode="live", timestamp=now, symbol="BTC/USDT", side="LONG",
                           action="OPEN", qty=0.1, target_price=49_990.0, fill_price=50_000.0))
    keep.tape.trades(mode="live", limit=100)        # the newest, oldest of them first
    keep.tape.equity(mode="live", since=monday)
    keep.tape.slippage_stats("BTC/USDT", days=7)
    for trade in keep.tape.follow(Trade, mode="live", after=4711): ...

Logs are numbered by account and mode; current positions and orders are in the session store.
"""

from quantkeep.tape.records import (
    Diagnostic,
    EquityPoint,
    ExpectedValue,
    PositionEvent,
    Slippage,
)
from quantkeep.tape.retention import Expired
from quantkeep.tape.slippage import SlippageStats
from quantkeep.tape.store import TradeTape
from quantkeep.tape.trade import Trade
from quantkeep.watermarks import Watermarks

__all__ = [
    "Diagnostic",
    "EquityPoint",
    "ExpectedValue",
    "Expired",
    "PositionEvent",
    "Slippage",
    "SlippageStats",
    "Trade",
    "TradeTape",
    "Watermarks",
]
