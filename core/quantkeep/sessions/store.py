"""The session store: starting, resuming, listing sessions, and looking at their history."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import attrs

from quantkeep.errors import QuantkeepError, Unsupported
from quantkeep.records import Record
from quantkeep.sessions.bot_state import BotState
from quantkeep.sessions.checks import Check
from quantkeep.sessions.components import Component, Tape
from quantkeep.sessions.lease import SECONDS
from quantkeep.sessions.orders import Orders
from quantkeep.sessions.owner import Owner
from quantkeep.sessions.positions import Positions
from quantkeep.sessions.records import EntryRecord, LeaseRecord, SessionRecord, SnapshotRecord
from quantkeep.sessions.resuming import At, Upgrade
from quantkeep.sessions.session import SNAPSHOT_EVERY, Session
from quantkeep.sessions.starting import Starting
from quantkeep.sessions.takeover import Takeover
from quantkeep.store import Home
from quantkeep.trading import Mode


@attrs.frozen
class ResumedAll:
    """What :meth:`SessionStore.resume_all` did.

    Attributes:
        sessions: those that run again, by id.
        failures: why the others do not, by id.
    """

    sessions: Mapping[str, Session]
    failures: Mapping[str, QuantkeepError]


class SessionStore(Starting):
    """Live state: sessions, their snapshots and leases (D70).

    Attributes:
        positions: the positions that are open now, by account, mode and symbol.
        orders: the orders that are pending, by account and mode.
        bot_state: values by key.
    """

    name: ClassVar[str] = "sessions"
    records: ClassVar[tuple[type[Record], ...]] = (
        SessionRecord,
        LeaseRecord,
        EntryRecord,
        SnapshotRecord,
        *Positions.records,
        *Orders.records,
        *BotState.records,
    )

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.positions = Positions(home)
        self.orders = Orders(home)
        self.bot_state = BotState(home)

    # -- resuming --------------------------------------------------------------------------------

    def resume(
        self,
        name_or_id: str,
        *,
        mode: Mode | None = None,
        account: str | None = None,
        allow_older: bool = False,
        at: At = None,
        steal: bool = False,
        components: Mapping[str, Component] | None = None,
        checks: Iterable[Check] = (),
        upgrades: Mapping[int, Upgrade] | None = None,
        state_version: int | None = None,
        tape: Tape | None = None,
        reducer: Callable[[Session, Any], object] | None = None,
        owner: str | None = None,
        lease_seconds: float = SECONDS,
        snapshot_every: float | None = SNAPSHOT_EVERY,
    ) -> Session:
        """Go on with a session, under the same id, from the state it last saved.

        The live state is the truth while it is intact. It and the newest snapshot are checked
        first; what is damaged is refused, naming the newest good snapshot, and nothing is changed.

        Args:
            name_or_id: an id; or a name, for the latest session of that name.
            mode: and *account*: which sessions of that name are meant, where there are several
                kinds.
            account: see *mode*.
            allow_older: where the live state or the newest snapshot is damaged, go back to the
                newest good snapshot. ``session.resumed_from`` says so.
            at: go back to the snapshot of this revision; or ``"live"``: take the live state
                without regard to snapshots. What was saved since stays in the history.
            steal: take the session from an owner that may still be alive. It can write no more.
            components: attached, and given their state, before this returns.
            checks: what the state must pass (:mod:`quantkeep.sessions.checks`). They, and upgrades,
                are asked again where the old owner saves in the midst of it.
            upgrades: functions of all sections, by the state version they start from (D70-32). The
                state before them is kept as a snapshot.
            state_version: of this program; by default, what the upgrades lead to.
            tape: whose events after the watermarks the session lacks, as ``session.events``; by
                default, the keep's own.
            reducer: applies each of those events: ``reducer(session, event)``; then there are none
                left, and they are stored with the next save.
            owner: what this process calls itself in the lease.
            lease_seconds: how long the session stays this process's own without a save.
            snapshot_every: seconds after which a save writes a periodic snapshot by itself.

        Raises:
            NotFound: there is no such session, or no such snapshot.
            Busy: another process owns it and its lease has not run out. A process of this machine
                that is gone does not count.
            Corrupt: what is stored is not what was saved; ``newest_good`` is the revision of the
                newest good snapshot.
            ResumeRefused: a check fails, or the session is finished.
            UpgradeNeeded, FormatTooNew: the state is of another version than the program.
            InvalidValue: an object's class is not registered; ``field`` is the path to it.
        """
        tape = tape or self._tape
        takeover = Takeover(
            tables=self._tables,
            owner=Owner.this_process(owner),
            lease_seconds=lease_seconds,
            steal=steal,
            at=at,
            allow_older=allow_older,
            checks=tuple(checks),
            upgrades=upgrades or {},
            state_version=state_version,
            tape=tape,
            snapshot_every=snapshot_every,
        )
        session = takeover.named(self._finder, name_or_id, mode, account)
        try:
            for section, component in (components or {}).items():
                session.attach(section, component)
            if reducer is not None:
                session.replay(_present(tape), reducer)
        except BaseException as error:  # the session is let go, as at the end of a with block
            session.__exit__(type(error), error, error.__traceback__)
            raise
        return session

    def resume_all(
        self,
        *,
        name: str | None = None,
        mode: Mode | None = None,
        account: str | None = None,
        components: Callable[[SessionRecord], Mapping[str, Component]] | None = None,
        **options: Any,
    ) -> ResumedAll:
        """Resume every session that has crashed; one that cannot be does not keep the others.

        Args:
            name: only sessions of that name, *mode* and *account*.
            mode: see *name*.
            account: see *name*.
            components: makes the components of a session.
            options: as of :meth:`resume`, for each.
        """
        sessions: dict[str, Session] = {}
        failures: dict[str, QuantkeepError] = {}
        self.crashed()
        for record in self.list(status="crashed", name=name, mode=mode, account=account):
            try:
                made = components(record) if components else None
                sessions[record.session_id] = self.resume(
                    record.session_id, components=made, **options
                )
            except QuantkeepError as error:
                failures[record.session_id] = error
        return ResumedAll(sessions, failures)


def _present(tape: Tape | None) -> Tape:
    if tape is None:
        raise Unsupported(
            "this keep has no tape whose events a reducer could apply: resume(..., tape=...) names "
            "the one of another keep"
        )
    return tape
