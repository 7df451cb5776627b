"""One save: everything that changed, and the proof of ownership, in one commit (D70-13)."""

import time
from datetime import datetime
from typing import Any, Self

import attrs

from quantkeep.batch import ABSENT, AtRevision, Batch, Expectation, Outcome, Put, Receipt, Write
from quantkeep.collection import SealedRow
from quantkeep.columns import Row
from quantkeep.errors import Conflict, Regression
from quantkeep.sessions.difference import Difference
from quantkeep.sessions.layout import Layout
from quantkeep.sessions.records import LeaseRecord, SessionRecord, SnapshotRecord, Status
from quantkeep.sessions.snapshots import packed
from quantkeep.sessions.tables import Tables
from quantkeep.sessions.tracked import Touched, Tree


@attrs.frozen(kw_only=True)
class Progress:
    """What a save may change of the session's own data, beside its state."""

    status: Status
    end_time: datetime | None
    loop_count: int
    state_version: int
    watermarks: dict[str, int]

    @classmethod
    def of(cls, record: SessionRecord | SnapshotRecord) -> Self:
        """As *record* has it, of a session that runs on."""
        return cls(
            status="running",
            end_time=None,
            loop_count=record.loop_count,
            state_version=record.state_version,
            watermarks=dict(record.watermarks),
        )


@attrs.frozen(kw_only=True)
class Prepared:
    """A save that is ready to be committed, and what is true once it was."""

    touched: Touched
    difference: Difference
    proof: Write  # of the lease
    put: Put  # of the session's own row
    changes: tuple[Write, ...]
    snapshot: SnapshotRecord | None
    says: dict[str, Any]
    lease: LeaseRecord
    renewed_at: float
    op_id: str | None = None

    @property
    def watermarks(self) -> dict[str, int]:
        """As they are saved."""
        return dict(self.says["watermarks"])


