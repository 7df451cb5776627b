"""Reading what is stored of a session, held against its digests, its sum, its checksums."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import attrs

from quantkeep.collection import StoredRow
from quantkeep.errors import Corrupt, NotFound, TooLarge
from quantkeep.query import Query
from quantkeep.sessions.layout import Layout
from quantkeep.sessions.records import SessionRecord, SnapshotRecord
from quantkeep.sessions.snapshots import Snapshot, checked, opened
from quantkeep.sessions.tables import Tables, of_session


@attrs.frozen(kw_only=True)
class Origin:
    """Where a resumed session's state was taken from.

    Attributes:
        source: the live state as it was last saved, or a snapshot.
        revision: of the session's row, or of the snapshot.
        saved_at: when that was written, by the store's clock.
        damaged: what was found corrupt and passed over, in words.
    """

    source: Literal["live", "snapshot"]
    revision: int
    saved_at: datetime
    damaged: tuple[str, ...] = ()


@attrs.frozen
class Live:
    """Live state as it is stored, and the rows that hold it."""

    sections: dict[str, Any]
    layout: Layout


def live(tables: Tables, record: SessionRecord) -> Live:
    """The live state of a session.

    Raises:
        Corrupt: a row of it is damaged, missing, or not the one that was saved last.
        InvalidValue: an object's class is not registered; ``field`` is the path to it.
    """
    layout = Layout(tables.entries, record.session_id)
    sections = layout.read(entry_rows(tables, record.session_id))
    if (layout.units, layout.state_digest) != (record.units, record.state_digest):
        lost = record.units - layout.units
        what = f"{lost} of {record.units} rows are missing" if lost > 0 else "a row is not the last"
        raise Corrupt(
            f"the live state of session {record.session_id!r} is not what was saved: {what}",
            locator=f"session_entries({record.session_id!r})",
        )
    return Live(sections, layout)


def entry_rows(tables: Tables, session_id: str) -> Iterator[StoredRow]:
    """The rows of live state, as they are."""
    query = Query(where=(of_session(session_id),))
    return tables.backend.scan(tables.entries.collection, query)


def newest_snapshot(tables: Tables, record: SessionRecord) -> SnapshotRecord | None:
    """The newest snapshot of a session, checked; ``None`` if it never had one.

    Raises:
        Corrupt: it is damaged, or missing.
    """
    if not record.snapshot_revision:
        return None
    try:
        return snapshot_record(tables, record.session_id, record.snapshot_revision)
    except NotFound:
        raise Corrupt(
            f"snapshot {record.snapshot_revision} of session {record.session_id!r}, its newest, "
            "is missing",
            locator=f"session_snapshots({record.session_id!r}, {record.snapshot_revision})",
        ) from None


def snapshot_record(tables: Tables, session_id: str, revision: int) -> SnapshotRecord:
    """One snapshot, checked.

    Raises:
        Corrupt: it is damaged.
        NotFound: there is none of that revision.
    """
    found = tables.snapshots.get(session_id, revision)
    if found is None:
        raise NotFound(f"session {session_id!r} has no snapshot {revision}")
    checked(found, tables.blobs)
    return found


def examined(
    tables: Tables, session_id: str
) -> Iterator[tuple[int, SnapshotRecord | Corrupt | TooLarge]]:
    """Each snapshot of a session, newest first: its revision, and itself or what is wrong."""
    query = Query(where=(of_session(session_id),), order=("-revision",))
    for stored in tables.backend.scan(tables.snapshots.collection, query):
        try:
            record = tables.snapshots.load(stored)
            checked(record, tables.blobs)
        except (Corrupt, TooLarge) as error:
            yield stored.revision, error
        else:
            yield stored.revision, record


def snapshot(tables: Tables, session_id: str, revision: int) -> Snapshot:
    """One snapshot with its state; raises as :func:`snapshot_record`, and InvalidValue."""
    record = snapshot_record(tables, session_id, revision)
    return opened(record, tables.blobs, tables.hosts)
