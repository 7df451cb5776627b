"""The checker itself: histories that can have happened, and such that cannot."""

import random

import pytest

from quantkeep_conformance.linearizability import Operation, linearizable

START = (1, 0)


def read(called, returned, state):
    return Operation("read", called, returned, state)


def swap(called, returned, expected, value, *, swapped):
    return Operation("swap", called, returned, (expected, value), swapped)


def test_one_after_the_other():
    history = [
        read(0, 1, (1, 0)),
        swap(2, 3, 1, 7, swapped=True),
        read(4, 5, (2, 7)),
        swap(6, 7, 1, 8, swapped=False),
        swap(8, 9, 2, 9, swapped=True),
        read(10, 11, (3, 9)),
    ]
    assert linearizable(history, START)


def test_calls_that_overlap_may_have_happened_either_way():
    for seen in ((1, 0), (2, 7)):
        assert linearizable([swap(0, 10, 1, 7, swapped=True), read(1, 2, seen)], START)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(
            [swap(0, 1, 1, 7, swapped=True), read(2, 3, (1, 0))], id="a stale read, as of a cache"
        ),
        pytest.param(
            [swap(0, 5, 1, 7, swapped=True), swap(1, 4, 1, 8, swapped=True)], id="two winners"
        ),
        pytest.param([swap(0, 1, 1, 7, swapped=False)], id="refused for nothing"),
        pytest.param([read(0, 1, (2, 7))], id="a value nobody wrote"),
        pytest.param(
            [swap(0, 9, 1, 7, swapped=True), read(1, 2, (2, 7)), read(3, 4, (1, 0))],
            id="back in time",
        ),
    ],
)
def test_what_cannot_have_happened(history):
    assert not linearizable(history, START)


def test_an_unknown_outcome_may_be_either():
    lost = Operation("swap", 0, None, (1, 7), None)
    assert linearizable([lost, read(1, 2, (1, 0))], START)
    assert linearizable([lost, read(1, 2, (2, 7)), read(3, 4, (2, 7))], START)
    assert not linearizable([lost, read(1, 2, (2, 7)), read(3, 4, (1, 0))], START)


def test_long_histories_of_a_true_register_are_explained():
    draw = random.Random(3)
    for _ in range(20):
        assert linearizable(_history(draw, 200), START)


def _history(draw: random.Random, length: int) -> list[Operation]:
    """Calls of a register that takes effect at one instant somewhere in each of them."""
    state, history = START, []
    for instant in range(0, length * 10, 10):
        called, returned = instant - draw.randrange(40), instant + draw.randrange(40)
        if draw.random() < 0.5:
            history.append(read(called, returned, state))
            continue
        expected = state[0] - draw.choice((0, 0, 1))
        fits = expected == state[0]
        history.append(swap(called, returned, expected, instant, swapped=fits))
        state = (expected + 1, instant) if fits else state
    return history
