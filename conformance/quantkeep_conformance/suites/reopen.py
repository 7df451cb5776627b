"""Reopening: what a keep is when another program opens it, later, newer, or after a restore."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from quantkeep import Capability, Keep, NotFound, Query, Record, Where, field, record
from quantkeep.errors import Corrupt, FormatTooNew, ReadOnly, UpgradeNeeded
from quantkeep_conformance.clauses import Facility, Suite, requires
from quantkeep_conformance.exactness import assert_all_same
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import (
    KIT_RECORDS,
    Entry,
    Order,
    Party,
    Position,
    Setting,
    WiderEntry,
)
from quantkeep_conformance.samples import populated, with_targets
from quantkeep_conformance.suites.helpers import compacted, log, numbers, put, started

EARLY = datetime(1999, 12, 31, tzinfo=UTC)


@record("kit_positions", key=("account", "mode", "symbol"), schema_version=2)
class NewerPosition(Record):
    """The kit's position, as a later program declares it."""

    account: str = "default"
    mode: str = "paper"
    symbol: str
    size: Decimal | None = None


@record()
class StampedEntry(Entry):
    """The kit's entry with fields that are called as the store's own columns may be."""

    created_at: datetime | None = None
    updated_at: int | None = field(default=None, index=True)
    schema_version: str | None = None


