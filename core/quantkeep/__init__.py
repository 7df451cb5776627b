"""The memory of trading systems: session state, trade tape, predictions, backtests, knowledge.

import quantkeep

with quantkeep.open("sqlite:///bot.db") as keep:
    session = keep.sessions.start("btc-arb", mode="paper")
    session["risk_guard"] = {"daily_loss_usd": 0.0}
    session.save()
"""

from quantkeep.backend import Backdoor, Backend, Capability, Durability, Health
from quantkeep.batch import (
    ABSENT,
    ANYTHING,
    PRESENT,
    AtRevision,
    Holding,
    Receipt,
)
from quantkeep.errors import (
    Busy,
    Conflict,
    Corrupt,
    DurabilityNotMet,
    FormatTooNew,
    Invalid,
    InvalidValue,
    NotFound,
    OutcomeUnknown,
    QuantkeepError,
    StaleOwner,
    StoreFull,
    Unavailable,
    Unsupported,
)
from quantkeep.hookspecs import hookimpl
from quantkeep.keep import Keep
from quantkeep.merging import merge
from quantkeep.opening import open  # noqa: A004  # quantkeep.open is the name people call
from quantkeep.query import Exists, Measure, Per, Query, Tally, Where, where
from quantkeep.records import Record, field, record

__all__ = [
    "ABSENT",
    "ANYTHING",
    "PRESENT",
    "AtRevision",
    "Backdoor",
    "Backend",
    "Busy",
    "Capability",
    "Conflict",
    "Corrupt",
    "Durability",
    "DurabilityNotMet",
    "Exists",
    "FormatTooNew",
    "Health",
    "Holding",
    "Invalid",
    "InvalidValue",
    "Keep",
    "Measure",
    "NotFound",
    "OutcomeUnknown",
    "Per",
    "QuantkeepError",
    "Query",
    "Receipt",
    "Record",
    "StaleOwner",
    "StoreFull",
    "Tally",
    "Unavailable",
    "Unsupported",
    "Where",
    "field",
    "hookimpl",
    "merge",
    "open",
    "record",
    "where",
]
