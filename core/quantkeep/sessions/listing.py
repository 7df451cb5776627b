"""Which sessions there are, who runs them, and which have nobody who does."""

import builtins
from typing import Any

from quantkeep.batch import AtRevision, Batch, Put
from quantkeep.errors import Conflict
from quantkeep.query import where
from quantkeep.sessions import reading
from quantkeep.sessions.lease import condition
from quantkeep.sessions.naming import Finder
from quantkeep.sessions.records import LeaseRecord, SessionRecord, Status
from quantkeep.sessions.tables import Tables
from quantkeep.store import Home, Store
from quantkeep.trading import Mode


class Listing(Store):
    """Listing sessions and looking into their state."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._tables = Tables.of(home)
        self._finder = Finder(self._tables)

    def list(
        self,
        *,
        status: Status | None = None,
        name: str | None = None,
        mode: Mode | None = None,
        account: str | None = None,
    ) -> builtins.list[SessionRecord]:
        """The sessions there are, by name and then in the order they were started."""
        wanted = where(status=status, name=name, mode=mode, account=account)
        return self._tables.sessions.list(*wanted, order=("name", "number"))

    def get(
        self, name_or_id: str, *, mode: Mode | None = None, account: str | None = None
    ) -> SessionRecord:
        """The session of that id, or the latest of that name; raises :class:`NotFound`."""
        return self._tables.sessions.load(self._finder.row(name_or_id, mode, account))

    def state(self, name_or_id: str, *, at: int | None = None) -> dict[str, Any]:
        """The state of a session as it was last saved, without becoming its owner.

        Args:
            name_or_id: as of :meth:`resume`.
            at: the state of the snapshot of this revision instead.

        Raises:
            NotFound, Corrupt, InvalidValue: as of :meth:`resume`.
        """
        record = self.get(name_or_id)
        if at is not None:
            return reading.snapshot(self._tables, record.session_id, at).sections
        return reading.live(self._tables, record).sections

    def crashed(self) -> builtins.list[SessionRecord]:
        """The sessions that say they run, and have nobody who runs them; they are marked so.

        That is where the owner's process is gone, or its lease has run out and it is not known to
        live. Such an owner, should it come back, gets :class:`StaleOwner`.
        """
        running = self.list(status="running")
        return [marked for record in running if (marked := self._marked(record)) is not None]

    def _marked(self, record: SessionRecord) -> SessionRecord | None:
        leases = self._tables.leases
        lease = leases.table.get(record.session_id)
        standing = leases.standing(lease)
        if standing == "held" or (
            standing == "expired" and lease is not None and condition(lease) == "alive"
        ):
            return None
        now, key = self._tables.now(), (record.session_id,)
        stored = self._tables.backend.get(self._tables.sessions.collection, key)
        if stored is None:
            return None
        row = self._tables.changed(stored.values, status="crashed", end_time=now)
        fence = () if lease is None else (leases.fenced_off(lease),)
        mark = Put(self._tables.sessions.collection, row, AtRevision(record.revision or 0))
        try:
            self._tables.backend.commit(Batch((*fence, mark)))
        except Conflict:
            return None  # it was resumed, or saved, just now
        return record.replace(status="crashed", end_time=now)

    def lease(self, name_or_id: str) -> LeaseRecord | None:
        """Who owns a session, or owned it last; ``None`` if nobody ever did."""
        return self._tables.leases.table.get(self._id(name_or_id))

    def _id(self, name_or_id: str) -> str:
        stored = self._finder.row(name_or_id, None, None)
        return str(self._tables.sessions.collection.stored_key(stored)[0])
