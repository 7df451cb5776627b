"""Leases: who may write a session, and when another may take it over (Z-11).

The fencing token decides. Every save requires the token in its commit, so an owner that was
replaced changes nothing, however late it wakes up. The clock, the store's, only decides when a
takeover needs no force.
"""

from datetime import datetime
from typing import Final, Literal

import attrs

from quantkeep.backend import Backend
from quantkeep.batch import ABSENT, AtRevision, Holding, Put, Require
from quantkeep.columns import instant, microseconds
from quantkeep.errors import Busy, InvalidValue
from quantkeep.sessions.owner import Condition, Owner, condition_of
from quantkeep.sessions.records import LeaseRecord
from quantkeep.table import Table

SECONDS: Final = 60.0  # of a lease, unless it is renewed; each save renews one past a third of it

Standing = Literal["free", "held", "expired", "abandoned"]


@attrs.frozen
class Leases:
    """The leases of all sessions of a store."""

    table: Table[LeaseRecord]
    backend: Backend

    def standing(self, lease: LeaseRecord | None, now: int | None = None) -> Standing:
        """Whether *lease* stands in the way *now*: it does only while it is ``held``."""
        if lease is None or lease.pid is None:
            return "free"
        if condition(lease) == "dead":
            return "abandoned"
        now = self.backend.now() if now is None else now
        return "held" if microseconds(lease.expires_at) > now else "expired"

    def first(
        self, session_id: str, owner: Owner, seconds: float, *, reused: bool
    ) -> tuple[LeaseRecord, Put]:
        """The lease on a new session, and the write that takes it.

        Where an id is *reused* after a deletion, the token goes on from beyond the old ones.
        """
        token = self.table.head(session_id) + 1 if reused else 1
        lease = self._lease(session_id, token, owner, seconds, self.backend.now())
        return lease, self.table.put(lease, ABSENT)

    def taken(
        self, session_id: str, owner: Owner, seconds: float, now: int, *, steal: bool = False
    ) -> tuple[LeaseRecord, Put]:
        """The lease of *owner* on a session from *now* on, and the write that takes it.

        Raises:
            Busy: another owner holds it, and may still be writing.
        """
        known = self.table.get(session_id)
        if known is not None and not steal and self.standing(known, now) == "held":
            raise held(known)
        token = known.token + 1 if known else 1
        lease = self._lease(session_id, token, owner, seconds, now)
        expect = AtRevision(known.revision or 0) if known else ABSENT
        return lease, self.table.put(lease, expect)

    def _lease(
        self, session_id: str, token: int, owner: Owner, seconds: float, now: int
    ) -> LeaseRecord:
        if not 0 < seconds < float("inf"):
            raise InvalidValue(
                "is no time to hold a lease for",
                record="LeaseRecord", field="seconds", value=seconds, expected="seconds above 0",
            )  # fmt: skip
        return LeaseRecord(
            session_id=session_id,
            token=token,
            owner=owner.label,
            host=owner.host,
            pid=owner.pid,
            process_start=owner.process_start,
            boot_id=owner.boot_id,
            seconds=seconds,
            expires_at=_end(now, seconds),
        )

    def required(self, lease: LeaseRecord) -> Require:
        """The condition, for a batch, that *lease* was not taken over."""
        return self.table.require(lease.session_id, expect=Holding(lease.token))

    def renewed(self, lease: LeaseRecord) -> tuple[LeaseRecord, Put]:
        """*lease* from now on, and the write that says so if it was not taken over."""
        longer = lease.replace(expires_at=_end(self.backend.now(), lease.seconds))
        return longer, self.table.put(longer, Holding(lease.token))

    def released(self, lease: LeaseRecord) -> Put:
        """The write that lets *lease* go; its token stays, so that it never falls."""
        freed = lease.replace(pid=None, expires_at=instant(self.backend.now()))
        return self.table.put(freed, Holding(lease.token))

    def fenced_off(self, lease: LeaseRecord) -> Put:
        """The write that takes *lease* from an owner that is gone, and gives it to nobody."""
        freed = lease.replace(
            token=lease.token + 1, pid=None, expires_at=instant(self.backend.now())
        )
        return self.table.put(freed, AtRevision(lease.revision or 0))


def _end(now: int, seconds: float) -> datetime:
    return instant(now + int(seconds * 1_000_000))


def condition(lease: LeaseRecord) -> Condition:
    """Whether the owner's process is provably there, or provably gone."""
    return condition_of(lease.host, lease.pid, lease.process_start, lease.boot_id)


def held(lease: LeaseRecord) -> Busy:
    """The error for a session that another owner holds."""
    return Busy(
        f"session {lease.session_id!r} is held by {lease.owner!r} (process {lease.pid} on "
        f"{lease.host}) until {lease.expires_at:%Y-%m-%d %H:%M:%S} UTC, by the store's clock: stop "
        "that process, wait until then, or take the session from it with steal=True"
    )
