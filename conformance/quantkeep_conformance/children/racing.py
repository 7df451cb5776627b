"""Writers that want the same at one moment."""

import random

import attrs

from quantkeep import ABSENT, AtRevision, Conflict, Keep
from quantkeep_conformance.children.desk import Desk
from quantkeep_conformance.linearizability import swap_at_random
from quantkeep_conformance.records import Entry, Setting, WiderEntry

RACE = ("race", "prize")  # the setting that racing writers want


def race(desk: Desk) -> None:
    """Try to take the prize ``times`` times, each at the same moment as the others."""
    keep = desk.at_the_barrier()
    settings = keep.table(Setting)
    for turn in range(desk.told["times"]):
        prize = Setting(owner=RACE[0], name=f"{RACE[1]} {turn}", value=desk.told["runner"])
        try:
            keep.commit(settings.put(prize, ABSENT))
            desk.say("won", turn=turn)
        except Conflict:
            desk.say("lost", turn=turn)


def increment(desk: Desk) -> None:
    """Add 1 to a counter ``times`` times, by reading, and writing at the revision read."""
    keep = desk.at_the_barrier()
    settings = keep.table(Setting)
    conflicts = 0
    for _ in range(desk.told["times"]):
        while not _incremented(keep, settings.fetch("race", "counter")):
            conflicts += 1
    desk.say("done", conflicts=conflicts)


def _incremented(keep: Keep, known: Setting) -> bool:
    assert known.revision is not None
    try:
        more = known.replace(value=known.value + 1)
        keep.commit(keep.table(Setting).put(more, AtRevision(known.revision)))
    except Conflict:
        return False
    return True


def append(desk: Desk) -> None:
    """Append ``times`` numbered entries under one's own symbol, acknowledging each."""
    keep = desk.at_the_barrier()
    entries = keep.table(Entry)
    for number in range(desk.told["times"]):
        entry = Entry(account="race", symbol=desk.told["symbol"], number=number)
        receipt = keep.commit(entries.append([entry]))
        desk.say("ack", number=number, revision=receipt.revision)


def migrate(desk: Desk) -> None:
    """Open the keep at the same moment as others do, all of them the first to know more fields."""
    desk.say("ready")
    desk.listen()
    keep, runner = desk.open_wider(), desk.told["runner"]
    entry = WiderEntry(account="race", number=runner, venue=f"{runner}")
    keep.commit(keep.table(WiderEntry).append([entry]))
    desk.say("done")


def compare_and_swap(desk: Desk) -> None:
    """Read and swap a setting at random, telling when each call began and ended."""
    keep = desk.at_the_barrier()
    draw = random.Random(desk.told["seed"])
    for operation in swap_at_random(keep, draw, desk.told["times"], desk.told["writer"]):
        desk.say("operation", **attrs.asdict(operation))
