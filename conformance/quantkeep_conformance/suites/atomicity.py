"""Atomicity: a commit is seen whole or not at all."""

import pytest

from quantkeep import ABSENT, AtRevision, Capability, Keep, QuantkeepError
from quantkeep.batch import Write
from quantkeep_conformance.children.holding import seen_whole, whole_batch
from quantkeep_conformance.clauses import Suite, requires
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import Charter, Entry, Order, Party, Position, Seat, Setting
from quantkeep_conformance.suites.helpers import at_once, log, never, numbers, put


class Atomicity(Suite):
    """All of a batch, across collections, or nothing of it."""

    family = "atomicity"

    def test_append_is_whole(self, keep: Keep) -> None:
        """All rows of one append are there, in their order, the first and the last included."""
        for count in (1, 2, 1200):
            entries = [Entry(account=f"{count}", number=n) for n in range(count)]
            receipt = keep.commit(keep.table(Entry).append(entries))
            assert receipt.added == count
            assert receipt.revisions == tuple(range(1, count + 1))
        found = [(e.account, e.number) for e in keep.table(Entry).scan()]
        assert sorted(found) == sorted((f"{c}", n) for c in (1, 2, 1200) for n in range(c))

    def test_batch_spans_collections(self, keep: Keep) -> None:
        """A batch writes to several collections and streams in one commit, with one receipt."""
        receipt = keep.commit(
            keep.table(Entry).append([Entry(number=1)]),
            keep.table(Position).put(Position(symbol="BTC")),
            keep.table(Entry).append([Entry(mode="live", number=2)]),
            keep.table(Setting).put(Setting(owner="a", name="x")),
        )
        assert (receipt.added, receipt.revisions) == (4, (1, 1, 1, 1))
        assert len(keep.table(Entry).list()) == 2
        assert keep.table(Position).get("default", "paper", "BTC") is not None
        assert keep.table(Setting).get("a", "x") is not None

    def test_refused_batch_changes_nothing(self, keep: Keep) -> None:
        """Whatever write of a batch is refused, first, middle or last, nothing of it is applied."""
        put(keep, Party(party="p"), Order(order="1", party="p"), Seat(seat="1", number=1))
        put(keep, Setting(owner="a", name="old", value=1), Charter(name="c", text="a"))
        log(keep, Entry(uid="u", number=1))
        refused = [self._refused(keep, wrong) for wrong in self._wrong(keep)]
        assert any(refused), "nothing was refused: other clauses say of what it should have been"

    def _refused(self, keep: Keep, wrong: Write) -> bool:
        """Whether *wrong* is refused wherever it stands in a batch; then nothing may change."""
        before, refused = self._everything(keep), False
        for place in (0, 2, 4):
            writes = self._good(keep)
            writes.insert(place, wrong)
            error = self._tried(keep, writes)
            if error is not None:
                assert error.applied == "no"
                assert self._everything(keep) == before, f"{type(error).__name__} at {place}"
            refused |= error is not None
        return refused

    def _tried(self, keep: Keep, writes: list[Write]) -> QuantkeepError | None:
        try:
            keep.commit(*writes)
        except QuantkeepError as error:
            return error
        return None

    def _good(self, keep: Keep) -> list[Write]:
        settings, entries = keep.table(Setting), keep.table(Entry)
        return [
            entries.append([Entry(number=8)]),
            settings.put(Setting(owner="a", name="old", value=2)),
            settings.put(Setting(owner="a", name="new")),
            keep.table(Order).delete("1"),
            entries.append([Entry(mode="live", number=9)]),
        ]

    def _wrong(self, keep: Keep) -> list[Write]:
        settings = keep.table(Setting)
        return [
            settings.put(Setting(owner="b", name="x"), AtRevision(5)),
            settings.require("nobody", "x", expect=AtRevision(1)),
            keep.table(Charter).put(Charter(name="c", text="b")),
            keep.table(Seat).put(Seat(seat="2", number=1)),
            keep.table(Order).put(Order(order="2", party="nobody")),
            keep.table(Entry).append([Entry(uid="u", number=2)]),
            keep.table(Party).put(Party(party="p"), ABSENT),
        ]

    def _everything(self, keep: Keep) -> list[str]:
        kinds = (Party, Order, Seat, Setting, Charter, Entry)
        return [f"{r!r} {r.revision}" for kind in kinds for r in keep.table(kind).scan()]

    @pytest.mark.requirement("Z-9")
    def test_readers_see_whole_batches(
        self, keep: Keep, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """A reader in another thread never sees one part of a batch without the other."""
        last, looks = effort.times(40), list[bool]()

        def work(reader: int) -> None:
            if not reader:
                for number in range(1, last + 1):
                    whole_batch(keep, number)
                return
            seen = 0
            while seen < last and len(looks) < 1_000_000:
                parts = ("one", "other") if reader % 2 else ("other", "one")
                seen, whole = seen_whole(keep, parts)
                looks.append(whole)

        at_once(3, work)
        evidence["looks"] = len(looks)
        assert all(looks), f"{looks.count(False)} of {len(looks)} looks saw half a batch"

    @pytest.mark.requirement("Z-9")
    @requires(Capability.MULTI_PROCESS)
    def test_other_processes_see_whole_batches(
        self, place: Place, keep: Keep, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """A reader in another process never sees one part of a batch without the other."""
        last = effort.times(100)
        watcher = place.child("watch")
        watcher.expect("ready")
        watcher.tell("go")
        for number in range(1, last + 1):
            whole_batch(keep, number)
        watcher.tell("stop")
        told = watcher.expect("done")
        evidence["looks"] = told["looks"]
        assert told["torn"] == 0, f"{told['torn']} of {told['looks']} looks saw half a batch"
        assert told["seen"] == last

    def test_reads_its_own_writes(self, keep: Keep) -> None:
        """What a handle has committed it reads at once, by key, in scans and in counts."""
        for number in range(5):
            log(keep, Entry(number=number))
            put(keep, Setting(owner="a", name="x", value=number))
            assert numbers(keep.table(Entry).scan()) == [*range(number + 1)]
            assert keep.table(Setting).fetch("a", "x").value == number
            assert keep.table(Entry).count() == number + 1

    def test_goes_on_after_an_error(self, keep: Keep) -> None:
        """A handle whose commit was refused is as good as before (no poisoned session)."""
        refused = never(keep)
        for number in range(3):
            with pytest.raises(QuantkeepError):
                keep.commit(*refused)
            log(keep, Entry(number=number))
        assert numbers(keep.table(Entry).scan()) == [0, 1, 2]