class Saver:
    """Prepares the commits of one session, and keeps what they must expect.

    Attributes:
        revision: of the session's row, as last committed or read; before the first commit, the
            head of its stream.
        lease: as it is held.
        snapshot_at: when the last snapshot was written here, by the monotonic clock.
    """

    def __init__(
        self,
        tables: Tables,
        layout: Layout,
        lease: LeaseRecord,
        *,
        row: Row,
        revision: int = 0,
        snapshots: int = 0,
        acquisition: Put | None = None,
        is_new: bool = False,
        stale: tuple[Write, ...] = (),
    ) -> None:
        self.tables = tables
        self.layout = layout
        self.lease = lease
        self.revision = revision
        self.snapshot_at = self._renewed_at = time.monotonic()
        self._acquisition = acquisition  # of the lease: in the same commit as the first save
        self._stale = stale  # a state that is given up, and the like: in the next commit
        self._expected: Expectation = ABSENT if is_new else AtRevision(revision)
        self._row = row  # as stored, so that columns other programs added to it stay
        self._said: dict[str, Any] = {}  # what a save may change of it, as it is there
        self._required = tables.leases.required(lease)
        self._snapshots = snapshots

    @property
    def has_lease(self) -> bool:
        """Whether the lease is taken; a first save that is still to be made takes it."""
        return self._acquisition is None

    @property
    def _config(self) -> str:
        """Canonical text of the configuration."""
        text = self._row[self.tables.sessions.collection.places["config"]]
        return "null" if text is None else str(text)

    # -- preparing -------------------------------------------------------------------------------

    def prepare(
        self,
        tree: Tree,
        record: SessionRecord,
        progress: Progress,
        *,
        snapshot: str | None,
        op_id: str | None = None,
    ) -> Prepared:
        """A save of what was touched in *tree*.

        Args:
            tree: the state.
            record: the session's data that no save changes.
            progress: those that it changes; unless it says ``running``, the lease is let go.
            snapshot: the type of snapshot to write with it; it looks at the whole state again.
            op_id: the operation id it will be committed under.

        Raises:
            InvalidValue: something in the state cannot be stored; nothing is written.
        """
        touched = tree.take()
        try:
            difference = self.layout.difference(
                tree.data, touched.paths, composing=snapshot is not None
            )
            row, says = self._sealed(progress, difference, snapshot)
            lease, renewed_at, proof = self._proof(progress)
            changes = (*self._stale, *difference.writes())
            taken = (
                self._snapshot(tree, record, progress, difference, snapshot) if snapshot else None
            )
        except BaseException:
            tree.give_back(touched)
            raise
        return Prepared(
            touched=touched,
            difference=difference,
            proof=proof,
            put=self._put(row),
            changes=changes,
            snapshot=taken,
            says=says,
            lease=lease,
            renewed_at=renewed_at,
            op_id=op_id,
        )

    def writes(self, prepared: Prepared) -> tuple[Write, ...]:
        """What is committed: the lease's, then the session's row; a snapshot is the last."""
        writes = (prepared.proof, prepared.put, *prepared.changes)
        if prepared.snapshot is None:
            return writes
        return (*writes, self.tables.snapshots.append([prepared.snapshot]))

    def marked(self, prepared: Prepared, watermarks: dict[str, int]) -> Prepared:
        """The same save, but with these *watermarks*."""
        if watermarks == prepared.watermarks:
            return prepared
        row = self.tables.changed(prepared.put.row.values, watermarks=watermarks)
        snapshot = prepared.snapshot
        return attrs.evolve(
            prepared,
            put=attrs.evolve(prepared.put, row=row),
            snapshot=snapshot and snapshot.replace(watermarks=watermarks),
            says={**prepared.says, "watermarks": watermarks},
        )

    def _put(self, row: SealedRow) -> Put:
        return Put(self.tables.sessions.collection, row, self._expected)

    def _sealed(
        self, progress: Progress, difference: Difference, snapshot: str | None
    ) -> tuple[SealedRow, dict[str, Any]]:
        """The session's row, encoded again only where it changed, and what it says."""
        says: dict[str, Any] = {
            "status": progress.status,
            "end_time": progress.end_time,
            "loop_count": progress.loop_count,
            "state_version": progress.state_version,
            "watermarks": progress.watermarks,
            "units": difference.units,
            "state_digest": self.layout.sum_after(difference),
            "snapshot_revision": self._snapshots + bool(snapshot),
        }
        said = self._said
        changes = {name: v for name, v in says.items() if name not in said or said[name] != v}
        return self.tables.changed(self._row, **changes), says

    def _proof(self, progress: Progress) -> tuple[LeaseRecord, float, Write]:
        """The lease and since when, once the write with them is committed."""
        leases, now = self.tables.leases, time.monotonic()
        if self._acquisition is not None:
            return self.lease, now, self._acquisition
        if progress.status != "running":
            return self.lease, now, leases.released(self.lease)
        if now - self._renewed_at < self.lease.seconds / 3:
            return self.lease, self._renewed_at, self._required
        renewed, write = leases.renewed(self.lease)
        return renewed, now, write

    def renew(self) -> Receipt:
        """Make the lease last from now on; raises :class:`quantkeep.StaleOwner`."""
        now = time.monotonic()
        renewed, write = self.tables.leases.renewed(self.lease)
        receipt = self.tables.backend.commit(Batch((write,)))
        self.lease, self._renewed_at = renewed, now
        return receipt

    def end(self, status: Status) -> None:
        """Let the session go as it was last saved, but with that *status*."""
        now = self.tables.now()
        row = self.tables.changed(self._row, status=status, end_time=now)
        writes = (self.tables.leases.released(self.lease), self._put(row))
        self.tables.backend.commit(Batch(writes))

    def _snapshot(
        self,
        tree: Tree,
        record: SessionRecord,
        progress: Progress,
        difference: Difference,
        kind: str,
    ) -> SnapshotRecord:
        return SnapshotRecord(
            session_id=record.session_id,
            snapshot_type=kind,
            name=record.name,
            number=record.number,
            mode=record.mode,
            account=record.account,
            status=progress.status,
            start_time=record.start_time,
            paper_campaign_id=record.paper_campaign_id,
            loop_count=progress.loop_count,
            state_version=progress.state_version,
            watermarks=progress.watermarks,
            live_revision=self.revision + 1,
            units=difference.units,
            sections=len(tree.data),
            **packed(self._config, difference.document, self.tables.blobs),
        )

    # -- afterwards ------------------------------------------------------------------------------

    def settle(self, prepared: Prepared, outcomes: tuple[Outcome, ...] = ()) -> None:
        """The save was committed; without *outcomes*, as it is known to have been."""
        self.layout.apply(prepared.difference)
        self._acquisition, self._stale = None, ()
        self._row, self._said = prepared.put.row.values, prepared.says
        self.lease, self._renewed_at = prepared.lease, prepared.renewed_at
        self.revision = outcomes[1].revisions[0] if outcomes else self.revision + 1
        self._expected = AtRevision(self.revision)
        if prepared.snapshot is not None:
            self._snapshots = outcomes[-1].revisions[0] if outcomes else self._snapshots + 1
            self.snapshot_at = time.monotonic()

    def was_applied(self) -> bool:
        """Whether the save whose outcome is not known was committed; nobody else can have been."""
        stored = self.tables.sessions.get(self.layout.session_id)
        return stored is not None and stored.revision == self.revision + 1

    def explained(self, error: Conflict) -> Exception:
        """*error*, or what is behind it: an older backup was put back under this session."""
        stored = self.tables.sessions.get(self.layout.session_id)
        found = (stored.revision or 0) if stored else 0
        if found >= self.revision:
            return error
        return Regression(
            f"session {self.layout.session_id!r} is at revision {found}, but {self.revision} was "
            "saved here: an older backup was put back under it; stop, and compare before going on",
            locator=f"sessions({self.layout.session_id!r})",
        )
