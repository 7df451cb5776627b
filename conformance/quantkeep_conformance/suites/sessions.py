"""Sessions on this backend: what a trading program trusts when it resumes (D70, Z-40 ... Z-47)."""

import enum
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import attrs
import pytest

from quantkeep import Busy, Capability, Conflict, Corrupt, InvalidValue, Keep, StaleOwner, Where
from quantkeep import Durability as Level
from quantkeep.sessions import EntryRecord, SnapshotRecord
from quantkeep.sessions.position_record import Position
from quantkeep_conformance.children.trading import PROGRAM, fill, stream_of, take_in
from quantkeep_conformance.clauses import Facility, Suite, requires
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.exactness import same
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import KIT_RECORDS, Mode

NAME = "kit"


class Side(enum.Enum):
    """An enumeration of the host's."""

    BUY = "buy"
    SELL = "sell"


@attrs.define
class LiveOrder:
    """An object of the host's, as engines keep them in their state."""

    order_id: str
    side: Side
    price: Decimal
    placed_at: datetime
    fills: list[Decimal]


ORDER = LiveOrder(
    "o-1", Side.BUY, Decimal("100.10"), datetime(2025, 1, 17, 9, 30, 0, 250, UTC), [Decimal("0.50")]
)
STATE: dict[str, Any] = {
    "risk_guard": {"daily_loss_usd": -0.0, "limits": [1, 2.5, None], "halted": False},
    "positions": {"BTC": {"size": Decimal("0.5"), "opened": ORDER.placed_at}, "ETH": {}},
    "notes": ["é\u2028", {"deep": {"deeper": [float("inf")]}}],
}


def counted(keep: Keep, *, snapshots: int) -> list[int]:
    """Stop a session that was saved *snapshots* times with a snapshot; their revisions."""
    session = keep.sessions.start(NAME)
    for number in range(snapshots):
        session["count"] = {"n": number}
        session.save(snapshot="manual")
    session.close()
    return [snapshot.revision or 0 for snapshot in keep.sessions.snapshots(NAME)]


def damage(keep: Keep, revision: int) -> None:
    """Flip a byte in the stored snapshot of this *revision*."""
    collection = keep.table(SnapshotRecord).collection
    session_id = keep.sessions.snapshots(NAME)[0].session_id
    keep.backend.backdoor().flip(collection, (session_id, revision), "body")


