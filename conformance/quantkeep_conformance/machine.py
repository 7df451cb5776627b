"""A hypothesis state machine: the same history on the backend and on the memory model."""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

import quantkeep
from quantkeep import ABSENT, ANYTHING, PRESENT, AtRevision, Capability, Keep, QuantkeepError, Where
from quantkeep.batch import Expectation, Write
from quantkeep.query import Query
from quantkeep_conformance.exactness import differences
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import KIT_RECORDS, Entry, Leg, Order, Party, Seat, Setting
from quantkeep_conformance.strategies import documents

MODES = ("paper", "live")
_few = st.integers(0, 3)
_names = st.sampled_from(["a", "b", "A", "../x"])
_plain: list[Expectation] = [ANYTHING, ANYTHING, ABSENT, PRESENT]
_expectations = st.sampled_from(_plain) | st.builds(AtRevision, _few)


@attrs.frozen
class Act:
    """One write, as a function of the keep that it is to be made for."""

    make: Callable[[Keep, str], Write]
    shown: str

    def __repr__(self) -> str:
        return self.shown


def _act(shown: str, make: Callable[[Keep, str], Write]) -> Act:
    return Act(make, shown)


@st.composite
def acts(draw: st.DrawFn) -> Act:
    """Any write to one of the collections whose rules interact. *who* keeps examples apart."""
    kind = draw(
        st.sampled_from(["append", "append", "put", "delete", "order", "party", "leg", "seat"])
    )
    mode, uid = draw(st.sampled_from(MODES)), draw(st.none() | st.sampled_from(["u", "v"]))
    name, value, expect = draw(_names), draw(_few), draw(_expectations)
    if kind == "append":
        note = draw(documents())
        return _act(
            f"append {mode} {uid} {value} {note!r}",
            lambda keep, who: keep.table(Entry).append(
                [Entry(account=who, mode=mode, uid=uid, number=value, note=note)]  # type: ignore[arg-type]  # a mode
            ),
        )
    if kind == "put":
        return _act(
            f"put {name} {value} {expect}",
            lambda keep, who: keep.table(Setting).put(
                Setting(owner=who, name=name, value=value), expect
            ),
        )
    if kind == "delete":
        return draw(_deletions(name, mode, value, expect))
    return _related(kind, name, draw(_names), value)


def _deletions(name: str, mode: str, value: int, expect: Expectation) -> st.SearchStrategy[Act]:
    return st.sampled_from(
        [
            _act(
                f"delete setting {name} {expect}",
                lambda keep, who: keep.table(Setting).delete(who, name, expect=expect),
            ),
            _act(
                f"delete entry {mode} {value}",
                lambda keep, who: keep.table(Entry).delete(who, mode, value),
            ),
            _act(f"delete party {name}", lambda k, who: k.table(Party).delete(f"{who} {name}")),
            _act(f"delete order {name}", lambda k, who: k.table(Order).delete(f"{who} {name}")),
            _act(f"delete seat {name}", lambda k, who: k.table(Seat).delete(f"{who} {name}")),
            _act(
                f"require {name} {expect}",
                lambda keep, who: keep.table(Setting).require(who, name, expect=expect),
            ),
        ]
    )


def _related(kind: str, name: str, other: str, value: int) -> Act:
    made: dict[str, Callable[[str], Any]] = {
        "party": lambda who: Party(party=f"{who} {name}", name=str(value)),
        "order": lambda who: Order(
            order=f"{who} {name}", party=None if value == 3 else f"{who} {other}"
        ),
        "leg": lambda who: Leg(order=f"{who} {name}", leg=value),
        "seat": lambda who: Seat(
            seat=f"{who} {name}", hall=who, number=None if value == 3 else value
        ),
    }
    make = made[kind]
    return _act(
        f"put {kind} {name} {other} {value}",
        lambda keep, who: keep.table(type(make(who))).put(make(who)),
    )


class Pair:
    """The backend under test and the model, given the same commits."""

    def __init__(self, place: Place, who: str) -> None:
        self.place = place
        self.who = who
        self.subject = place.open()
        self.model = quantkeep.open("memory://", records=KIT_RECORDS)

    def commit(self, acts: list[Act], op_id: str | None) -> None:
        """Commit on both, and hold what came of it against each other."""
        came = [self._tried(keep, acts, op_id) for keep in (self.subject, self.model)]
        assert came[0] == came[1], f"{acts} gave {came[0]}, the model {came[1]}"

    def _tried(self, keep: Keep, acts: list[Act], op_id: str | None) -> object:
        try:
            receipt = keep.commit(*(act.make(keep, self.who) for act in acts), op_id=op_id)
        except QuantkeepError as error:
            return type(error).__name__
        streamed = [r for r, act in zip(receipt.outcomes, acts, strict=True) if _numbered(act)]
        numbers = [[*outcome.revisions] for outcome in streamed]
        return [outcome.added for outcome in receipt.outcomes], numbers, receipt.replayed

    def compare(self) -> None:
        """Everything of this example, and every head of its streams, is the same."""
        for kind, column in (
            (Entry, "account"), (Setting, "owner"), (Party, "party"), (Order, "order"),
            (Leg, "order"), (Seat, "hall"),
        ):  # fmt: skip
            query = Query(where=(Where(column, "prefix", self.who),))
            found, wanted = ([*k.table(kind).scan(query)] for k in (self.subject, self.model))
            assert len(found) == len(wanted), f"{kind.__name__}: {found} instead of {wanted}"
            for one, other in zip(found, wanted, strict=True):
                assert not differences(one, other)
                assert kind not in (Entry, Setting) or one.revision == other.revision
        for mode in MODES:
            heads = [k.table(Entry).head(self.who, mode) for k in (self.subject, self.model)]
            assert heads[0] == heads[1], f"head of {mode}: {heads[0]}, the model has {heads[1]}"

    def reopen(self) -> None:
        """Close the subject and open it again."""
        self.subject.close()
        self.subject = self.place.open()

    def close(self) -> None:
        """Close both."""
        for keep in (self.subject, self.model):
            with suppress(QuantkeepError):
                keep.close()


def _numbered(act: Act) -> bool:
    """Whether its revisions are of a stream that this example has for itself."""
    return act.shown.startswith(("append", "put a", "put b", "put A", "put ../x"))


def machine_of(place: Place, counts: dict[str, int]) -> type[RuleBasedStateMachine]:
    """The machine for one place; every example has names of its own there."""
    examples = count(1)

    class Histories(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair(place, f"example {next(examples)}")
            self.past: list[tuple[list[Act], str]] = []

        @rule(act=acts())
        def one(self, act: Act) -> None:
            self.commit([act], None)

        @rule(several=st.lists(acts(), min_size=2, max_size=4), number=st.none() | _few)
        def batch(self, several: list[Act], number: int | None) -> None:
            op_id = None if number is None else f"{self.pair.who} op {number}"
            if op_id is not None:
                self.past.append((several, op_id))
            self.commit(several, op_id)

        @rule(data=st.data())
        def replay(self, data: st.DataObject) -> None:
            if self.past:
                self.commit(*data.draw(st.sampled_from(self.past)))

        @rule()
        def reopen(self) -> None:
            if Capability.PERSISTENT in place.claims.capabilities:
                self.pair.reopen()
                self.pair.compare()

        def commit(self, several: list[Act], op_id: str | None) -> None:
            counts["steps"] += 1
            self.pair.commit(several, op_id)
            self.pair.compare()

        def teardown(self) -> None:
            self.pair.close()

    return Histories
