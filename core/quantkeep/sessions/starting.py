"""Starting clean: a new session, with nothing of the older ones of its name."""

from collections.abc import Mapping
from typing import Any, Final, cast

from quantkeep.errors import AlreadyExists, Conflict
from quantkeep.sessions.components import Component, Tape
from quantkeep.sessions.history import History
from quantkeep.sessions.layout import Layout
from quantkeep.sessions.lease import SECONDS
from quantkeep.sessions.naming import check_name, made_id
from quantkeep.sessions.owner import Owner
from quantkeep.sessions.records import SessionRecord
from quantkeep.sessions.saving import Progress, Saver
from quantkeep.sessions.session import SNAPSHOT_EVERY, Session
from quantkeep.sessions.tracked import Tree
from quantkeep.store import Home, Store
from quantkeep.trading import Mode
from quantkeep.watermarks import checked

_TRIES: Final = 64  # each is lost to a session that another process has just started


class Starting(History):
    """Starting sessions."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._tape: Tape | None = None

    def meet(self, stores: Mapping[str, Store]) -> None:
        """The keep's tape, where it has one, is what sessions have their watermarks of."""
        self._tape = cast("Tape | None", stores.get("tape"))

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
            acquisition=acquisition,
            is_new=True,
            revision=tables.sessions.head(record.session_id) if reused else 0,
            snapshots=tables.snapshots.head(record.session_id) if reused else 0,
        )
        progress = Progress.of(record)
        return Session(
            record, progress, saver, Tree({}), tape=self._tape, snapshot_every=snapshot_every
        )
