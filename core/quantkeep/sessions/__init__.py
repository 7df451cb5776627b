"""Live session state: what a program resumes from after a crash (D70).

session = keep.sessions.start("btc-arb", mode="paper")     # or resume("btc-arb")
session["positions"] = {"BTC": position}
session.loop_count += 1
session.save()                                             # writes what changed, in one commit
session.save(snapshot="on_trade")                          # and keeps all of it as history
"""

from quantkeep.sessions.checks import Check, ResumeWarning, Resuming
from quantkeep.sessions.components import Component, Tape
from quantkeep.sessions.history import Problem, Pruned
from quantkeep.sessions.reading import Origin
from quantkeep.sessions.records import (
    EntryRecord,
    LeaseRecord,
    SessionRecord,
    SnapshotRecord,
    SnapshotType,
    Status,
)
from quantkeep.sessions.session import Session
from quantkeep.sessions.snapshots import Snapshot
from quantkeep.sessions.store import ResumedAll, SessionStore
from quantkeep.sessions.tracked import Tracked

__all__ = [
    "Check",
    "Component",
    "EntryRecord",
    "LeaseRecord",
    "Origin",
    "Problem",
    "Pruned",
    "ResumeWarning",
    "ResumedAll",
    "Resuming",
    "Session",
    "SessionRecord",
    "SessionStore",
    "Snapshot",
    "SnapshotRecord",
    "SnapshotType",
    "Status",
    "Tape",
    "Tracked",
]
