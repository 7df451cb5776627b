"""The history of sessions: their snapshots, how long they are kept, whether they are sound."""

import builtins
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import attrs

from quantkeep.batch import ABSENT, AtRevision, Batch, Delete, Receipt
from quantkeep.collection import Key
from quantkeep.columns import instant
from quantkeep.errors import Corrupt, InvalidQuery, InvalidValue
from quantkeep.query import Query, Where, where
from quantkeep.sessions import reading
from quantkeep.sessions.lease import held
from quantkeep.sessions.listing import Listing
from quantkeep.sessions.records import SnapshotRecord
from quantkeep.sessions.snapshots import Snapshot
from quantkeep.sessions.tables import of_session

_PER_COMMIT = 500  # deletions, so that a writer beside it never waits long


@attrs.frozen
class Problem:
    """Something of a session that is not what was written.

    Attributes:
        what: the live state, a snapshot, or the session's own row.
        revision: of the snapshot, otherwise of the session.
        message: what is wrong.
    """

    what: Literal["session", "live", "snapshot"]
    revision: int
    message: str


@attrs.frozen
class Pruned:
    """What pruning deleted, or would delete.

    Attributes:
        snapshots: the session and revision of each.
        stored_bytes: that they take up, compressed.
    """

    snapshots: tuple[tuple[str, int], ...]
    stored_bytes: int


