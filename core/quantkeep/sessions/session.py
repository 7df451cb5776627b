"""A session: live state that a program changes, saves, and resumes from."""

import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

from quantkeep.batch import Batch, Receipt
from quantkeep.errors import (
    Closed,
    Conflict,
    OutcomeUnknown,
    QuantkeepError,
    StaleOwner,
)
from quantkeep.sessions.components import Tape
from quantkeep.sessions.reading import Origin
from quantkeep.sessions.records import SessionRecord, SnapshotType, Status
from quantkeep.sessions.saving import Prepared, Progress, Saver
from quantkeep.sessions.sharing import Share
from quantkeep.sessions.state import State
from quantkeep.sessions.tracked import Tree
from quantkeep.store import PendingBatch

SNAPSHOT_EVERY = 300.0  # seconds (D70-20)


class Session(State):
    """A mapping of named sections; see :meth:`SessionStore.start` and ``resume``.

    Sections hold what a document holds: plain values, Decimals, instants, your own registered
    classes. Dicts inside are tracked mappings (:class:`quantkeep.sessions.Tracked`). Nothing is
    stored until :meth:`save`, and then everything that changed is, in one commit.

    In a ``with`` block, the session is stopped at its end; if the block raises, what was last
    saved stays as it is, and the session is marked as crashed.

    Safe to share between threads; a save must not run while another thread changes a value inside
    a list or an object of yours.

    Attributes:
        loop_count: loops the engine has completed; saved with the state.
        resumed_from: where the state was taken from; ``None`` after a clean start.
        snapshot_every: seconds after which a save writes a periodic snapshot; ``None`` for never.
    """

    def __init__(
        self,
        record: SessionRecord,
        progress: Progress,
        saver: Saver,
        tree: Tree,
        *,
        tape: Tape | None = None,
        resumed_from: Origin | None = None,
        snapshot_every: float | None = SNAPSHOT_EVERY,
    ) -> None:
        super().__init__(record, progress, saver, tree, tape)
        self._unsettled: Prepared | None = None
        self._ended = False
        self.resumed_from = resumed_from
        self.snapshot_every = snapshot_every

    # -- saving ----------------------------------------------------------------------------------

    def save(
        self,
        *,
        snapshot: SnapshotType | None = None,
        watermarks: Mapping[str, int] | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Store what changed since the last save, in one commit.

        Args:
            snapshot: write a snapshot of this type too. Without one, a periodic snapshot is
                written if the last was ``snapshot_every`` seconds ago.
            watermarks: as by :meth:`watermark`, for several streams. What a save does not say is in
                the state is given again by ``resume``.
            op_id: makes the commit idempotent: after :class:`OutcomeUnknown`, the same call again
                gives its receipt, and stores what changed since with the next save.
            batch: join a batch of the keep (:meth:`quantkeep.Keep.batch`). What the batch appends
                to the tape is then taken to be in the state, and the watermarks move with it. If
                another writer has appended to those streams meanwhile, the batch is a
                :class:`Conflict` that says which; nothing is applied.

        Raises:
            StaleOwner: another owner has taken the session over; nothing was written.
            InvalidValue: something in the state cannot be stored; ``field`` is the path to it, and
                nothing was written.
            Regression: an older backup was put back under this session.
            Closed: the session has ended.
        """
        with self._lock:
            self._usable()
            for stream, revision in (watermarks or {}).items():
                self.watermark(stream, revision)
            return self._save(snapshot or self._due(), op_id=op_id, batch=batch)

    def snapshot(self, snapshot_type: SnapshotType = "manual", **options: Any) -> Receipt:
        """As :meth:`save`, with a snapshot of the whole state."""
        return self.save(snapshot=snapshot_type, **options)

    def renew(self) -> Receipt:
        """Make the lease last from now on, for a loop that does not save for a long time.

        Raises:
            StaleOwner: another owner has taken the session over.
        """
        with self._lock:
            self._usable()
            return self._saver.renew()

    def stop(self, status: Literal["stopped", "finished"] = "stopped") -> Receipt:
        """Save everything with a snapshot, and let the session go, in one commit.

        A stopped session can be resumed; a finished one can not.
        """
        with self._lock:
            self._usable()
            receipt = self._save("on_stop", ending=status)
            self._ended, self._status = True, status
            return receipt

    def close(self, status: Literal["stopped", "crashed"] = "stopped") -> None:
        """Let the session go without saving: what was last saved stays. Idempotent."""
        with self._lock:
            if self._ended:
                return
            self._ended, self._status = True, status
            with suppress(StaleOwner, Closed):
                self._settle_last()
                self._saver.end(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is None:
            if not self._ended:
                self.stop()
            return
        try:
            self.close("crashed" if isinstance(error, Exception) else "stopped")
        except QuantkeepError as failure:
            error.add_note(f"the session could not be let go: {failure}")

    # -- how -------------------------------------------------------------------------------------

    def _usable(self) -> None:
        if self._ended:
            raise Closed(f"session {self.session_id!r} has ended here: resume it to go on")

    def _due(self) -> SnapshotType | None:
        every = self.snapshot_every
        due = every is not None and time.monotonic() - self._saver.snapshot_at >= every
        return "periodic" if due else None

    def _save(
        self,
        snapshot: str | None,
        *,
        ending: Status = "running",
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        unsettled = self._unsettled
        if unsettled is not None and op_id is not None and op_id == unsettled.op_id:
            return self._commit(unsettled)
        self._settle_last()
        for section, component in self._components.items():
            self._tree.root[section] = component.get_state()
        prepared = self._saver.prepare(
            self._tree,
            self._record,
            self._progress(ending),
            snapshot=snapshot,
            op_id=op_id,
        )
        if batch is None:
            return self._commit(prepared)
        batch.join(self._saver.tables.backend, Share(self._saver, prepared, self._shared))
        self._unsettled = prepared
        return Receipt()

    def _shared(self, prepared: Prepared, receipt: Receipt | None = None) -> None:
        """The save as the batch it joined commits it, and then the *receipt*."""
        with self._lock:
            if receipt is not None:
                self._settle(prepared, receipt)
            elif self._is_unsettled(prepared):
                self._unsettled = prepared

    def _is_unsettled(self, prepared: Prepared) -> bool:
        return self._unsettled is not None and self._unsettled.touched is prepared.touched

    def _progress(self, status: Status) -> Progress:
        return Progress(
            status=status,
            end_time=None if status == "running" else self._saver.tables.now(),
            loop_count=self.loop_count,
            state_version=self._state_version,
            watermarks=dict(self._watermarks),
        )

    def _commit(self, prepared: Prepared) -> Receipt:
        try:
            writes = self._saver.writes(prepared)
            receipt = self._saver.tables.backend.commit(Batch(writes, prepared.op_id))
        except OutcomeUnknown:
            self._unsettled = prepared
            raise
        except BaseException as error:
            self._unsettled = None
            self._tree.give_back(prepared.touched)
            if type(error) is Conflict:
                raise self._saver.explained(error) from error.__cause__
            raise
        self._settle(prepared, receipt)
        return receipt

    def _settle(self, prepared: Prepared, receipt: Receipt) -> None:
        with self._lock:
            if self._is_unsettled(prepared):
                self._unsettled = None
            self._saver.settle(prepared, receipt.outcomes)
            self._move_to(prepared.watermarks)

    def _settle_last(self) -> None:
        """A save whose end was not seen: it was committed, or all of it is still to be saved."""
        unsettled, self._unsettled = self._unsettled, None
        if unsettled is None:
            return
        if self._saver.was_applied():
            self._saver.settle(unsettled)
            self._move_to(unsettled.watermarks)
        else:
            self._tree.give_back(unsettled.touched)

    def __repr__(self) -> str:
        sections = ", ".join(self._tree.data)
        return f"<Session {self.session_id!r} ({self.mode}, {self.status}): {sections}>"
