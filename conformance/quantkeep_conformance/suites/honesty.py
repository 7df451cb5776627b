"""Honesty: what a backend claims it keeps, and what it does not claim it refuses (Z-16)."""

import pytest

from quantkeep import Capability, Durability, DurabilityNotMet, Keep, QuantkeepError, Unsupported
from quantkeep.opening import backend_hooks
from quantkeep.url import Url
from quantkeep_conformance.clauses import Need, Suite, need_in_words, requires
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import Entry, Specimen
from quantkeep_conformance.scratch import loaded
from quantkeep_conformance.suites.helpers import log, numbers, put


class Honesty(Suite):
    """Levels and capabilities, checked both ways."""

    family = "honesty"

    def test_level_fits_capabilities(self, keep: Keep) -> None:
        """A level above memory is claimed by those, and only those, that keep what was committed."""
        backend = keep.backend
        persistent = Capability.PERSISTENT in backend.capabilities
        assert persistent == (backend.durability > Durability.MEMORY)

    def test_capabilities_fit_together(self, keep: Keep) -> None:
        """Several hosts imply several processes, and several processes imply persistence."""
        claimed = keep.backend.capabilities
        if Capability.MULTI_HOST in claimed:
            assert Capability.MULTI_PROCESS in claimed
        if Capability.MULTI_PROCESS in claimed:
            assert Capability.PERSISTENT in claimed

    @pytest.mark.requirement("Z-16")
    def test_demanded_level(self, place: Place) -> None:
        """A level up to the one reached can be demanded at open; a higher one is DurabilityNotMet."""
        reached = place.claims.level
        for level in Durability:
            if level <= reached:
                place.open(durability=level.name.lower()).close()
            else:
                with pytest.raises(DurabilityNotMet):
                    place.open(durability=level.name.lower())

    def test_description_agrees(self, place: Place) -> None:
        """The listing of backends says of this one what it claims once it is open."""
        url, claims = Url.parse(place.url), place.claims
        known = backend_hooks(url, loaded(place.plugins)).hook.quantkeep_backend()
        for info in (info for info in known if info.scheme == url.scheme):
            said = info.transports.get(url.transport, info.capabilities)
            _assert_agrees("capabilities", said, claims.capabilities)
            if place.is_as_shipped and url.transport not in info.transports:
                _assert_agrees("durability", info.durability, claims.level)

    def test_health(self, keep: Keep) -> None:
        """A sound keep says that it is, and at which level; its facts are plain values."""
        health = keep.backend.health()
        assert health.ok
        assert health.durability == keep.backend.durability
        assert all(isinstance(name, str) for name in health.facts)

    def test_failpoints_are_listed(self, keep: Keep) -> None:
        """Failpoints are named in the health's facts exactly where they are claimed."""
        named = keep.backend.health().facts.get("failpoints", ())
        if Capability.FAILPOINTS in keep.backend.capabilities:
            assert named, "health().facts['failpoints'] is missing, and FAILPOINTS is claimed"
        else:
            assert not named, f"health().facts['failpoints'] is {named}, but not claimed"

    def test_persistence_is_claimed(self, place: Place) -> None:
        """What another process has committed is there if that is claimed, and only then."""
        writer = place.child("append", times=1, symbol="x")
        writer.expect("ready")
        writer.tell("go")
        writer.expect("ack")
        writer.wait()
        with place.open() as keep:
            found = numbers(keep.table(Entry).scan())
        assert bool(found) == (Capability.PERSISTENT in place.claims.capabilities)

    @requires(Capability.SNAPSHOT_READS)
    def test_snapshot_reads(self, keep: Keep) -> None:
        """A scan gives what was there when it was called, whatever is committed beside it."""
        put(keep, *(Specimen(name=f"{n}", integer=n) for n in range(4)))
        scan = keep.table(Specimen).scan()
        first = next(scan)
        put(keep, Specimen(name="2", integer=99), Specimen(name="9", integer=9))
        keep.commit(keep.table(Specimen).delete("3"))
        assert [s.integer for s in (first, *scan)] == [0, 1, 2, 3]
        scan = keep.table(Specimen).scan()
        put(keep, Specimen(name="1", integer=98))
        keep.commit(keep.table(Specimen).delete("2"))
        found = [s.integer for s in scan]
        assert found == [0, 1, 99, 9], f"as of its first row, not of its call: {found}"

    @requires(Capability.STORE_CLOCK)
    def test_store_clock(self, keep: Keep) -> None:
        """Commits are stamped by the clock that ``now()`` reads."""
        before = keep.backend.now()
        receipt = log(keep, Entry())
        assert before <= receipt.at <= keep.backend.now()
        found = keep.table(Entry).fetch("default", "paper", 1).envelope
        assert found is not None
        assert round(found.created_at.timestamp() * 1e6) == pytest.approx(receipt.at, abs=1)

    @requires(Capability.PERSISTENT)
    def test_second_writer(self, place: Place, keep: Keep) -> None:
        """A second process that writes is served if that is claimed, and refused with a typed error if not."""
        child = place.child("append", times=1, symbol="x")
        if Capability.MULTI_PROCESS in place.claims.capabilities:
            child.expect("ready")
            child.tell("go")
            child.expect("ack")
        else:
            _assert_refused(child.complaint())
        assert keep.table(Entry).count() == (
            1 if Capability.MULTI_PROCESS in place.claims.capabilities else 0
        )

    def test_compaction(self, keep: Keep) -> None:
        """Compaction changes no record, or is Unsupported."""
        put(keep, *(Specimen(name=f"{n}", integer=n) for n in range(50)))
        log(keep, *(Entry(number=n) for n in range(50)))
        keep.commit(*(keep.table(Specimen).delete(f"{n}") for n in range(10, 50)))
        before = keep.table(Specimen).list(), keep.table(Entry).list()
        try:
            keep.backend.compact()
        except Unsupported:
            return
        assert (keep.table(Specimen).list(), keep.table(Entry).list()) == before
        assert log(keep, Entry()).revision == 51


def _assert_agrees(field: str, listed: Need, claimed: Need) -> None:
    said, is_so = (need_in_words(which) or "none" for which in (listed, claimed))
    assert listed == claimed, f"BackendInfo.{field} says {said}; once it is open, it is {is_so}"


def _assert_refused(complaint: str) -> None:
    names = {error.__name__ for error in (QuantkeepError, *_descendants(QuantkeepError))}
    said = complaint.partition(":")[0].rpartition(".")[2]
    assert said in names, f"a second writer was met with {complaint!r}"


def _descendants(cls: type) -> list[type]:
    children: list[type] = cls.__subclasses__()
    return [*children, *(found for child in children for found in _descendants(child))]
