"""What is stored of a session: its own row, lease, live state and snapshots (D70-1 ... 10)."""

from datetime import datetime
from typing import Any, Final, Literal, get_args

from quantkeep.collection import Reference
from quantkeep.records import Record, field, record
from quantkeep.trading import Mode

Status = Literal["running", "stopped", "crashed", "finished"]
SnapshotType = Literal["initial", "periodic", "on_trade", "on_stop", "manual"]

SNAPSHOT_TYPES: Final[tuple[str, ...]] = get_args(SnapshotType)

_OF_A_SESSION: Final = Reference(("session_id",), "sessions", on_delete="cascade")


@record(
    "sessions",
    key=("session_id",),
    stream=("session_id",),
    unique=[("name", "number")],
    indexes=[("status",)],
)
class SessionRecord(Record):
    """One session: a run of a program, from its clean start to its end, over any restarts.

    Its revision counts the commits of the session: every save carries the one it expects.
    """

    session_id: str
    name: str = field(doc="what the sessions of one program share")
    number: int = field(between=(1, 2**53), doc="1 for the first session of that name, then 2, ...")
    mode: Mode
    account: str = "default"
    status: Status
    start_time: datetime = field(doc="when the session was started clean, by the store's clock")
    end_time: datetime | None = field(default=None, doc="when it was stopped; none while it runs")
    paper_campaign_id: str | None = None
    loop_count: int = field(default=0, doc="loops the engine had completed at the last save")
    state_version: int = field(default=1, doc="version of the program's state, see upgrades")
    config: Any = field(default=None, doc="the whole configuration of the run")
    watermarks: dict[str, int] = field(
        factory=dict, doc="of each stream, the last revision whose effect is in the state"
    )
    units: int = field(default=0, doc="rows of live state")
    state_digest: bytes = field(
        default=bytes(16), doc="sum of the digests of those rows, modulo 2**128: none is missing"
    )
    snapshot_revision: int = field(default=0, doc="of the newest snapshot; 0 if there is none")


@record(
    "session_leases",
    key=("session_id",),
    stream=("session_id",),
    references=[_OF_A_SESSION],
)
class LeaseRecord(Record):
    """Who may write a session. The token decides, not the clock (Z-11)."""

    session_id: str
    token: int = field(doc="the fencing token: it grows with each takeover, and never falls")
    owner: str = field(doc="what the owner calls itself")
    host: str
    pid: int | None = field(default=None, doc="the owner's process; none once the lease was let go")
    process_start: str | None = field(default=None, doc="tells that process from a later one")
    boot_id: str | None = field(default=None, doc="boot and process namespace the pid belongs to")
    seconds: float = field(finite=True, doc="how long the lease lasts unless it is renewed")
    expires_at: datetime = field(doc="by the store's clock")


@record(
    "session_entries",
    key=("session_id", "section", "path"),
    stream=("session_id",),
    references=[_OF_A_SESSION],
)
class EntryRecord(Record):
    """A piece of live state: a section, or an entry of a mapping inside one.

    Small values are stored whole. The entries of a large mapping are stored one by one, beside a
    row with the layout ``entries`` that stands for the mapping itself (D70-30).
    """

    session_id: str
    section: str
    path: str = field(doc="keys that lead to the entry, a JSON array; [] for the section itself")
    layout: Literal["whole", "entries"]
    body: Any = field(default=None, doc="the value; none where the entries have rows of their own")


@record("session_snapshots", log=True, stream=("session_id",), references=[_OF_A_SESSION])
class SnapshotRecord(Record):
    """The whole of a session at one moment, compressed, with its own checksum (D70-7, D70-31)."""

    session_id: str
    snapshot_type: str = field(choices=SNAPSHOT_TYPES, extensible=True)
    name: str
    number: int
    mode: Mode
    account: str = "default"
    status: Status
    start_time: datetime
    paper_campaign_id: str | None = None
    loop_count: int = 0
    state_version: int = 1
    watermarks: dict[str, int] = field(factory=dict)
    live_revision: int = field(doc="of the session's row in the same commit")
    sections: int = field(doc="sections in it")
    units: int = field(doc="rows of live state it equals")
    body: bytes | None = field(default=None, doc="the document, zlib; none if it is in a blob")
    blob: Any = field(default=None, doc="reference to the compressed document, if it is large")
    stored_bytes: int = field(doc="bytes, compressed")
    body_bytes: int = field(doc="bytes of the document, which has config and sections")
    body_sha256: bytes = field(doc="of the document, uncompressed")
