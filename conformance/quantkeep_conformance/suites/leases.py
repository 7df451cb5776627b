"""Leases: whoever holds an old fencing token changes nothing (D70-11, Z-11)."""

import pytest

from quantkeep import ABSENT, AtRevision, Capability, Holding, Keep, StaleOwner
from quantkeep.batch import Write
from quantkeep_conformance.children.holding import LEASE
from quantkeep_conformance.clauses import Suite, requires
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import Lease, Setting
from quantkeep_conformance.suites.helpers import known, put


class Leases(Suite):
    """The token is checked in the same commit as the write it guards."""

    family = "leases"

    def test_current_token_writes(self, keep: Keep) -> None:
        """The holder of the current token may write."""
        put(keep, Lease(name="s", token=7))
        held = keep.table(Lease).require("s", expect=Holding(7))
        keep.commit(held, keep.table(Setting).put(Setting(owner="s", name="x", value=1)))
        assert known(keep, Setting(owner="s", name="x")) is not None

    @pytest.mark.requirement("Z-11")
    def test_stale_token_changes_nothing(self, keep: Keep) -> None:
        """A stale token is StaleOwner, says both tokens, and nothing of the batch is applied."""
        put(keep, Lease(name="s", token=7), Lease(name="s", token=8))
        table = keep.table(Lease)
        guards: list[Write] = [
            table.require("s", expect=Holding(7)),
            table.delete("s", expect=Holding(7)),
        ]
        guards.append(table.put(Lease(name="s", token=7), Holding(7)))
        for guard in guards:
            with pytest.raises(StaleOwner) as caught:
                keep.commit(keep.table(Setting).put(Setting(owner="s", name="x")), guard)
            assert (caught.value.held, caught.value.current) == (7, 8)
        assert known(keep, Setting(owner="s", name="x")) is None
        assert table.fetch("s").token == 8

    def test_no_lease_is_no_permission(self, keep: Keep) -> None:
        """A token of a lease that is not there is stale."""
        with pytest.raises(StaleOwner):
            keep.commit(keep.table(Lease).require("s", expect=Holding(1)))

    @pytest.mark.requirement("Z-11")
    @requires(Capability.MULTI_PROCESS)
    def test_paused_holder_is_refused(self, place: Place, keep: Keep) -> None:
        """A process paused past its lease (SIGSTOP) is refused when it goes on, and changes nothing."""
        holder = place.child("hold_lease")
        holder.expect("held")
        holder.tell(1)
        holder.expect("written")
        holder.pause()
        table = keep.table(Lease)
        lease = table.fetch(LEASE)
        assert lease.revision is not None
        taken = lease.replace(token=lease.token + 1, owner="second")
        keep.commit(table.put(taken, AtRevision(lease.revision)))
        keep.commit(keep.table(Setting).put(Setting(owner=LEASE, name="mine"), ABSENT))
        holder.tell(2)
        holder.resume()
        assert holder.expect("refused")["type"] == "StaleOwner"
        state = keep.table(Setting).fetch(LEASE, "state")
        assert state.value == 1
