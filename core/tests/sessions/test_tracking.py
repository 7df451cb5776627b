"""The state as a program sees it: mappings to look at, and no change is ever missed (Z-47)."""

import copy
import random
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from decimal import Decimal

import attrs
import pytest

import quantkeep
from quantkeep.errors import InvalidValue, TooLarge
from quantkeep.sessions import Tracked


@attrs.frozen
class Frozen:
    qty: float
    note: str = ""


@attrs.define
class Mutable:
    qty: float
    fills: list


@dataclass
class Open:
    """A plain dataclass: its fields live in a dict that others may hold."""

    qty: float


@attrs.frozen
class FrozenAround:
    fills: list


TYPES = [Frozen, Mutable, Open, FrozenAround]


@pytest.fixture
def keep():
    with quantkeep.open("memory://", types=TYPES) as opened:
        yield opened


@pytest.fixture
def session(keep):
    return keep.sessions.start("bot")


def rows(receipt):
    """How many rows of state a save wrote: beside the lease and the session's own."""
    return len(receipt.outcomes) - 2


def stored(keep):
    return keep.sessions.state("bot")


def large(entries=100):
    """A section that is stored entry by entry."""
    return {
        f"S{i}": {"symbol": f"S{i}/USDT", "qty": float(i), "tags": ["a"]} for i in range(entries)
    }


@pytest.mark.requirement("Z-47", "D70-30", api="Session.save")
def test_a_named_change_writes_that_entry_alone(keep, session):
    session["positions"] = large()
    session.save()
    session["positions"]["S7"] = {"qty": 1.0}
    assert rows(session.save()) == 1
    session["positions"]["S7"]["qty"] = 2.0
    assert rows(session.save()) == 1
    session["positions"]["new"] = {"qty": 3.0}
    del session["positions"]["S8"]
    assert rows(session.save()) == 2
    assert rows(session.save()) == 0
    assert stored(keep) == session.plain()
    assert "S8" not in stored(keep)["positions"]


@pytest.mark.requirement("D70-30", "D70-3", api="Session.save")
def test_entries_of_a_mapping_inside_a_section_are_told_apart_too(keep, session):
    session["positions"] = {"active_orders": large(), "paper_position_open_times": {}}
    session.save()
    session["positions"]["active_orders"]["S3"]["qty"] = -1.0
    assert rows(session.save()) == 1
    assert stored(keep)["positions"]["active_orders"]["S3"]["qty"] == -1.0


@pytest.mark.requirement("Z-47", api="Session.save")
def test_an_equal_value_is_not_written_again(session):
    session["positions"] = large()
    session["risk"] = {"loss": 1.5}
    session.save()
    session["positions"] = large()
    session["risk"] = {"loss": 1.5}
    assert rows(session.save()) == 0


def held_list(session):
    return session["positions"]["S1"]["tags"], lambda held: held.append("late")


def held_object(session):
    session["positions"]["S1"] = Mutable(1.0, [])
    session.save()
    return session["positions"]["S1"], lambda held: held.fills.append(3)


def held_inside_an_object(session):
    session["positions"]["S1"] = Mutable(1.0, [])
    session.save()
    return session["positions"]["S1"].fills, lambda held: held.append(3)


def held_dataclass(session):
    session["positions"]["S1"] = Open(1.0)
    session.save()
    return session["positions"]["S1"], lambda held: setattr(held, "qty", 9.0)


def held_fields_of_a_dataclass(session):
    session["positions"]["S1"] = Open(1.0)
    session.save()
    return vars(session["positions"]["S1"]), lambda held: held.update(qty=9.0)


def held_around(session):
    session["positions"]["S1"] = FrozenAround([1])
    session.save()
    return session["positions"]["S1"], lambda held: held.fills.append(2)


def handed_in(session):
    mine = {"qty": 1.0, "tags": ["x"]}
    session["positions"]["S1"] = mine
    return mine, lambda held: held.update(qty=2.0)


def handed_in_deep(session):
    tags = ["x"]
    session["positions"]["S1"] = {"deep": {"tags": tags}}
    return tags, lambda held: held.append("y")


def handed_in_as_a_section(session):
    mine = large()
    session["positions"] = mine
    return mine, lambda held: held["S1"].update(qty=-5.0)


def handed_in_twice(session):
    shared = {"tags": [1]}
    session["positions"]["S1"] = shared
    session["positions"]["S2"] = shared
    return session["positions"]["S2"], lambda held: held["tags"].append(2)


def held_by_a_method(session):
    return session["positions"]["S1"]["tags"].append, lambda held: held("late")


