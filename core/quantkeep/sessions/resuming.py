"""Resuming: where a session's state is taken from, and what must hold before it is taken.

The live state is the truth while it is intact: each save wrote it whole. Snapshots are history,
and what there is to go back to. Both are checked before either is used. Whatever is found damaged
ends the resume with :class:`quantkeep.Corrupt`, which names the newest good snapshot, unless the
caller has said what to take instead (Z-41).
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import attrs

from quantkeep.batch import Delete, Write
from quantkeep.collection import StoredRow
from quantkeep.columns import Row, instant
from quantkeep.errors import (
    Corrupt,
    FormatTooNew,
    NotFound,
    ResumeRefused,
    UpgradeNeeded,
)
from quantkeep.sessions import reading
from quantkeep.sessions.checks import Check, Resuming, require
from quantkeep.sessions.layout import Layout
from quantkeep.sessions.reading import Origin
from quantkeep.sessions.records import SessionRecord, SnapshotRecord
from quantkeep.sessions.saving import Progress
from quantkeep.sessions.tables import Tables

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
At = int | Literal["live"] | None


@attrs.frozen(kw_only=True)
class Found:
    """The state a session can be resumed from."""

    record: SessionRecord
    row: Row
    progress: Progress
    sections: dict[str, Any]
    layout: Layout
    origin: Origin
    stale: tuple[Write, ...] = ()  # rows of a live state that is given up

    @property
    def is_live(self) -> bool:
        """Whether it is the live state as it is stored."""
        return self.origin.source == "live"


@attrs.frozen(kw_only=True)
class Resumption:
    """One resume, from the session's row as it is stored to a state that may be used."""

    tables: Tables
    stored: StoredRow
    at: At = None
    allow_older: bool = False

    @property
    def session_id(self) -> str:
        """Of the session; its key, which needs no check to be used."""
        return str(self.stored.values[self.tables.sessions.collection.places["session_id"]])

    def refuse_finished(self) -> None:
        """Raises :class:`ResumeRefused` for a session that is finished for good."""
        status = self.stored.values[self.tables.sessions.collection.places["status"]]
        if status == "finished":
            problem = "it is finished, which is for good: start a new one under its name"
            raise ResumeRefused(
                f"session {self.session_id!r}: {problem}",
                session_id=self.session_id,
                problems=(problem,),
            )

    def current(self) -> StoredRow:
        """The session's row as it is now."""
        collection = self.tables.sessions.collection
        stored = self.tables.backend.get(collection, (self.session_id,))
        if stored is None:
            raise NotFound(f"session {self.session_id!r} was deleted just now")
        return stored

    # -- finding the state -----------------------------------------------------------------------

    def find(self) -> Found:
        """The state to resume from.

        Raises:
            Corrupt: something is damaged, and the caller has not said what to take instead.
            NotFound: there is no snapshot *at* that revision.
            InvalidValue: an object's class is not registered; ``field`` is the path to it.
        """
        if isinstance(self.at, int):
            return self._snapshot(self.at, ())
        try:
            record = self.tables.sessions.load(self.stored)
            found = self._live(record)
            if self.at != "live":
                reading.newest_snapshot(self.tables, record)
        except Corrupt as error:
            return self._older(error)
        return found

    def _live(self, record: SessionRecord) -> Found:
        live = reading.live(self.tables, record)
        saved_at = instant(self.stored.updated_at)
        return Found(
            record=record,
            row=self.stored.values,
            progress=Progress.of(record),
            sections=live.sections,
            layout=live.layout,
            origin=Origin(source="live", revision=self.stored.revision, saved_at=saved_at),
        )

    def _older(self, error: Corrupt) -> Found:
        damage = [str(error)]
        for revision, good in reading.examined(self.tables, self.session_id):
            if not isinstance(good, SnapshotRecord):
                damage.append(str(good))
            elif self.allow_older:
                return self._snapshot(revision, tuple(dict.fromkeys(damage)))
            else:
                raise self._refusal(error, good) from error
        raise self._refusal(error, None) from error

    def _refusal(self, error: Corrupt, good: SnapshotRecord | None) -> Corrupt:
        if good is None:
            remedy = (
                "no snapshot of it is good either: start clean, and reconcile with the exchange"
            )
            return Corrupt(f"{error}; {remedy}", locator=error.locator)
        remedy = (
            f"the newest good snapshot is {good.revision}, of loop {good.loop_count}: "
            "resume(..., allow_older=True) goes back to it"
        )
        if (error.locator or "").startswith("session_snapshots") and self.at != "live":
            remedy += '; resume(..., at="live") keeps the live state, which is checked by itself'
        return Corrupt(f"{error}; {remedy}", locator=error.locator, newest_good=good.revision)

    def _snapshot(self, revision: int, damaged: tuple[str, ...]) -> Found:
        snapshot = reading.snapshot(self.tables, self.session_id, revision)
        taken = snapshot.record
        record = self._record_of(taken, snapshot.config)
        envelope = taken.envelope
        assert envelope is not None
        return Found(
            record=record,
            row=self.tables.sessions.seal(record).values,
            progress=Progress.of(taken),
            sections=snapshot.sections,
            layout=Layout(self.tables.entries, self.session_id),
            origin=Origin(
                source="snapshot",
                revision=revision,
                saved_at=envelope.created_at,
                damaged=damaged,
            ),
            stale=tuple(self._stale()),
        )

    def _record_of(self, taken: SnapshotRecord, config: Any) -> SessionRecord:
        """The session's own row, made from a snapshot."""
        return SessionRecord(
            session_id=self.session_id,
            name=taken.name,
            number=taken.number,
            mode=taken.mode,
            account=taken.account,
            status="running",
            start_time=taken.start_time,
            paper_campaign_id=taken.paper_campaign_id,
            loop_count=taken.loop_count,
            state_version=taken.state_version,
            config=config,
            watermarks=taken.watermarks,
        )

    def _stale(self) -> Iterable[Write]:
        """Deletions of all live rows, damaged ones too; the state is then written anew."""
        collection = self.tables.entries.collection
        for stored in reading.entry_rows(self.tables, self.session_id):
            yield Delete(collection, collection.stored_key(stored))


