"""Backtest results: metadata in a record, three tables beside it, published whole (BT-1 ... BT-27).

saved = keep.backtests.save_result(result)              # the original JSON, as a dict
keep.backtests.get_result(saved.task_id)                # and back, equal
keep.backtests.read(saved.task_id, "symbol_signals", symbols=["BTC/USDT"])
"""

from typing import ClassVar

from quantkeep.backtests.checking import Checking, Verified
from quantkeep.backtests.encodings import COMPACT, SNAPPY, STANDARD, Encoding
from quantkeep.backtests.exchange import Exchange
from quantkeep.backtests.part import Saved
from quantkeep.backtests.reading import Tables
from quantkeep.backtests.records import STATUSES, BacktestResult, BacktestTombstone
from quantkeep.backtests.removing import GRACE, Collected, Removed, Removing
from quantkeep.backtests.schemas import CURVE, SIGNALS, SUMMARY, TABLES, V1, ResultSchema
from quantkeep.records import Record

__all__ = [
    "COMPACT",
    "CURVE",
    "GRACE",
    "SIGNALS",
    "SNAPPY",
    "STANDARD",
    "STATUSES",
    "SUMMARY",
    "TABLES",
    "V1",
    "BacktestResult",
    "BacktestStore",
    "BacktestTombstone",
    "Collected",
    "Encoding",
    "Removed",
    "ResultSchema",
    "Saved",
    "Tables",
    "Verified",
]


class BacktestStore(Exchange, Checking, Removing):
    """What backtests gave: found by strategy, symbol, status and time, read whole or in part.

    A result appears with the commit of its record, after its files; deleted, it leaves with a
    commit too, and its files follow later. So nobody ever sees a record without its tables.
    """

    name: ClassVar[str] = "backtests"
    records: ClassVar[tuple[type[Record], ...]] = (BacktestResult, BacktestTombstone)