def held_by_an_iterator(session):
    session["positions"]["S1"] = [[1], [2]]
    session.save()
    return iter(session["positions"]["S1"]), lambda held: next(held).append(9)


def from_values(session):
    return [*session["positions"].values()][1], lambda held: held["tags"].append("late")


def from_a_pop(session):
    tags = session["positions"].pop("S1")["tags"]
    session["positions"]["S1"] = {"tags": tags}
    return tags, lambda held: held.append("late")


def from_a_default(session):
    entry = session["positions"].setdefault("new", {"tags": []})
    return entry, lambda held: held["tags"].append(1)


@pytest.mark.requirement("Z-47", api="Session.save")
@pytest.mark.parametrize(
    "hold",
    [
        held_list,
        held_object,
        held_inside_an_object,
        held_dataclass,
        held_fields_of_a_dataclass,
        held_around,
        handed_in,
        handed_in_deep,
        handed_in_as_a_section,
        handed_in_twice,
        held_by_a_method,
        held_by_an_iterator,
        from_values,
        from_a_pop,
        from_a_default,
    ],
)
def test_a_mutation_out_of_sight_is_never_lost(keep, session, hold):
    session["positions"] = large()
    session.save()
    held, mutate = hold(session)
    for _ in range(3):  # however many saves it is held across
        session.save()
    before = copy.deepcopy(stored(keep))
    mutate(held)
    session.save()
    assert stored(keep) == session.plain()
    assert stored(keep) != before


@pytest.mark.requirement("Z-47", api="Session.save")
def test_what_nobody_holds_any_more_is_not_looked_at_again(session):
    session["positions"] = large()
    assert session["positions"]["S1"]["tags"] == ["a"]
    session.save()
    assert not session.has_changes
    positions = session["positions"]  # the session's own mapping may be held for ever
    tags = positions["S1"]["tags"]
    session.save()
    assert session.has_changes
    del tags
    session.save()
    assert not session.has_changes
    assert positions["S1"]["qty"] == 1.0


@pytest.mark.parametrize("value", [1.5, "text", Decimal(1), (1, ("a",)), Frozen(1.0), None])
def test_immutable_values_cost_nothing(session, value):
    session["section"] = {"a": value}
    session.save()
    seen = session["section"]["a"]
    assert seen == value
    assert not session.has_changes


@pytest.mark.requirement("Z-47", "Z-40", api="Session.save")
@pytest.mark.parametrize("seed", range(25))
def test_whatever_is_done_the_store_has_what_the_program_sees(keep, session, seed):
    """A random program: views and references held across saves, nested and shared values."""
    random_ = random.Random(seed)
    program = Program(random_, session)
    for _ in range(50):
        program.step()
        if random_.random() < 0.3:
            session.save(snapshot=random_.choice([None, None, "manual"]))
            assert stored(keep) == session.plain()
    session.stop()
    assert stored(keep) == session.plain()
    assert keep.sessions.verify("bot") == []
    resumed = keep.sessions.resume("bot")
    assert resumed.plain() == session.plain()


class Program:
    """Does what programs do to their state."""

    def __init__(self, random_, session):
        self.random = random_
        self.session = session
        self.held = []

    def step(self):
        self.random.choice(
            [
                *(self.assign, self.assign, self.delete, self.hold, self.hold),
                *(self.mutate, self.mutate, self.forget, self.replace_section, self.grow),
            ]
        )()

    def value(self, depth=0):
        number = self.random.random()
        simple = [number, "text", None, Decimal("1.5"), (1, 2), Frozen(number)]
        mutable = [[number], [[number], {"x": [1]}], Mutable(number, []), Open(number), {1, 2}]
        mutable += [FrozenAround([1]), deque([1], maxlen=3), OrderedDict(a=[1]), defaultdict(list)]
        if depth < 3 and self.random.random() < 0.4:
            size = self.random.choice([0, 2, 60])
            return {self.key(): self.value(depth + 1) for _ in range(size)}
        held = [h for h in self.held if not (depth and isinstance(h, Tracked))]  # no cycles
        if held and self.random.random() < 0.1:
            return self.random.choice(held)
        return self.random.choice(simple + mutable)

    def key(self):
        return self.random.choice(["a", "b", "$c", "d d", "é", "x" * 30, "y" * 600, ""]) + str(
            self.random.randrange(8)
        )

    def node(self):
        """Some mapping of the session, reached through it."""
        node = self.session
        while self.random.random() < 0.7:
            inner = [v for v in node.values() if isinstance(v, Tracked)]
            if not inner:
                break
            node = self.random.choice(inner)
        return node

    def assign(self):
        node = self.node()
        key = self.key()
        if node is self.session:
            key = key[:100]
        if node is not self.session or self.random.random() < 0.3:
            node[key] = self.value()

    def replace_section(self):
        self.session[self.random.choice("pqr")] = self.value()

    def grow(self):
        section = self.session.setdefault("grown", {})
        for number in range(self.random.choice([1, 40])):
            section[f"k{number}"] = {"v": [number, self.random.random()]}

    def delete(self):
        node = self.node()
        if len(node):
            del node[self.random.choice([*node])]

    def hold(self):
        node = self.node()
        if len(node):
            self.held.append(node[self.random.choice([*node])])

    def forget(self):
        if self.held:
            self.held.pop(self.random.randrange(len(self.held)))

    def mutate(self):
        if self.held:
            self.touch(self.random.choice(self.held))

    def touch(self, value):
        match value:
            case list() | deque():
                value.append(self.random.random())
            case Mutable():
                value.fills.append(self.random.random())
                value.qty += 1
            case Open():
                vars(value)["qty"] = self.random.random()
            case FrozenAround():
                value.fills.append(self.random.random())
            case defaultdict():
                value["k"].append(self.random.random())
            case OrderedDict():
                value["k"] = [self.random.random()]
            case Tracked() | dict():
                value[self.key()] = self.random.random()


