"""Children: forked in milliseconds, and processes all the same."""

import signal

import pytest

from quantkeep_conformance.nursery import Nursery
from quantkeep_conformance.places import Place


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def place(nursery):
    place = Place("memory://", nursery=nursery)
    yield place
    place.close()


def test_a_child_does_its_task_and_ends(place):
    child = place.child("write", start=0, limit=3, thorough=True)
    events = [(event["event"], event.get("number")) for event in child.rest()]
    assert events == [("ready", None), ("ack", 0), ("ack", 1), ("ack", 2)]
    assert child.wait() == 0


def test_a_killed_child_is_dead(place):
    child = place.child("write", start=0, limit=10**9, thorough=False)
    child.expect("ready")
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert {event["event"] for event in child.rest()} <= {"ack"}


def test_a_paused_child_says_nothing_until_it_goes_on(place):
    child = place.child("hold_lease")
    child.expect("held")
    child.pause()
    child.tell(1)
    with pytest.raises(TimeoutError):
        child._events.next(timeout=0.2)
    child.resume()
    assert child.expect("written")["value"] == 1


def test_a_failure_is_heard_of(place):
    child = place.child("write", start="nonsense", limit=1, thorough=False)
    child.expect("ready")
    with pytest.raises(AssertionError, match="TypeError"):
        child.expect("ack")
    assert child.wait() == 1


def test_failpoints_are_armed_in_the_child_alone(place, tmp_path):
    trace = tmp_path / "trace"
    told = {"start": 0, "limit": 1, "thorough": False, "failpoints": "", "trace": str(trace)}
    place.child("write", when="open", **told).wait()
    assert trace.read_text().splitlines() == ["conformance.ready"]
    trace.unlink()
    place.child("write", **told).wait()
    assert not trace.exists()
