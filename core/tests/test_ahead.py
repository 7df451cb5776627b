"""Work done a little ahead: in order, little in hand, and nothing left behind."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from quantkeep.ahead import THREADS, ahead


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_what_is_worked_on_ahead_comes_in_order(count: int) -> None:
    assert [*ahead(lambda n: n * n, range(count))] == [n * n for n in range(count)]


def test_little_is_in_hand() -> None:
    begun: list[int] = []

    def parts() -> Any:
        for n in range(100):
            begun.append(n)
            yield n

    for read, _ in enumerate(ahead(str, parts())):
        assert len(begun) <= read + 1 + THREADS + 1


def test_an_error_comes_in_its_turn_and_ends_it() -> None:
    done: list[int] = []

    def work(n: int) -> int:
        if n == 3:
            raise ValueError("the fourth")
        done.append(n)
        return n

    read = []
    with pytest.raises(ValueError, match="the fourth"):
        read.extend(ahead(work, range(1000)))
    assert {0, 1, 2} <= {*done}
    assert max(done) < 20


def test_whoever_stops_reading_leaves_nothing_behind() -> None:
    begun: list[int] = []
    working = ahead(begun.append, iter(range(1000)))
    next(working)
    working.close()
    assert len(begun) <= 2 * THREADS + 2
    assert not _threads()


def test_without_threads_it_is_done_all_the_same(monkeypatch) -> None:
    def none(*arguments: Any) -> None:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def work(n: int) -> int:
        return 12 // n

    monkeypatch.setattr(ThreadPoolExecutor, "submit", none)
    found = ahead(work, [1, 2, 3, 0, 4])
    assert [next(found) for _ in range(3)] == [12, 6, 4]
    with pytest.raises(ZeroDivisionError):
        next(found)


def _threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("quantkeep-ahead")]