# -- looking like a dict ---------------------------------------------------------------------------


def test_a_mapping_in_a_session_behaves_as_a_dict(session):
    session["s"] = {"b": 1, "a": {"x": [1]}}
    view = session["s"]
    assert view == {"b": 1, "a": {"x": [1]}}
    assert {"b": 1, "a": {"x": [1]}} == view  # noqa: SIM300  # either way round
    assert view != {"b": 2}
    assert repr(view) == "{'b': 1, 'a': {'x': [1]}}"
    assert [*view] == ["b", "a"]
    assert [*reversed(view)] == ["a", "b"]
    assert len(view) == 2
    assert "b" in view
    assert view | {"c": 3} == {"b": 1, "a": {"x": [1]}, "c": 3}
    assert {"b": 0} | view == {"b": 1, "a": {"x": [1]}}
    view |= {"c": 3}
    assert view["c"] == 3
    assert session["s"] is view
    assert type(view.plain()["a"]) is dict
    assert copy.deepcopy(view) == view
    with pytest.raises(TypeError):
        hash(view)
    with pytest.raises(KeyError):
        view["nobody"]


def test_a_copy_is_the_programs_own(session):
    session["s"] = {"a": {"x": [1]}}
    session["t"] = session["s"]
    session["t"]["a"]["x"].append(2)
    assert session["s"] == {"a": {"x": [1]}}
    mine = session["s"].plain()
    mine["a"]["x"].append(5)
    assert session["s"] == {"a": {"x": [1]}}


@pytest.mark.parametrize("key", [1, None, ("a",), b"a"])
def test_a_key_that_no_document_takes_is_refused_where_it_is_assigned(session, key):
    session["s"] = {}
    with pytest.raises(InvalidValue, match="exactly type str"):
        session["s"][key] = 1
    with pytest.raises(InvalidValue, match="exactly type str"):
        session[key] = 1


@pytest.mark.parametrize("key", ["a\0b", "\ud800"])
def test_text_that_no_engine_holds_is_refused_where_it_is_assigned(session, key):
    session["s"] = {}
    with pytest.raises(InvalidValue):
        session["s"][key] = 1
    with pytest.raises(InvalidValue):
        session[key] = 1
    assert dict(session) == {"s": {}}


def test_keys_of_any_length_are_kept_below_a_section(keep, session):
    session["s"] = large()
    session.save()
    session["s"]["x" * 5000] = {"a": 1}
    session.save()
    assert stored(keep) == session.plain()
    del session["s"]["x" * 5000]
    session.save()
    assert stored(keep) == session.plain()
    with pytest.raises(TooLarge):
        session["x" * 600] = 1


@pytest.mark.requirement("Z-40", api="Session.save")
def test_a_section_may_be_larger_than_a_document_if_its_entries_are_not(keep, session):
    session["s"] = {str(i): "x" * 2**20 for i in range(20)}
    session.save()
    session["t"] = "x" * (50 * 2**20)
    with pytest.raises(TooLarge) as caught:
        session.save()
    assert caught.value.field == "t"
    assert [*stored(keep)] == ["s"]