class Reopen(Suite):
    """Closed and opened again, by this program or by another."""

    family = "reopen"

    @requires(Capability.PERSISTENT)
    def test_everything_is_there(self, place: Place) -> None:
        """Every record, revision, stamp and blob is there when the keep is opened again."""
        known = {record.collection.name: record for record in KIT_RECORDS}
        with place.open() as keep:
            for record_type in KIT_RECORDS:
                *targets, sample = with_targets(populated(record_type), known)
                put(keep, *targets)
                log(keep, sample) if isinstance(sample, Entry) else put(keep, sample)
            keep.backend.put_blob("aa", b"blob")
            before = {t: keep.table(t).list() for t in KIT_RECORDS}
        with place.open() as keep:
            for record_type, wanted in before.items():
                found = keep.table(record_type).list()
                assert_all_same(found, wanted)
                assert [f.envelope for f in found] == [w.envelope for w in wanted]
            assert keep.backend.open_blob("aa") == b"blob"

    @requires(Capability.PERSISTENT)
    def test_revisions_go_on(self, place: Place) -> None:
        """Revisions go on where they were, also after the newest record was deleted."""
        with place.open() as keep:
            log(keep, Entry(), Entry())
            keep.commit(keep.table(Entry).delete("default", "paper", 2))
        with place.open() as keep:
            assert keep.table(Entry).head("default", "paper") == 2
            assert log(keep, Entry()).revision == 3

    @pytest.mark.requirement("Z-3")
    @requires(Capability.PERSISTENT)
    def test_without_the_records(self, place: Place) -> None:
        """A program without our record classes keeps them, and what they declare, untouched (Z-3)."""
        with place.open() as keep:
            put(keep, Party(party="p"), Order(order="1", party="p"))
        with place.open(records=()) as keep:
            description = keep.backend.description()
        assert description is not None
        assert "kit_orders" in description
        with place.open() as keep:
            assert keep.table(Order).fetch("1").party == "p"

    @pytest.mark.requirement("CODEX-5")
    @requires(Capability.PERSISTENT)
    def test_added_fields(self, place: Place) -> None:
        """Fields that a program adds to a record are added to what is stored, as null (CODEX-5)."""
        with place.open() as keep:
            log(keep, Entry(number=1, uid="u"))
        with place.open(records=(WiderEntry,)) as keep:
            table = keep.table(WiderEntry)
            again = table.append([WiderEntry(number=1, uid="u")])
            assert keep.commit(again).added == 0
            keep.commit(table.append([WiderEntry(number=2, venue="x", fee=Decimal("0.1"))]))
            found = [(e.number, e.venue, e.fee) for e in table.scan()]
            assert found == [(1, None, None), (2, "x", Decimal("0.1"))]
        with place.open() as keep:
            log(keep, Entry(number=3))
            assert numbers(keep.table(Entry).scan()) == [1, 2, 3]

    @requires(Capability.PERSISTENT)
    def test_added_fields_called_as_the_stores_own(self, place: Place) -> None:
        """Fields called created_at, updated_at or schema_version are null in what was there before."""
        with place.open() as keep:
            log(keep, *(Entry(number=n, uid=f"{n}") for n in range(3)))
            compacted(keep)
            log(keep, Entry(number=3))
            before = [entry.envelope for entry in keep.table(Entry).list()]
        with place.open(records=(StampedEntry,)) as keep:
            table = keep.table(StampedEntry)
            stamped = StampedEntry(number=4, created_at=EARLY, updated_at=-5, schema_version="x")
            keep.commit(table.append([stamped]))
            for _ in range(2):
                *others, last = table.list()
                assert_all_same([last], [stamped])
                assert [(e.created_at, e.updated_at, e.schema_version) for e in others] == [
                    (None, None, None)
                ] * 4
                assert [e.envelope for e in others] == before
                for condition, wanted in (
                    (Where("updated_at", "==", None), [0, 1, 2, 3]),
                    (Where("updated_at", "<", 0), [4]),
                    (Where("created_at", "<=", EARLY), [4]),
                ):
                    assert numbers(table.scan(Query(where=(condition,)))) == wanted
                compacted(keep)

    @requires(Capability.PERSISTENT)
    def test_added_fields_need_migration(self, place: Place) -> None:
        """With migrate=False, or read only, a keep that lacks a field is UpgradeNeeded, not changed."""
        place.open().close()
        for refusal in ({"migrate": False}, {"read_only": True}):
            with pytest.raises(UpgradeNeeded):
                place.open(records=(WiderEntry,), **refusal)

    @pytest.mark.requirement("Z-3")
    @requires(Capability.MULTI_PROCESS)
    def test_raced_by_processes(self, place: Place) -> None:
        """Four processes that make the keep, or add fields to it, at one moment all succeed."""
        for made_before in (False, True):
            there = place.another()
            if made_before:
                there.open().close()
            children = [there.child("migrate", runner=n) for n in range(4)]
            for child in started(children):
                child.expect("done")
            with there.open(records=(WiderEntry,)) as keep:
                found = keep.table(WiderEntry).list()
            assert sorted((e.number, e.venue) for e in found) == [(n, f"{n}") for n in range(4)]

    @requires(Capability.PERSISTENT)
    def test_newer_schema_is_refused(self, place: Place) -> None:
        """A record written by a newer schema is FormatTooNew to an older program."""
        place.open(records=(NewerPosition,)).close()
        with pytest.raises(FormatTooNew):
            place.open(records=(Position,))

    def test_no_keep_to_open(self, place: Place) -> None:
        """With create=False, a keep that is not there is NotFound, and is not made."""
        for _ in range(2):
            with pytest.raises(NotFound):
                place.open(create=False)

    @requires(Capability.PERSISTENT)
    def test_read_only(self, place: Place) -> None:
        """A keep opened read-only reads, and refuses every write."""
        with place.open() as keep:
            put(keep, Setting(owner="a", name="x", value=1))
        with place.open(read_only=True) as keep:
            table = keep.table(Setting)
            assert table.fetch("a", "x").value == 1
            for write in (table.put(Setting(owner="a", name="y")), table.delete("a", "x")):
                with pytest.raises(ReadOnly):
                    keep.commit(write)
            with pytest.raises(ReadOnly):
                keep.backend.put_blob("aa", b"x")

    @requires(Capability.PERSISTENT, Facility.BACKUP)
    def test_older_backup_is_noticed(self, place: Place, tmp_path: Path) -> None:
        """An older backup put back under an open keep is noticed at the next commit, not built on."""
        self._put_back(place, tmp_path / "backup", reads=True)
        # what it has only written it must know, too
        self._put_back(place.another(), tmp_path / "another", reads=False)

    def _put_back(self, place: Place, backup: Path, *, reads: bool) -> None:
        keep = place.open()
        log(keep, Entry(number=1))
        place.back_up(backup)
        log(keep, Entry(number=2), Entry(number=3))
        assert not reads or numbers(keep.table(Entry).scan()) == [1, 2, 3]
        place.restore(backup)
        with pytest.raises(Corrupt):
            log(keep, Entry(number=4))
        keep.close()
        place.restore(backup)
        assert self._numbers_reopened(place) == [1]

    def _numbers_reopened(self, place: Place) -> list[int]:
        keep: Keep = place.open()
        return numbers(keep.table(Entry).scan())
