"""Revisions and stamps: the store's own numbering, and never the clock's (Z-1, Z-2, X-7)."""

from datetime import UTC, datetime

import pytest

from quantkeep import ABSENT, Keep, QuantkeepError, Where
from quantkeep.backend import Head
from quantkeep.batch import Append, Put
from quantkeep.sealing import stamped
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.records import Entry, Setting, Specimen
from quantkeep_conformance.suites.helpers import known, log, never, numbers, put

OLD = datetime(2001, 1, 1, tzinfo=UTC)


class Revisions(Suite):
    """Dense and ascending in each stream."""

    family = "revisions"

    @pytest.mark.requirement("Z-2")
    def test_dense(self, keep: Keep) -> None:
        """The entries of a stream are numbered 1, 2, 3 ... in the order of their commits."""
        receipts = [log(keep, Entry(number=n)) for n in range(1, 6)]
        assert [r.revision for r in receipts] == [1, 2, 3, 4, 5]
        assert [(e.revision, e.number) for e in keep.table(Entry).scan()] == [
            (n, n) for n in range(1, 6)
        ]

    @pytest.mark.requirement("Z-2")
    def test_streams_are_numbered_apart(self, keep: Keep) -> None:
        """Each account and mode of a log, and each partition of a keyed record, counts for itself."""
        receipt = log(keep, Entry(account="a"), Entry(account="b"), Entry(account="a"))
        assert receipt.revisions == (1, 1, 2)
        receipt = put(keep, *(Setting(owner=owner, name="x") for owner in "ab"))
        assert receipt.revisions == (1, 1)

    def test_updates_are_numbered(self, keep: Keep) -> None:
        """Each put of a keyed record has the next revision of its stream, equal content or not."""
        for revision in (1, 2, 3):
            assert put(keep, Setting(owner="a", name="x", value=7)).revision == revision
        assert put(keep, Setting(owner="a", name="y")).revision == 4
        assert keep.table(Setting).fetch("a", "x").revision == 3

    def test_never_reused(self, keep: Keep) -> None:
        """A revision is never given twice, not even when the newest record has been deleted."""
        log(keep, Entry(), Entry())
        put(keep, Setting(owner="a", name="x"), Setting(owner="a", name="y"))
        keep.commit(
            keep.table(Entry).delete("default", "paper", 2), keep.table(Setting).delete("a", "y")
        )
        assert log(keep, Entry()).revision == 3
        assert put(keep, Setting(owner="a", name="z")).revision == 3

    def test_no_gap_after_a_refusal(self, keep: Keep) -> None:
        """A commit that was refused uses up no revision."""
        log(keep, Entry())
        with pytest.raises(QuantkeepError):
            keep.commit(keep.table(Entry).append([Entry()]), *never(keep))
        assert log(keep, Entry()).revision == 2

    def test_heads(self, keep: Keep) -> None:
        """The head of each stream is its last revision; a stream that never had one has no head."""
        log(keep, Entry(account="b"), Entry(account="a"), Entry(account="b"))
        table = keep.table(Entry)
        heads = keep.backend.heads(table.collection)
        assert sorted(heads, key=repr) == [Head(("a", "paper"), 1), Head(("b", "paper"), 2)]
        assert (table.head("b", "paper"), table.head("c", "paper")) == (2, 0)

    @pytest.mark.requirement("Z-45")
    def test_receipts(self, keep: Keep) -> None:
        """A receipt says what each write did: the revisions it was given, and what it added."""
        specimens = keep.table(Specimen)
        put(keep, Specimen(name="old"))
        receipt = keep.commit(
            keep.table(Entry).append([Entry()]),
            specimens.put(Specimen(name="old")),
            specimens.delete("old"),
            specimens.require("old", expect=ABSENT),
        )
        assert [[*outcome.revisions] for outcome in receipt.outcomes] == [[1], [2], [], []]
        assert [outcome.added for outcome in receipt.outcomes] == [1, 0, 1, 0]
        assert not receipt.replayed

    @pytest.mark.requirement("X-7")
    def test_updates_keep_created_at(self, keep: Keep) -> None:
        """An update leaves created_at alone, and gives updated_at the time of its commit (X-7)."""
        table = keep.table(Specimen)
        sealed = stamped(table.seal(Specimen(name="x")), OLD)
        keep.commit(Put(table.collection, sealed))
        receipt = put(keep, Specimen(name="x", integer=1))
        found = known(keep, Specimen(name="x"))
        assert found is not None
        assert found.envelope is not None
        assert found.envelope.created_at == OLD
        assert found.envelope.updated_at.timestamp() * 1e6 == pytest.approx(receipt.at, abs=1)

    @pytest.mark.requirement("X-7", "Z-2")
    def test_latest_is_by_revision(self, keep: Keep) -> None:
        """The newest entry is the one committed last, even where its stamps lie before the others'."""
        table = keep.table(Entry)
        log(keep, Entry(number=1))
        keep.commit(Append(table.collection, [stamped(table.seal(Entry(number=2)), OLD)]))
        assert numbers(table.scan()) == [1, 2]
        newest = table.first(order=["-revision"])
        assert newest is not None
        assert newest.number == 2
        assert newest.envelope is not None
        assert newest.envelope.created_at == OLD
        assert numbers(table.list(Where("revision", ">", 1))) == [2]
