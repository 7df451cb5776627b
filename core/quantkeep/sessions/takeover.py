"""Taking a session over: its state is read first, and one commit then takes the lease and says so.

That commit requires the session to be as it was read. Where another owner has saved meanwhile,
which only one can whose lease ran out or is being stolen, nothing was written: the lease is then
taken by itself, and what is read afterwards stays as it is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import attrs

from quantkeep.batch import ABSENT, Batch, Put, Write
from quantkeep.collection import StoredRow
from quantkeep.columns import instant
from quantkeep.errors import Conflict, OutcomeUnknown, QuantkeepError
from quantkeep.sessions.checks import Check
from quantkeep.sessions.components import Tape
from quantkeep.sessions.lease import held
from quantkeep.sessions.naming import Finder, check_name, is_made_id
from quantkeep.sessions.owner import Owner
from quantkeep.sessions.records import LeaseRecord
from quantkeep.sessions.resuming import At, Found, Resumption, Upgrade, held_to, upgraded
from quantkeep.sessions.saving import Saver
from quantkeep.sessions.session import Session
from quantkeep.sessions.tables import Tables
from quantkeep.sessions.tracked import Tree
from quantkeep.trading import Mode


@attrs.frozen(kw_only=True)
class Takeover:
    """Makes a session run again; see :meth:`SessionStore.resume` for what its parts are.

    Attributes:
        provided: what must hold besides, in the commit that makes it run.
    """

    tables: Tables
    owner: Owner
    lease_seconds: float
    steal: bool
    at: At
    allow_older: bool
    checks: tuple[Check, ...]
    upgrades: Mapping[int, Upgrade]
    state_version: int | None
    tape: Tape | None
    snapshot_every: float | None
    provided: tuple[Write, ...] = ()

    def named(self, finder: Finder, text: str, mode: Mode | None, account: str | None) -> Session:
        """The session of that id, or the latest of that name, running again; raises as ``resume``.

        A name is looked up at once; that it is no session's id is looked at in the same commit.
        """
        check_name(text, "name_or_id", limit=512)
        if is_made_id(text):
            return self.session(finder.row(text, mode, account))
        try:
            latest = finder.latest(text, mode, account)
            if latest is not None:
                no_id = self.tables.sessions.require(text, expect=ABSENT)
                return attrs.evolve(self, provided=(no_id,)).session(latest)
        except OutcomeUnknown:
            raise
        except QuantkeepError:
            if finder.by_id(text) is None:
                raise
        return self.session(finder.row(text, mode, account))

    def session(self, stored: StoredRow) -> Session:
        """The session whose row is *stored*, running again; raises as ``resume``."""
        resumption = self._resumption(stored)
        resumption.refuse_finished()
        try:
            return self._at_once(resumption)
        except OutcomeUnknown:
            raise
        except QuantkeepError as error:
            if type(error) is not Conflict and not self._has_moved(resumption):
                raise
        return self._lease_first(resumption)

    def _resumption(self, stored: StoredRow) -> Resumption:
        return Resumption(
            tables=self.tables, stored=stored, at=self.at, allow_older=self.allow_older
        )

    def _has_moved(self, resumption: Resumption) -> bool:
        """Whether what was read may be a mixture of what two saves wrote."""
        return resumption.current().revision != resumption.stored.revision

    def _at_once(self, resumption: Resumption) -> Session:
        now = self.tables.backend.now()
        lease, write = self._taken(resumption.session_id, now)
        return self._running(resumption, lease, write, now)

    def _lease_first(self, resumption: Resumption) -> Session:
        now = self.tables.backend.now()
        lease, write = self._taken(resumption.session_id, now)
        try:
            self.tables.backend.commit(Batch((write,)))
        except Conflict:
            other = self.tables.leases.table.get(resumption.session_id)
            if other is None:
                raise
            raise held(other) from None
        with self._letting_go_on_error(lease):
            return self._running(self._resumption(resumption.current()), lease, None, now)

    def _taken(self, session_id: str, now: int) -> tuple[LeaseRecord, Put]:
        leases = self.tables.leases
        return leases.taken(session_id, self.owner, self.lease_seconds, now, steal=self.steal)

    # -- from the state to the session -----------------------------------------------------------

    def _running(
        self, resumption: Resumption, lease: LeaseRecord, acquisition: Put | None, now: int
    ) -> Session:
        """The session, running again; a state that was not the live one has become it."""
        before = resumption.find()
        after = upgraded(before, self.upgrades, self.state_version)
        held_to(after, self.checks, instant(now))
        saver = self._saver(resumption, before, lease, acquisition)
        session = self._made(before, after, saver)
        as_it_was = after is before and before.is_live and self.at is None
        try:
            if after is not before:
                kept = Tree(before.sections)
                Session(before.record, before.progress, saver, kept).save(snapshot="manual")
            session.save(snapshot=None if as_it_was else "initial")
        except BaseException as error:  # a session that nobody runs is not left as running
            if acquisition and (saver.has_lease or isinstance(error, OutcomeUnknown)):
                self._let_go(lease, error)
            raise
        return session

    def _made(self, before: Found, after: Found, saver: Saver) -> Session:
        return Session(
            before.record,
            after.progress,
            saver,
            Tree(after.sections),
            tape=self.tape,
            resumed_from=before.origin,
            snapshot_every=self.snapshot_every,
        )

    def _saver(
        self, resumption: Resumption, found: Found, lease: LeaseRecord, acquisition: Put | None
    ) -> Saver:
        tables, as_saved = self.tables, found.is_live and self.at is None
        return Saver(
            tables,
            found.layout,
            lease,
            row=found.row,
            acquisition=acquisition,
            revision=resumption.stored.revision,
            snapshots=found.record.snapshot_revision
            if as_saved
            else tables.snapshots.head(resumption.session_id),  # whatever was damaged or lost
            stale=(*self.provided, *found.stale),
        )

    # -- letting go ------------------------------------------------------------------------------

    @contextmanager
    def _letting_go_on_error(self, lease: LeaseRecord) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # likewise; it is raised again
            self._let_go(lease, error)
            raise

    def _let_go(self, lease: LeaseRecord, error: BaseException) -> None:
        try:
            self.tables.backend.commit(Batch((self.tables.leases.released(lease),)))
        except QuantkeepError as failure:
            error.add_note(f"the session could not be let go: {failure}")