class Sessions(Suite):
    """The session store, as it is on this backend."""

    family = "sessions"
    built_on_others: ClassVar[bool] = True

    @pytest.mark.requirement("Z-40")
    def test_state_comes_back(self, whole_keep: Keep) -> None:
        """What a session saved is what it resumes from, type for type."""
        with whole_keep.sessions.start(NAME, "live") as session:
            for section, value in STATE.items():
                session[section] = value
        resumed = whole_keep.sessions.resume(NAME)
        for section, value in STATE.items():
            assert same(resumed[section], value) or resumed[section] == value, section
        assert resumed.resumed_from is not None
        assert resumed.resumed_from.source == "live"

    def test_objects_come_back(self, place: Place) -> None:
        """Objects of the program, and what is inside them, come back as what they were."""
        keep = place.open_whole(types=[LiveOrder])
        with keep.sessions.start(NAME) as session:
            session["orders"] = {"BTC": {"live": ORDER}}
        again = keep.sessions.resume(NAME)["orders"]["BTC"]["live"]
        assert type(again) is LiveOrder
        assert same(attrs.asdict(again), attrs.asdict(ORDER))

    def test_unknown_objects_are_refused(self, whole_keep: Keep) -> None:
        """An object nobody registered is refused with its path, and nothing is written."""
        session = whole_keep.sessions.start(NAME)
        session["positions"] = {"active": {"BTC": {"order": ORDER}}}
        session["other"] = {"x": 1}
        with pytest.raises(InvalidValue) as caught:
            session.save()
        assert caught.value.field == "positions.active['BTC'].order"
        session.close()
        assert "other" not in whole_keep.sessions.resume(NAME)

    def test_stale_owner_is_refused(self, whole_keep: Keep) -> None:
        """An owner whose session was taken over writes nothing more."""
        first = whole_keep.sessions.start(NAME)
        first["x"] = {"n": 1}
        first.save()
        second = whole_keep.sessions.resume(NAME, steal=True)
        first["x"] = {"n": 2}
        with pytest.raises(StaleOwner):
            first.save()
        second.stop()
        assert whole_keep.sessions.resume(NAME)["x"] == {"n": 1}

    def test_owned_is_busy(self, whole_keep: Keep) -> None:
        """A session that a living owner holds cannot be resumed by another."""
        whole_keep.sessions.start(NAME)
        with pytest.raises(Busy):
            whole_keep.sessions.resume(NAME)

    @pytest.mark.requirement("Z-41")
    @requires(Facility.BACKDOOR)
    def test_corrupt_snapshot_fails_closed(self, whole_keep: Keep) -> None:
        """A damaged newest snapshot is Corrupt, naming the newest good one; that one on request."""
        *_, good, newest = counted(whole_keep, snapshots=3)
        damage(whole_keep, newest)
        with pytest.raises(Corrupt) as caught:
            whole_keep.sessions.resume(NAME)
        assert caught.value.newest_good == good
        older = whole_keep.sessions.resume(NAME, allow_older=True)
        assert older["count"] == {"n": 1}
        assert older.resumed_from is not None
        assert older.resumed_from.revision == good

    @pytest.mark.requirement("Z-41")
    @requires(Facility.BACKDOOR)
    def test_corrupt_state_fails_closed(self, whole_keep: Keep) -> None:
        """Live state that was changed, or of which a part is missing, is Corrupt, not resumed."""
        for number, harm in enumerate(("flip", "remove")):
            with whole_keep.sessions.start(f"{NAME} {number}") as session:
                session["count"] = {"n": 1}
                session["more"] = {"n": 2}
            table = whole_keep.table(EntryRecord)
            entry = table.list(Where("session_id", "==", session.session_id))[-1]
            key = (entry.session_id, entry.section, entry.path)
            door = whole_keep.backend.backdoor()
            if harm == "flip":
                door.flip(table.collection, key, "body")
            else:
                door.remove(table.collection, key)
            with pytest.raises(Corrupt):
                whole_keep.sessions.resume(f"{NAME} {number}")

    @pytest.mark.requirement("Z-42")
    @requires(Facility.BACKDOOR)
    def test_retention_keeps_the_newest_good(self, whole_keep: Keep) -> None:
        """Pruning never takes the newest good snapshot of a session that can be resumed."""
        *_, good, newest = counted(whole_keep, snapshots=5)
        damage(whole_keep, newest)
        whole_keep.sessions.prune(keep_last=0)
        left = [s.revision for s in _readable_snapshots(whole_keep)]
        assert good in left
        assert whole_keep.sessions.resume(NAME, allow_older=True)["count"] == {"n": 3}

    def test_retention_keeps_the_newest(self, whole_keep: Keep) -> None:
        """Pruning leaves the newest snapshot of each session, and removes what it says."""
        *old, newest = counted(whole_keep, snapshots=4)
        pruned = whole_keep.sessions.prune(keep_last=1)
        assert sorted(revision for _, revision in pruned.snapshots) == old
        assert [s.revision for s in whole_keep.sessions.snapshots(NAME)] == [newest]

    @pytest.mark.requirement("Z-44")
    def test_clean_start_deletes_nothing(self, whole_keep: Keep) -> None:
        """A clean start is a new session; the old one can still be resumed by its id."""
        with whole_keep.sessions.start(NAME) as old:
            old["x"] = {"n": 1}
        whole_keep.sessions.start(NAME).stop()
        assert whole_keep.sessions.resume(old.session_id)["x"] == {"n": 1}

    @pytest.mark.requirement("Z-30")
    def test_positions_of_paper_are_not_live(self, whole_keep: Keep) -> None:
        """Current positions of one mode and account never touch those of another (Z-30)."""
        positions = whole_keep.sessions.positions
        sizes: list[tuple[Mode, float]] = [("paper", 1.0), ("live", 2.0)]
        for mode, size in sizes:
            positions.save(
                Position(mode=mode, symbol="BTC", side="LONG", size=size, entry_price=1.0)
            )
        positions.delete("BTC", mode="paper")
        assert positions.get("BTC", mode="paper") is None
        found = positions.get("BTC", mode="live")
        assert found is not None
        assert found.size == 2.0

    @pytest.mark.requirement("Z-8")
    def test_joins_the_tape_in_one_commit(self, whole_keep: Keep) -> None:
        """A trade and the state that it led to are committed together, or neither is (Z-8)."""
        session = whole_keep.sessions.start(NAME)
        session["book"] = {"fills": 1}
        with whole_keep.batch() as batch:
            whole_keep.tape.append(fill(0), batch=batch)
            session.save(batch=batch)
        assert session.watermarks[stream_of(fill(0))[0]] == 1
        again = whole_keep.sessions.resume(NAME, steal=True)
        assert [*again.events] == [], "what is in the state is given to it again"
        again.close()
        session["book"] = {"fills": 2}
        late = whole_keep.batch()
        whole_keep.tape.append(fill(1), batch=late)
        session.save(batch=late)
        with pytest.raises(StaleOwner):
            late.commit()
        assert len(whole_keep.tape.trades(mode="paper")) == 1
        assert whole_keep.sessions.resume(NAME)["book"] == {"fills": 1}

    @pytest.mark.requirement("Z-8")
    def test_passes_over_no_trade_of_others(self, whole_keep: Keep) -> None:
        """A batch whose state does not hold another writer's trade is refused whole (Z-8)."""
        session = whole_keep.sessions.start(NAME)
        session["book"] = {"fills": 0, "qty": 0.0}
        whole_keep.tape.append(fill(7))
        batch = whole_keep.batch()
        whole_keep.tape.append(fill(8), batch=batch)
        session.save(batch=batch, snapshot="on_trade")
        with pytest.raises(Conflict):
            batch.commit()
        assert len(whole_keep.tape.trades(mode="paper")) == 1
        assert session.replay(whole_keep.tape, take_in) == 1
        with whole_keep.batch() as batch:
            whole_keep.tape.append(fill(8), fill(7), batch=batch)
            session.save(batch=batch)
        assert session.watermarks[stream_of(fill(0))[0]] == 2
        assert [*whole_keep.sessions.resume(NAME, steal=True).events] == []

    @pytest.mark.requirement("Z-8", "Z-46")
    @requires(Capability.PERSISTENT, Level.PROCESS)
    def test_resumes_after_kills(
        self, place: Place, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """A program killed between a trade and the save resumes with every trade, each once."""
        draw, kills, filled = effort.random("trading"), effort.times(6), 0
        with place.open_whole() as keep, keep.sessions.start(PROGRAM) as session:
            session["book"] = {"fills": 0, "qty": 0.0}
            session.watermark(*stream_of(fill(0)))
        for _ in range(kills):
            child = place.child("trade", limit=filled + 500)
            child.expect("ready")
            steps = draw.randint(1, 12)
            heard = [child.hear() for _ in range(steps)]
            child.kill()
            numbers = [e["number"] for e in (*heard, *child.rest()) if e is not None]
            child.wait()  # its pipes close before it is gone, and a living owner is not robbed
            filled = max([filled, *(number + 1 for number in numbers)])
            self._hold(place, filled)
        evidence.update(kills=kills, fills=filled, seed=effort.seed)

    def _hold(self, place: Place, filled: int) -> None:
        with place.open_whole(records=KIT_RECORDS) as keep:
            session = keep.sessions.resume(PROGRAM, tape=keep.tape, reducer=take_in)
            trades = keep.tape.trades(mode="paper")
            assert len(trades) >= filled, "a trade that was acknowledged is gone"
            assert [t.uid for t in trades] == [f"fill-{n}" for n in range(len(trades))]
            assert session["book"] == {"fills": len(trades), "qty": sum(t.qty for t in trades)}
            session.stop()


def _readable_snapshots(keep: Keep) -> list[SnapshotRecord]:
    """The snapshots whose rows are sound."""
    table, found = keep.table(SnapshotRecord), []
    for head in keep.backend.heads(table.collection):
        for revision in range(1, head.revision + 1):
            try:
                found.append(table.get(*head.stream, revision))
            except Corrupt:
                continue
    return [snapshot for snapshot in found if snapshot is not None]
