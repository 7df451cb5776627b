"""References: nothing dangles, on any engine (X-6)."""

import pytest

from quantkeep import Keep
from quantkeep.batch import Write
from quantkeep.errors import InvalidReference, StillReferenced
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.records import Fill, Leg, Order, Party
from quantkeep_conformance.suites.helpers import put


class References(Suite):
    """Judged by the state after the whole batch."""

    family = "references"

    @pytest.mark.requirement("X-6")
    def test_dangling_is_refused(self, keep: Keep) -> None:
        """A record that refers to what is not stored is refused, when new and when changed."""
        put(keep, Party(party="p"), Order(order="1", party="p"))
        for dangling in (Order(order="2", party="nobody"), Order(order="1", party="nobody")):
            with pytest.raises(InvalidReference):
                put(keep, dangling)
        assert [(o.order, o.party) for o in keep.table(Order).scan()] == [("1", "p")]

    def test_same_batch_suffices(self, keep: Keep) -> None:
        """What is referred to may come later in the same batch."""
        put(keep, Leg(order="1", leg=1), Order(order="1", party="p"), Party(party="p"))
        assert keep.table(Leg).count() == 1

    @pytest.mark.requirement("X-6")
    def test_judged_after_the_batch(self, keep: Keep) -> None:
        """What a batch puts and takes away again may refer to nothing: only what is left counts."""
        orders, parties = keep.table(Order), keep.table(Party)
        dangling = Order(order="1", party="nobody")
        keep.commit(orders.put(dangling), orders.delete("1"))
        assert orders.count() == 0
        keep.commit(orders.put(dangling), orders.put(Order(order="1")))
        put(keep, Party(party="p"), Order(order="2", party="p"))
        keep.commit(parties.delete("p"), parties.put(Party(party="p", name="again")))
        assert parties.fetch("p").name == "again"
        keep.commit(parties.delete("p"), orders.put(Order(order="2")))
        assert [(order.order, order.party) for order in orders.scan()] == [("1", None), ("2", None)]

    @pytest.mark.requirement("X-6")
    def test_left_dangling_by_the_batch(self, keep: Keep) -> None:
        """Whatever the order of its writes, a batch that leaves a reference to nothing is refused."""
        orders, parties, legs = keep.table(Order), keep.table(Party), keep.table(Leg)
        put(keep, Party(party="p"), Order(order="1"), Leg(order="1", leg=1))
        mine, gone = orders.put(Order(order="1", party="p")), parties.delete("p")
        batches: list[tuple[Write, Write]] = [
            (mine, gone),
            (gone, mine),
            (orders.delete("1"), legs.put(Leg(order="1", leg=2))),
        ]
        for batch in batches:
            with pytest.raises((InvalidReference, StillReferenced)):
                keep.commit(*batch)
        assert (parties.count(), legs.count(), orders.fetch("1").party) == (1, 1, None)

    def test_deleted_and_put_again(self, keep: Keep) -> None:
        """A whole that a batch deletes and puts again is there without its parts, which went with it."""
        put(keep, Order(order="1"), Leg(order="1", leg=1), Leg(order="1", leg=2))
        orders, legs = keep.table(Order), keep.table(Leg)
        again = orders.put(Order(order="1", side="sell"))
        keep.commit(orders.delete("1"), again, legs.put(Leg(order="1", leg=2)))
        assert [leg.leg for leg in legs.scan()] == [2]
        assert orders.fetch("1").side == "sell"

    def test_null_refers_to_nothing(self, keep: Keep) -> None:
        """A null reference needs nothing to be stored."""
        put(keep, Order(order="1"))
        assert keep.table(Order).fetch("1").party is None

    @pytest.mark.requirement("X-6")
    def test_referenced_is_not_deleted(self, keep: Keep) -> None:
        """What others refer to cannot be deleted, until they are gone, or go in the same batch."""
        put(keep, Party(party="p"), Order(order="1", party="p"))
        delete = keep.table(Party).delete("p")
        with pytest.raises(StillReferenced):
            keep.commit(delete)
        assert keep.table(Party).get("p") is not None
        keep.commit(delete, keep.table(Order).delete("1"))
        assert keep.table(Party).get("p") is None

    def test_referenced_may_change(self, keep: Keep) -> None:
        """What others refer to may be put again: an update is no deletion, and cascades nothing."""
        put(keep, Party(party="p"), Order(order="1", party="p"), Leg(order="1", leg=1))
        put(keep, Party(party="p", name="new"), Order(order="1", party="p", side="sell"))
        assert keep.table(Leg).count() == 1

    def test_cascade(self, keep: Keep) -> None:
        """Parts that are declared to go with their whole are deleted with it, and no others."""
        put(keep, Order(order="1"), Leg(order="1", leg=1), Leg(order="1", leg=2))
        put(keep, Order(order="2"), Leg(order="2", leg=1))
        keep.commit(keep.table(Order).delete("1"))
        assert [(leg.order, leg.leg) for leg in keep.table(Leg).scan()] == [("2", 1)]

    def test_cascade_is_held_up(self, keep: Keep) -> None:
        """A deletion that would cascade to what others refer to is refused, and deletes nothing."""
        put(keep, Order(order="1"), Leg(order="1", leg=1), Leg(order="1", leg=2))
        put(keep, Fill(fill="f", order="1", leg=2))
        with pytest.raises(StillReferenced):
            keep.commit(keep.table(Order).delete("1"))
        assert keep.table(Leg).count() == 2
        keep.commit(keep.table(Fill).delete("f"), keep.table(Order).delete("1"))
        assert keep.table(Leg).count() == 0

    def test_several_columns(self, keep: Keep) -> None:
        """A reference by several columns needs the record with all of them; null in one frees it."""
        put(keep, Order(order="1"), Leg(order="1", leg=1), Order(order="2"), Leg(order="2", leg=2))
        put(keep, Fill(fill="a", order="1", leg=1), Fill(fill="b", order="nobody"))
        with pytest.raises(InvalidReference):
            put(keep, Fill(fill="c", order="1", leg=2))
        assert [fill.fill for fill in keep.table(Fill).scan()] == ["a", "b"]
