"""Whether what concurrent writers saw of one record can have happened one after the other.

The algorithm of Wing and Gong, with Lowe's memory of states already tried (as in Porcupine and
Knossos): search for an order of the operations that respects real time and the register's meaning.
"""

import random
import time
from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from quantkeep import AtRevision, Conflict, Keep, OutcomeUnknown
from quantkeep_conformance.records import Setting

State = tuple[int, int]  # revision and value
KEY = ("race", "register")
_NEVER = float("inf")


@attrs.frozen
class Operation:
    """One call, and what came of it.

    Attributes:
        called, returned: nanoseconds of the machine's monotonic clock; ``returned`` is ``None``
            where the outcome is unknown.
        state: what a read saw, or what a swap expected (its revision) and wrote (its value).
        swapped: whether a swap took place; ``None`` if that is unknown.
    """

    kind: Literal["read", "swap"]
    called: int
    returned: int | None
    state: State
    swapped: bool | None = None


def swap_at_random(keep: Keep, draw: random.Random, times: int, writer: int) -> Iterator[Operation]:
    """Read and swap the register; every value written is written once only."""
    known = _read(keep)
    for turn in range(times):
        if draw.random() < 0.4:
            known = _read(keep)
            yield known
        else:
            expected = known.state[0] if draw.random() < 0.9 else max(known.state[0] - 1, 1)
            yield _swap(keep, expected, writer * 1_000_000 + turn)
            known = _read(keep)


def _read(keep: Keep) -> Operation:
    called = time.monotonic_ns()
    found = keep.table(Setting).fetch(*KEY)
    assert found.revision is not None
    return Operation("read", called, time.monotonic_ns(), (found.revision, found.value))


def _swap(keep: Keep, expected: int, value: int) -> Operation:
    wanted = Setting(owner=KEY[0], name=KEY[1], value=value)
    write = keep.table(Setting).put(wanted, AtRevision(expected))
    called = time.monotonic_ns()
    swapped: bool | None = True
    try:
        keep.commit(write)
    except Conflict:
        swapped = False
    except OutcomeUnknown:
        return Operation("swap", called, None, (expected, value), None)
    return Operation("swap", called, time.monotonic_ns(), (expected, value), swapped)


def linearizable(history: Sequence[Operation], initial: State) -> bool:
    """Whether some order of *history*, from *initial* on, explains every answer."""
    calls = sorted(history, key=lambda operation: operation.called)
    ends = [_NEVER if call.returned is None else call.returned for call in calls]
    certain = sum(1 << place for place, call in enumerate(calls) if call.returned is not None)
    tried: set[tuple[int, State]] = set()
    open_ends = [(0, initial)]
    while open_ends:
        done, state = open_ends.pop()
        if done & certain == certain:
            return True
        if (done, state) not in tried:
            tried.add((done, state))
            open_ends += [
                (done | 1 << place, after)
                for place in _next(calls, ends, done)
                for after in _after(calls[place], state)
            ]
    return False


def _next(calls: Sequence[Operation], ends: Sequence[float], done: int) -> list[int]:
    """Calls that may come next: those that began before any other that is left had ended."""
    left = [place for place in range(len(calls)) if not done >> place & 1]
    first_end = min((ends[place] for place in left), default=_NEVER)
    return [place for place in left if calls[place].called <= first_end]


def _after(call: Operation, state: State) -> list[State]:
    """The states that *call* may leave behind, if it can happen in *state* at all."""
    if call.kind == "read":
        return [state] if call.state == state else []
    expected, value = call.state
    fits = expected == state[0]
    if call.swapped is None:
        return [state, (expected + 1, value)] if fits else [state]
    if call.swapped != fits:
        return []
    return [(expected + 1, value)] if fits else [state]
