"""The trade tape as a store."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from quantkeep.columns import instant
from quantkeep.errors import InvalidQuery
from quantkeep.instants import days_before
from quantkeep.query import Measure, Tally, Where, where
from quantkeep.records import Record
from quantkeep.tape import following, retention
from quantkeep.tape.asking import conditions
from quantkeep.tape.listings import Listings
from quantkeep.tape.logs import LOGS
from quantkeep.tape.records import Diagnostic, EquityPoint, Slippage
from quantkeep.tape.retention import Expired
from quantkeep.tape.slippage import SlippageStats, statistics
from quantkeep.tape.trade import Trade
from quantkeep.trading import CLOSING, Mode
from quantkeep.watermarks import Stream, Watermarks

R = TypeVar("R", bound=Record)

_ORDER: Final = {kind.collection.name: place for place, kind in enumerate(LOGS)}
_NONE: Final[Mapping[str, int]] = {}


class TradeTape(Listings):
    """What was done, on paper and live: trades, equity, positions, slippage, diagnostics, EV.

    Entries are never changed. They are added by :meth:`append`, listed by time, and followed by
    revision, the number the store gives each entry of an account and mode.
    """

    # -- reading on ------------------------------------------------------------------------------

    def follow(
        self,
        kind: type[R],
        *,
        mode: Mode,
        account: str = "default",
        after: int | None = None,
        poll: float = 0.5,
        patience: float | None = None,
    ) -> Iterator[R]:
        """Entries as they are committed, in order of revision; none is ever missed or repeated.

        Args:
            kind: of which log: ``follow(Trade, mode="live")``.
            mode: and *account*: of which stream.
            account: see *mode*.
            after: the revision seen last; left out, from the beginning of what is kept.
            poll: seconds between looks at the store.
            patience: ends after so many seconds of silence; 0: when all there is was given. Left
                out, it never ends.

        Raises:
            NotFound: what follows *after* was pruned.
            Regression: the store is behind *after*: an older backup was put back.
            Corrupt: an entry is missing or damaged.
        """
        stream = Stream(account, mode)
        return following.follow(self._log(kind), stream, after, poll, patience)

    def watermarks(self, *, mode: Mode, account: str = "default") -> dict[str, int]:
        """How far each log of a stream has come, to be saved with a session's state (Z-8)."""
        _check_mode(mode)
        stream = Stream(account, mode)
        tables = [self._log(kind) for kind in LOGS]
        return {
            stream.of(table.collection.name): table.head(account, mode)
            for table in tables
            if mode in table.collection.column("mode").choices  # slippage is of live fills alone
        }

    def events_after(self, watermarks: Watermarks) -> Iterator[Record]:
        """Entries behind *watermarks*, to be applied to a session that resumes (Z-8).

        Each log in order of revision; between logs, in the order in which they were committed. What
        is committed while this is read is not in it.

        Args:
            watermarks: what :meth:`watermarks` gave when the state was saved, or part of it.

        Raises:
            NotFound: some of them were pruned.
            Regression: the tape is behind the watermarks: an older backup was put back.
            Corrupt: an entry is missing or damaged.
            InvalidQuery: a watermark names no log of the tape.
        """
        streams = [(*Stream.named(name), after) for name, after in watermarks.items()]
        logs = [
            (table := self._log(self._kind(name)), stream, after, table.head(*stream.key))
            for name, stream, after in sorted(streams, key=lambda s: _ORDER.get(s[0], 0))
        ]
        return following.merged(following.entries(*log) for log in logs)

    def watermark_of(self, entry: Any) -> tuple[str, int]:
        """The stream of an *entry* that was read, as watermarks name it, and its revision there."""
        return Stream(entry.account, entry.mode).of(entry.collection.name), entry.revision or 0

    def _kind(self, name: str) -> type[Record]:
        if name not in _ORDER:
            raise InvalidQuery(f"{name!r} is no log of the tape: it has {', '.join(_ORDER)}")
        return LOGS[_ORDER[name]]

    def latest(self, kind: type[R], *, mode: Mode, account: str = "default") -> R | None:
        """The entry that was committed last, whatever its time (Z-2)."""
        return self._log(kind).last(*where(account=account, mode=mode))

    # -- figures ---------------------------------------------------------------------------------

    def slippage_stats(
        self,
        symbol: str | None = None,
        *,
        days: float | None = None,
        since: datetime | None = None,
        account: str | None = None,
        mode: str = "live",
    ) -> SlippageStats:
        """Slippage of live fills (CODEX-21): of one symbol or all, of the last *days* or *since*.

        Raises:
            InvalidQuery: *mode* is one whose fills are made up: paper has no slippage to measure.
        """
        table = self._log(Slippage)
        measured = table.collection.column("mode").choices
        if mode not in measured:
            raise InvalidQuery(
                f"there are no slippage statistics for {mode}: they compare targets with real "
                f"fills, which are {', '.join(measured)}. What a paper fill assumes is in "
                "trades(...): slippage_bps and slippage_est_bps"
            )
        if days is not None:
            since = days_before(instant(table.backend.now()), days)
        asked = conditions(symbol=symbol, account=account, mode=mode, since=since)
        return statistics(table, asked)

    def count_closed_trades(self, *, mode: Mode | None = None, account: str | None = None) -> int:
        """Trades that ended the life of a position: CLOSE, KILL, MANUAL, EXTERNAL."""
        ended = Where("action", "in", CLOSING)
        return self._log(Trade).count(ended, *where(mode=mode, account=account))

    def latest_metrics(self, *, mode: Mode, account: str = "default") -> dict[str, Diagnostic]:
        """The diagnostic that was committed last of each metric type (Z-36)."""
        table = self._log(Diagnostic)
        found = table.tally(
            Tally(
                by=("metric_type",),
                measures=(Measure("max", "revision"),),
                where=where(mode=mode, account=account),
            )
        )
        return {metric: table.fetch(account, mode, revision) for metric, revision in found}

    def latest_equity(self, *, mode: Mode, account: str = "default") -> EquityPoint | None:
        """The equity point that was committed last."""
        return self.latest(EquityPoint, mode=mode, account=account)

    def sizes(self) -> dict[str, int]:
        """Entries of each log, by its name (CODEX-23 ``get_stats``)."""
        return {kind.collection.name: self._log(kind).count() for kind in LOGS}

    # -- retention -------------------------------------------------------------------------------

    def expired(
        self,
        older_than: datetime,
        *,
        kinds: Sequence[type[Record]] = LOGS,
        mode: Mode | None = None,
        account: str | None = None,
        keep_after: Watermarks = _NONE,
    ) -> list[Expired]:
        """What :meth:`prune` would remove, given the same."""
        if mode is not None:
            _check_mode(mode)
        found = []
        for kind in kinds:
            table = self._log(kind)
            for head in table.backend.heads(table.collection):
                stream = Stream(*map(str, head.stream))
                if stream.meets(account, mode):
                    found.append(
                        retention.expired(table, stream, head.revision, older_than, keep_after)
                    )
        return [part for part in found if part is not None]

    def prune(
        self,
        older_than: datetime,
        *,
        kinds: Sequence[type[Record]] = LOGS,
        mode: Mode | None = None,
        account: str | None = None,
        keep_after: Watermarks = _NONE,
    ) -> list[Expired]:
        """Remove what happened before *older_than*; gives what was removed.

        A stream is cut at its beginning, up to its first entry that is not older, so that what is
        kept has no gaps. A ``uid`` that was pruned is forgotten: appending it again adds it.

        Args:
            older_than: entries of this instant, and later ones, are kept.
            kinds: the logs to prune; left out, all.
            mode: and *account*: the streams to prune; left out, all.
            account: see *mode*.
            keep_after: behind these revisions everything is kept, whatever its age: the watermarks
                of a session that is to be resumed.
        """
        parts = self.expired(
            older_than, kinds=kinds, mode=mode, account=account, keep_after=keep_after
        )
        tables: dict[str, Any] = {k.collection.name: self._log(k) for k in kinds}
        for part in parts:
            retention.remove(tables[part.collection], part)
        return parts


def _check_mode(mode: Mode) -> None:
    """Refuse a mode that there is not, as its column does, where no query would."""
    Trade.collection.column("mode").canonical(mode, record="TradeTape")