class History(Listing):
    """Snapshots of sessions: listing, looking into, checking, pruning."""

    # -- looking ---------------------------------------------------------------------------------

    def snapshots(
        self,
        name_or_id: str,
        *,
        type: str | None = None,  # noqa: A002  # what a snapshot's type is called
        since: datetime | None = None,
        limit: int | None = 100,
    ) -> builtins.list[SnapshotRecord]:
        """The newest snapshots of a session, oldest of them first; ``limit=None`` for all.

        Raises:
            NotFound: there is no such session.
            Corrupt: the row of one does not match its digest; see :meth:`verify`.
        """
        conditions = [of_session(self._id(name_or_id)), *where(snapshot_type=type)]
        if since is not None:
            conditions.append(Where("created_at", ">=", since))
        take: Literal["first", "last"] = "first" if limit is None else "last"
        return self._tables.snapshots.list(*conditions, limit=limit, take=take)

    def snapshot(self, name_or_id: str, revision: int) -> Snapshot:
        """A session as it was, checked; ``resume(..., at=revision)`` goes back to it.

        Raises:
            NotFound: there is no such session or snapshot.
            Corrupt: it is not what was written.
            InvalidValue: an object's class is not registered; ``field`` is the path to it.
        """
        return reading.snapshot(self._tables, self._id(name_or_id), revision)

    def latest_snapshots(self) -> dict[str, SnapshotRecord]:
        """The newest snapshot of each session, by its id (D70-11).

        Raises:
            Corrupt: the row of one does not match its digest; see :meth:`verify`.
        """
        newest = ((i, self._tables.snapshots.last(of_session(i))) for i in self._ids())
        return {session_id: record for session_id, record in newest if record is not None}

    def _ids(self) -> builtins.list[str]:
        """The sessions that have, or had, snapshots."""
        heads = self._tables.backend.heads(self._tables.snapshots.collection)
        return sorted(str(head.stream[0]) for head in heads)

    def verify(self, name_or_id: str) -> builtins.list[Problem]:
        """Read everything of a session and hold it against digests, sums and checksums (D70-14).

        Gives what is wrong, newest snapshot first; an empty list if all is sound.
        """
        session_id = self._id(name_or_id)
        snapshots = [
            Problem("snapshot", revision, str(found))
            for revision, found in reading.examined(self._tables, session_id)
            if not isinstance(found, SnapshotRecord)
        ]
        return [*self._live_problems(session_id, snapshots), *snapshots]

    def _live_problems(
        self, session_id: str, snapshots: builtins.list[Problem]
    ) -> Iterator[Problem]:
        stored = self._finder.row(session_id, None, None)
        try:
            record = self._tables.sessions.load(stored)
        except Corrupt as error:
            yield Problem("session", stored.revision, str(error))
            return
        try:
            reading.live(self._tables, record)
        except (Corrupt, InvalidValue) as error:
            yield Problem("live", stored.revision, str(error))
        newest = record.snapshot_revision
        if newest and self._tables.snapshot_head(session_id) < newest:
            yield Problem("snapshot", newest, "the newest snapshot is missing")

    # -- retention -------------------------------------------------------------------------------

    def prune(
        self,
        *,
        older_than: timedelta | datetime | None = None,
        keep_last: int | None = None,
        name_or_id: str | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """Delete snapshots that are old enough and not among the last of their session (Z-42).

        The newest snapshot of a session stays, and so does its newest good one unless the session
        is finished. Live state is never touched. Large snapshots give their space back with ``gc``.

        Args:
            older_than: only those written before then, by the store's clock.
            keep_last: of each session, keep so many.
            name_or_id: only of this session.
            dry_run: delete nothing, and say what would be deleted.

        Raises:
            InvalidQuery: neither *older_than* nor *keep_last* is given.
        """
        if older_than is None and keep_last is None:
            raise InvalidQuery(
                "prune needs older_than= or keep_last=: nothing is deleted by default"
            )
        if keep_last is not None and keep_last < 0:
            raise InvalidQuery(f"keep_last={keep_last}: expected a number of snapshots")
        before = (
            self._tables.now() - older_than if isinstance(older_than, timedelta) else older_than
        )
        sessions = [self._id(name_or_id)] if name_or_id else self._ids()
        doomed = [pair for i in sessions for pair in self._doomed(i, before, keep_last or 0)]
        keys = tuple(key for key, _ in doomed)
        if not dry_run:
            self._delete_snapshots(keys)
        return Pruned(keys, sum(stored_bytes for _, stored_bytes in doomed))

    def _doomed(
        self, session_id: str, before: datetime | None, keep_last: int
    ) -> Iterator[tuple[tuple[str, int], int]]:
        """Key and stored bytes of each snapshot that may go; a damaged one may, too."""
        collection = self._tables.snapshots.collection
        place = collection.places["stored_bytes"]
        protected = self._newest_good(session_id)
        query = Query(where=(of_session(session_id),), order=("-revision",))
        for rank, stored in enumerate(self._tables.backend.scan(collection, query)):
            old = before is None or instant(stored.created_at) < before
            if old and rank >= max(keep_last, 1) and stored.revision != protected:
                yield (session_id, stored.revision), int(stored.values[place] or 0)

    def _newest_good(self, session_id: str) -> int | None:
        session = self._tables.backend.get(self._tables.sessions.collection, (session_id,))
        status = self._tables.sessions.collection.places["status"]
        if session is not None and session.values[status] == "finished":
            return None  # nothing will be resumed from it
        found = reading.examined(self._tables, session_id)
        return next((n for n, record in found if isinstance(record, SnapshotRecord)), None)

    def _delete_snapshots(self, keys: Sequence[Key]) -> None:
        collection = self._tables.snapshots.collection
        for start in range(0, len(keys), _PER_COMMIT):
            part = keys[start : start + _PER_COMMIT]
            self._tables.backend.commit(Batch(tuple(Delete(collection, key) for key in part)))

    def delete(self, name_or_id: str, *, steal: bool = False) -> Receipt:
        """Delete a session for good: its state, its lease and its history.

        Args:
            name_or_id: as of :meth:`SessionStore.resume`.
            steal: even if an owner may still be alive.

        Raises:
            NotFound: there is no such session.
            Busy: an owner holds it.
        """
        session_id = self._id(name_or_id)
        leases = self._tables.leases
        lease = leases.table.get(session_id)
        if lease is not None and not steal and leases.standing(lease) == "held":
            raise held(lease)
        expect = AtRevision(lease.revision or 0) if lease else ABSENT
        unclaimed = leases.table.require(session_id, expect=expect)
        return self._commit(unclaimed, self._tables.sessions.delete(session_id))
