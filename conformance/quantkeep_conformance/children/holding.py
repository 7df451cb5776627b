"""A holder of a lease, and a reader that looks for torn batches."""

from quantkeep import ABSENT, Holding, Keep, QuantkeepError
from quantkeep_conformance.children.desk import Desk, described
from quantkeep_conformance.records import Lease, Setting

LEASE = "session"


def hold_lease(desk: Desk) -> None:
    """Take the lease, and write under it each time the parent says so."""
    keep = desk.open()
    leases, settings = keep.table(Lease), keep.table(Setting)
    keep.commit(leases.put(Lease(name=LEASE, token=1, owner="first"), ABSENT))
    desk.say("held")
    while (value := desk.listen()) is not None:
        try:
            held = leases.require(LEASE, expect=Holding(1))
            keep.commit(held, settings.put(Setting(owner=LEASE, name="state", value=value)))
            desk.say("written", value=value)
        except QuantkeepError as error:
            desk.say("refused", **described(error))


def watch(desk: Desk) -> None:
    """Look for batches of which only a part can be seen, until told to stop; then once more."""
    keep = desk.at_the_barrier()
    looks, torn, stopped = 0, 0, False
    while not stopped:
        stopped = desk.has_mail()
        seen, whole = seen_whole(keep, ("one", "other") if looks % 2 else ("other", "one"))
        torn += not whole
        looks += 1
    desk.say("done", looks=looks, torn=torn, seen=seen)


def seen_whole(keep: Keep, parts: tuple[str, str] = ("one", "other")) -> tuple[int, bool]:
    """The number of the newest batch seen, and whether both parts of it could be seen.

    Numbers only grow, so the part that is read later may be newer than the other, never older.
    """
    sooner, later = (_part(keep, name) for name in parts)
    return later, later >= sooner


def _part(keep: Keep, name: str) -> int:
    found = keep.table(Setting).get("whole", name)
    return found.value if found else 0


def whole_batch(keep: Keep, number: int) -> None:
    """A batch of two parts with the same *number*."""
    settings = keep.table(Setting)
    keep.commit(
        settings.put(Setting(owner="whole", name="one", value=number)),
        settings.put(Setting(owner="whole", name="other", value=number)),
    )
