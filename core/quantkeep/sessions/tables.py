"""What the parts of the session store work on: its tables, its leases, its blobs."""

from datetime import datetime
from typing import Any, Self

import attrs

from quantkeep import documents
from quantkeep.blobs import Blobs
from quantkeep.collection import SealedRow
from quantkeep.columns import Kind, Row, instant
from quantkeep.guard import GuardedBackend
from quantkeep.hosts import Hosts
from quantkeep.query import Query, Where
from quantkeep.sessions.lease import Leases
from quantkeep.sessions.records import EntryRecord, LeaseRecord, SessionRecord, SnapshotRecord
from quantkeep.store import Home
from quantkeep.table import Table


@attrs.frozen(kw_only=True)
class Tables:
    """The session store's own tables on their backend."""

    backend: GuardedBackend
    hosts: Hosts
    sessions: Table[SessionRecord]
    entries: Table[EntryRecord]
    snapshots: Table[SnapshotRecord]
    leases: Leases
    blobs: Blobs

    @classmethod
    def of(cls, home: Home) -> Self:
        """The tables of the store that lives at *home*."""
        return cls(
            backend=home.backend,
            hosts=home.hosts,
            sessions=home.table(SessionRecord),
            entries=home.table(EntryRecord),
            snapshots=home.table(SnapshotRecord),
            leases=Leases(home.table(LeaseRecord), home.backend),
            blobs=Blobs(home.backend),
        )

    def now(self) -> datetime:
        """The store's clock."""
        return instant(self.backend.now())

    def snapshot_head(self, session_id: str) -> int:
        """The revision of the newest snapshot of a session, damaged or not; 0 if there is none."""
        query = Query(where=(of_session(session_id),), limit=1, take="last")
        newest = next(self.backend.scan(self.snapshots.collection, query), None)
        return newest.revision if newest else 0

    def changed(self, row: Row, **changes: Any) -> SealedRow:
        """A session's row with *changes*; columns that other programs added to it stay."""
        collection, values = self.sessions.collection, list(row)
        for name, value in changes.items():
            column, place = collection.column(name), collection.places[name]
            values[place] = (
                documents.encode(value, self.hosts)
                if column.kind is Kind.DOCUMENT
                else column.canonical(value, record=collection.record_name)
            )
        return collection.sealer.seal_row(tuple(values))


def of_session(session_id: str) -> Where:
    """The condition that a record belongs to that session."""
    return Where("session_id", "==", session_id)
