"""The session store: starting, resuming, listing sessions, and looking at their history."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, cast

import attrs

from quantkeep.errors import AlreadyExists, Conflict, QuantkeepError, Unsupported
from quantkeep.records import Record
from quantkeep.sessions.bot_state import BotState
from quantkeep.sessions.checks import Check
from quantkeep.sessions.components import Component, Tape
from quantkeep.sessions.history import History
from quantkeep.sessions.layout import Layout
from quantkeep.sessions.lease import SECONDS
from quantkeep.sessions.naming import check_name, made_id
from quantkeep.sessions.orders import Orders
from quantkeep.sessions.owner import Owner
from quantkeep.sessions.positions import Positions
from quantkeep.sessions.records import (
    EntryRecord,
    LeaseRecord,
    SessionRecord,
    SnapshotRecord,
)
from quantkeep.sessions.resuming import (
    At,
    Found,
    Resumption,
    Upgrade,
    held_to,
    saver_for,
    upgraded,
)
from quantkeep.sessions.saving import Progress, Saver
from quantkeep.sessions.session import SNAPSHOT_EVERY, Session
from quantkeep.sessions.tracked import Tree
from quantkeep.store import Home, Store
from quantkeep.trading import Mode
from quantkeep.watermarks import checked

_TRIES: Final = 64  # each is lost to a session that another process has just started


@attrs.frozen
class ResumedAll:
    """What :meth:`SessionStore.resume_all` did.

    Attributes:
        sessions: those that run again, by id.
        failures: why the others do not, by id.
    """

    sessions: Mapping[str, Session]
    failures: Mapping[str, QuantkeepError]


class SessionStore(History):
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
        self._tape: Tape | None = None

    def meet(self, stores: Mapping[str, Store]) -> None:
        """The keep's tape, where it has one, is what sessions have their watermarks of."""
        self._tape = cast("Tape | None", stores.get("tape"))

    # -- starting clean --------------------------------------------------------------------------

    def start(
        self,
        name: str,
        mode: Mode = "paper",
        *,
        account: str = "default",
        config: Any = None,
        campaign: str | None = None,
        components: Mapping[str, Component] | None = None,
        owner: str | None = None,
        lease_seconds: float = SECONDS,
        snapshot_every: float | None = SNAPSHOT_EVERY,
        session_id: str | None = None,
        state_version: int = 1,
        watermarks: Mapping[str, int] | None = None,
    ) -> Session:
        """Start clean: a new session under *name*, with no state. Older ones are left as they are.

        Args:
            name: what the sessions of one program share; any text.
            mode: paper, live, backtest or test.
            account: the account it trades.
            config: the configuration of the run, kept with it.
            campaign: the campaign of a paper run (``paper_campaign_id``).
            components: attached from the beginning, by section; see :meth:`Session.attach`.
            owner: what this process calls itself in the lease.
            lease_seconds: how long the session stays this process's own without a save.
            snapshot_every: seconds after which a save writes a periodic snapshot by itself.
            session_id: an id of your own; by default, name, time and a random part.
            state_version: version of your state, for ``resume(upgrades=...)``.
            watermarks: how much of the tape is in the state it starts with. By default all that the
                keep's tape has of the account and mode by now, so that whatever is put there from
                here on, before the first save too, is given again by ``resume`` (Z-8).

        Raises:
            AlreadyExists: there is a session of that id.
            InvalidValue: an argument cannot be stored.
        """
        check_name(name, "name")
        if session_id is not None:
            check_name(session_id, "session_id", limit=512)
        for _ in range(_TRIES):
            record = self._record(name, session_id, state_version).replace(
                mode=mode, account=account, config=config, paper_campaign_id=campaign
            )
            self._check_account(record)
            record = record.replace(watermarks=self._marks(record, watermarks))
            session = self._new(record, owner, lease_seconds, snapshot_every, session_id)
            for section, component in (components or {}).items():
                session.attach(section, component)
            try:
                session.save(snapshot="initial")
            except AlreadyExists:
                if session_id is not None and self._tables.sessions.get(session_id):
                    raise
            else:
                return session
        raise Conflict(f"{_TRIES} other sessions named {name!r} were started at the same time")

    def _check_account(self, record: SessionRecord) -> None:
        """Before the tape is asked for them, so that the complaint is about the session."""
        collection = self._tables.sessions.collection
        for name in ("account", "mode"):
            collection.column(name).canonical(getattr(record, name), record=collection.record_name)

    def _record(self, name: str, session_id: str | None, state_version: int) -> SessionRecord:
        now = self._tables.now()
        return SessionRecord(
            session_id=made_id(name, now) if session_id is None else session_id,
            name=name,
            number=self._finder.next_number(name),
            mode="paper",
            status="running",
            start_time=now,
            state_version=state_version,
        )

    def _marks(self, record: SessionRecord, given: Mapping[str, int] | None) -> dict[str, int]:
        if given is not None:
            return checked(given)
        tape = self._tape
        return (
            {} if tape is None else dict(tape.watermarks(mode=record.mode, account=record.account))
        )

    def _new(
        self,
        record: SessionRecord,
        owner: str | None,
        lease_seconds: float,
        snapshot_every: float | None,
        session_id: str | None,
    ) -> Session:
        tables = self._tables
        # Under an id of the caller's there may have been a session that was deleted.
        reused = session_id is not None
        lease, acquisition = tables.leases.first(
            record.session_id, Owner.this_process(owner), lease_seconds, reused=reused
        )
        saver = Saver(
            tables,
            Layout(tables.entries, record.session_id),
            lease,
            row=tables.sessions.seal(record).values,
            revision=tables.sessions.head(record.session_id) if reused else 0,
            snapshots=tables.snapshots.head(record.session_id) if reused else 0,
            acquisition=acquisition,
        )
        progress = Progress.of(record)
        return Session(
            record, progress, saver, Tree({}), tape=self._tape, snapshot_every=snapshot_every
        )

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
            checks: what the state must pass (:mod:`quantkeep.sessions.checks`).
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
        stored = self._finder.row(name_or_id, mode, account)
        resumption = Resumption(tables=self._tables, stored=stored, at=at, allow_older=allow_older)
        resumption.refuse_finished()
        lease = resumption.take_lease(Owner.this_process(owner), lease_seconds, steal=steal)
        try:
            # Read again: until the lease was taken, another owner may have saved.
            resumption = attrs.evolve(resumption, stored=resumption.current())
            before = resumption.find()
            after = upgraded(before, upgrades or {}, state_version)
            held_to(after, checks, self._tables)
            tape = tape or self._tape
            session = self._taken_over(resumption, before, after, lease, tape, snapshot_every)
            for section, component in (components or {}).items():
                session.attach(section, component)
            if reducer is not None:
                session.replay(_present(tape), reducer)
        except BaseException as error:
            try:
                resumption.give_up(lease)
            except QuantkeepError as failure:
                error.add_note(f"the session could not be let go: {failure}")
            raise
        return session

    def _taken_over(
        self,
        resumption: Resumption,
        before: Found,
        after: Found,
        lease: LeaseRecord,
        tape: Tape | None,
        snapshot_every: float | None,
    ) -> Session:
        """The session, running again; a state that was not the live one has become it."""
        saver, tree = saver_for(resumption, before, lease), Tree(after.sections)
        if after is not before:
            kept = Tree(before.sections)
            Session(before.record, before.progress, saver, kept).save(snapshot="manual")
        session = Session(
            before.record,
            after.progress,
            saver,
            tree,
            tape=tape,
            resumed_from=before.origin,
            snapshot_every=snapshot_every,
        )
        as_it_was = after is before and before.is_live and resumption.at is None
        session.save(snapshot=None if as_it_was else "initial")
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
