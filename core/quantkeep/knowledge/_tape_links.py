"""Keeping what stretch of the trade tape belongs to which strategy."""

from uuid import UUID

from quantkeep.batch import Receipt
from quantkeep.knowledge._rules import Rules
from quantkeep.knowledge.records import LiveTrades, Replay
from quantkeep.query import where
from quantkeep.store import PendingBatch


class TapeLinks(Rules):
    """Links to ranges of a tape stream (KB-15, Z-66). The tape may be on another backend."""

    def link_live_trades(
        self, link: LiveTrades, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> str:
        """Record that a strategy traded a stretch of the tape; the id of the link.

        Raises:
            InvalidReference: the run or the strategy is not stored.
            AlreadyExists: another link has its id.
        """
        live_id = link.live_id or self._new_id("live", op_id, batch)
        known = link.replace(live_id=live_id)
        self._add(known, moving=("last_revision",), op_id=op_id, batch=batch)
        return live_id

    def extend_live_trades(
        self,
        live_id: str,
        last_revision: int,
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Record up to which revision a strategy traded; raises :class:`NotFound`."""
        changes = {"last_revision": last_revision}
        return self._change(LiveTrades, live_id, changes=changes, op_id=op_id, batch=batch)

    def link_replay(
        self, link: Replay, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> str:
        """Record that a strategy was replayed on a stretch of the tape; the id of the link.

        Raises:
            InvalidReference: the run, the strategy or the backtest is not stored.
            AlreadyExists: another link has its id.
        """
        replay_id = link.replay_id or self._new_id("replay", op_id, batch)
        self._add(link.replace(replay_id=replay_id), op_id=op_id, batch=batch)
        return replay_id

    def live_trades(
        self, *, strategy_id: str | None = None, run_id: UUID | None = None
    ) -> list[LiveTrades]:
        """Stretches that were traded, newest first. ``link.where`` picks their rows of the tape."""
        asked = where(strategy_id=strategy_id, run_id=run_id)
        return self.table(LiveTrades).list(*asked, order=("-created_at",))

    def replays(
        self, *, strategy_id: str | None = None, run_id: UUID | None = None
    ) -> list[Replay]:
        """Stretches that were replayed, newest first."""
        asked = where(strategy_id=strategy_id, run_id=run_id)
        return self.table(Replay).list(*asked, order=("-created_at",))
