"""Current positions, and whether the exchange agrees."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, get_args

import attrs

from quantkeep.batch import ANYTHING, Delete, Expectation, Receipt
from quantkeep.query import where
from quantkeep.sessions.current import Current
from quantkeep.sessions.position_record import Position, SyncStatus
from quantkeep.store import PendingBatch
from quantkeep.trading import Mode

_FROM_BEST: Final = get_args(SyncStatus)  # synced, pending, mismatch


@attrs.frozen
class Mismatch:
    """A position that the exchange counts otherwise; sizes in base units, or contracts."""

    symbol: str
    exchange_size: float | None
    local_size: float
    size_diff: float | None


@attrs.frozen
class SyncState:
    """Whether the exchange agrees with the positions of one account (Z-36).

    Attributes:
        overall: the worst of them; ``synced`` if there are none.
        last_sync_at: the oldest comparison; ``None`` if one of them was never compared.
        mismatches: those that differ, by symbol.
    """

    overall: SyncStatus
    last_sync_at: datetime | None
    mismatches: tuple[Mismatch, ...]


class Positions(Current[Position]):
    """The positions that are open now, by account, mode and symbol.

    Whatever is done to those of one mode or account never touches those of another (Z-30).
    """

    records = (Position,)
    kept = Position

    def get(self, symbol: str, *, mode: Mode, account: str = "default") -> Position | None:
        """The position in *symbol*; ``None`` if there is none."""
        return self._kept.get(account, mode, symbol)

    def all(self, *, mode: Mode, account: str = "default") -> dict[str, Position]:
        """The positions of one account, by symbol (CODEX-24)."""
        found = self._kept.list(*where(account=account, mode=mode))
        return {position.symbol: position for position in found}

    def delete(
        self,
        symbol: str,
        *,
        mode: Mode,
        account: str = "default",
        expect: Expectation = ANYTHING,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Forget the position in *symbol*; its history stays on the tape.

        What is not there is not deleted, and that is no error, unless *expect* says so.
        """
        write = self._kept.delete(account, mode, symbol, expect=expect)
        return self._commit(write, op_id=op_id, batch=batch)

    def delete_all(
        self,
        *,
        mode: Mode,
        account: str = "default",
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Forget the positions of one account and mode (CODEX-23 ``delete_positions_by_mode``)."""
        return self._commit(*self._deletes(mode, account), op_id=op_id, batch=batch)

    def replace_all(
        self,
        positions: Iterable[Position],
        *,
        mode: Mode,
        account: str = "default",
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Make *positions* the ones there are, in one commit: what the exchange says (CODEX-28).

        Raises:
            InvalidValue: a position is of another account or mode.
        """
        given = {position.symbol: position for position in positions}
        for position in given.values():
            _check_stream(position, mode, account)
        gone = [w for w in self._deletes(mode, account) if w.key[-1] not in given]
        writes = [self._kept.put(position) for position in given.values()]
        return self._commit(*gone, *writes, op_id=op_id, batch=batch)

    def _deletes(self, mode: Mode, account: str) -> list[Delete]:
        symbols = self.all(mode=mode, account=account)
        return [self._kept.delete(account, mode, symbol) for symbol in symbols]

    def sync_state(self, *, mode: Mode = "live", account: str = "default") -> SyncState:
        """Whether the exchange agrees (CODEX-15, CODEX-22)."""
        found = self.all(mode=mode, account=account).values()
        worst = max((_FROM_BEST.index(p.sync_status or "synced") for p in found), default=0)
        return SyncState(
            _FROM_BEST[worst],
            _oldest([p.last_sync_at for p in found]),
            tuple(_mismatch(p) for p in found if p.sync_status == "mismatch"),
        )


def _oldest(instants: list[datetime | None]) -> datetime | None:
    known = [at for at in instants if at is not None]
    return min(known, default=None) if len(known) == len(instants) else None


def _mismatch(position: Position) -> Mismatch:
    return Mismatch(
        position.symbol, position.exchange_size, position.local_size, position.size_diff
    )


def _check_stream(position: Position, mode: Mode, account: str) -> None:
    from quantkeep.errors import InvalidValue

    wanted: dict[str, Any] = {"mode": mode, "account": account}
    for name, value in wanted.items():
        if getattr(position, name) != value:
            raise InvalidValue(
                f"is {getattr(position, name)!r}", record=f"Position {position.symbol}",
                field=name, value=getattr(position, name), expected=repr(value),
            )  # fmt: skip