def held_to(found: Found, checks: Iterable[Check], now: datetime) -> None:
    """Hold what was found against the caller's checks, *now*; raises ResumeRefused."""
    resuming = Resuming(
        record=found.record,
        sections=found.sections,
        age=now - found.origin.saved_at,
        origin=found.origin,
    )
    require(resuming, checks)


def upgraded(found: Found, upgrades: Mapping[int, Upgrade], version: int | None) -> Found:
    """The state as the program of today has it (D70-32).

    Args:
        found: the state as it was saved; it is left alone.
        upgrades: by the version they start from, functions of all sections that give those of the
            next version.
        version: of the program; by default, the one that the upgrades lead to.

    Raises:
        UpgradeNeeded: there is no upgrade from some version on the way.
        FormatTooNew: the state is of a later version than the program.
    """
    at = found.progress.state_version
    target = version if version is not None else max((n + 1 for n in upgrades), default=at)
    if at > target and (version is not None or upgrades):
        raise FormatTooNew(
            f"session {found.record.session_id!r} has state version {at}; this program knows "
            f"{target}: resume it with the newer program"
        )
    if at >= target:
        return found
    sections = copy.deepcopy(found.sections)
    for step in range(at, target):
        if step not in upgrades:
            raise UpgradeNeeded(
                f"session {found.record.session_id!r} has state version {at}, the program knows "
                f"{target}: resume(..., upgrades={{{step}: function}}) must say what changed"
            )
        sections = upgrades[step](sections)
    progress = attrs.evolve(found.progress, state_version=target)
    return attrs.evolve(found, sections=sections, progress=progress)
