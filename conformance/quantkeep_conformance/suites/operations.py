"""Operation ids: the same batch twice is once (Z-10)."""

import pytest

from quantkeep import ABSENT, Capability, Keep, QuantkeepError, Receipt
from quantkeep.errors import OperationConflict
from quantkeep_conformance.clauses import Suite, requires
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import Entry, Setting
from quantkeep_conformance.suites.helpers import at_once, never, numbers


def committed(keep: Keep, number: int, op_id: str) -> Receipt:
    """A batch of two writes under *op_id*, neither of which is idempotent by itself."""
    setting = Setting(owner="a", name=f"{number}", value=number)
    writes = keep.table(Entry).append([Entry(number=number)]), keep.table(Setting).put(setting)
    return keep.commit(*writes, op_id=op_id)


class Operations(Suite):
    """Checked inside the store, in the commit itself."""

    family = "operations"

    @pytest.mark.requirement("Z-10")
    def test_replay_changes_nothing(self, keep: Keep) -> None:
        """The same batch under the same id gives the first receipt again, and adds nothing."""
        first = committed(keep, 1, "op")
        committed(keep, 2, "another")
        again = committed(keep, 1, "op")
        assert (first.replayed, again.replayed) == (False, True)
        assert (again.revisions, again.added, again.at) == (first.revisions, first.added, first.at)
        assert numbers(keep.table(Entry).scan()) == [1, 2]
        assert keep.table(Setting).fetch("a", "1").revision == 1

    @pytest.mark.requirement("Z-10")
    def test_other_batch_conflicts(self, keep: Keep) -> None:
        """Another batch under a used id is OperationConflict, and nothing of it is applied."""
        committed(keep, 1, "op")
        with pytest.raises(OperationConflict):
            committed(keep, 2, "op")
        expecting = keep.table(Setting).put(Setting(owner="a", name="1", value=1), ABSENT)
        with pytest.raises(OperationConflict):
            keep.commit(keep.table(Entry).append([Entry(number=1)]), expecting, op_id="op")
        assert numbers(keep.table(Entry).scan()) == [1]

    def test_resolve(self, keep: Keep) -> None:
        """What became of an operation can be asked: its receipt, or None if it was not applied."""
        first = committed(keep, 1, "op")
        found = keep.resolve("op")
        assert found is not None
        assert (found.revisions, found.replayed) == (first.revisions, True)
        assert keep.resolve("no such") is None

    def test_refused_batch_leaves_the_id_free(self, keep: Keep) -> None:
        """A batch that was refused has not used its id."""
        with pytest.raises(QuantkeepError):
            keep.commit(*never(keep), op_id="op")
        assert keep.resolve("op") is None
        assert not committed(keep, 1, "op").replayed

    def test_ids_are_exact(self, keep: Keep) -> None:
        """Operation ids differ by case and spaces, and may hold any text."""
        ids = ["op", "OP", "op ", "o%", "../op", "é", "e\u0301", "x" * 500]
        for number, op_id in enumerate(ids):
            assert not committed(keep, number, op_id).replayed
        assert all(keep.resolve(op_id) is not None for op_id in ids)

    def test_once_between_threads(self, keep: Keep) -> None:
        """Threads that commit the same batch under one id at one moment apply it once."""
        receipts = at_once(6, lambda _: committed(keep, 1, "op"))
        assert sorted(receipt.replayed for receipt in receipts) == [False] + [True] * 5
        assert numbers(keep.table(Entry).scan()) == [1]

    @pytest.mark.requirement("Z-10")
    @requires(Capability.PERSISTENT)
    def test_remembered_when_reopened(self, place: Place) -> None:
        """Operation ids are remembered when the keep is opened again."""
        with place.open() as keep:
            first = committed(keep, 1, "op")
        with place.open() as keep:
            again = committed(keep, 1, "op")
            assert (again.replayed, again.revisions) == (True, first.revisions)
            assert numbers(keep.table(Entry).scan()) == [1]
            with pytest.raises(OperationConflict):
                committed(keep, 2, "op")
