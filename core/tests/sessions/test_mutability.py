"""Whether anybody else holds a value: the counts that tell must not be trusted in vain."""

import weakref
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

import attrs
import pytest

from quantkeep.sessions import mutability
from quantkeep.sessions.mutability import is_immutable, is_private


class Side(Enum):
    BUY = 1


class Fill(NamedTuple):
    price: Decimal
    tags: list | tuple


@attrs.frozen
class Frozen:
    x: object


@attrs.define
class Mutable:
    x: object


@pytest.mark.parametrize(
    "value",
    [
        *(1, 1.5, "x", None, True, b"x", Decimal(1), (), (1, ("x",)), frozenset({1}), Side.BUY),
        *(Frozen(1), Frozen((1, Frozen("x"))), Fill(Decimal(1), ())),
    ],
)
def test_immutable(value):
    assert is_immutable(value)


@pytest.mark.parametrize(
    "value", [[], {}, set(), ([],), Frozen([]), Mutable(1), Fill(Decimal(1), []), object()]
)
def test_mutable(value):
    assert not is_immutable(value)


def nobody(_):
    return False


@pytest.mark.parametrize(
    "make",
    [
        list,
        lambda: {"a": [1, {"b": [2]}]},
        lambda: [(1, 2), (), frozenset(), "x", 1.5, None, Side.BUY],
        lambda: Mutable([1]),
        lambda: [Frozen([1]), Mutable({"x": 1})],
        lambda: {1, 2},
    ],
)
def test_a_value_only_the_holder_has_is_private(make):
    assert is_private({"k": make()}, "k", nobody)


@pytest.mark.parametrize(
    "hold",
    [
        lambda v: v,
        lambda v: v["a"],
        lambda v: v["a"][1],
        lambda v: v["a"][1]["b"],
        lambda v: v["a"][1]["b"].append,
        lambda v: iter(v["a"]),
        lambda v: v.items(),
        lambda v: v["a"][1].values(),
        lambda v: [v["a"]],
        lambda v: lambda: v["a"],
        lambda v: v["o"],
        lambda v: weakref.ref(v["o"]),
        lambda v: v["f"],
    ],
)
def test_a_value_that_anybody_holds_any_part_of_is_not(hold):
    holder = {"k": {"a": [1, {"b": [2]}], "o": Mutable([1]), "f": Frozen([1])}}
    held = hold(holder["k"])
    assert not is_private(holder, "k", nobody)
    del held
    assert is_private(holder, "k", nobody)


def test_a_view_that_is_known_does_not_count():
    holder = {"k": {"a": [1]}}
    view = holder["k"]
    assert is_private(holder, "k", {id(view)}.__contains__)


def test_what_is_in_it_twice_or_cannot_be_looked_into_is_not_private():
    shared = [1]
    holder = {"k": [shared, shared], "o": object(), "d": type("Plain", (), {})()}
    del shared
    assert not is_private(holder, "k", nobody)
    assert not is_private(holder, "o", nobody)
    assert not is_private(holder, "d", nobody)


def test_where_counts_cannot_be_trusted_nothing_is_private(monkeypatch):
    monkeypatch.setattr(mutability, "_ALONE", -1)
    assert not is_private({"k": []}, "k", nobody)


def test_counts_are_trusted_only_after_a_trial(monkeypatch):
    assert mutability._references_when_alone() == mutability._ALONE
    monkeypatch.setattr(mutability.sys, "getrefcount", lambda _: 3)
    assert mutability._references_when_alone() == -1
    monkeypatch.delattr(mutability.sys, "getrefcount")
    assert mutability._references_when_alone() == -1
