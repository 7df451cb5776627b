"""What tells that an identity is new: by columns and one by one the same, or trades double."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantkeep_backends.parquet._ahead import THREADS, ahead
from quantkeep_backends.parquet._hashes import Hashes, of_columns, of_value, of_values

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["paper", "live"]),
        st.none() | st.text(max_size=3),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans(),
    ),
    min_size=1,
    max_size=30,
)
TYPES = (pa.string(), pa.string(), pa.int64(), pa.bool_())


def _columns(rows: list[tuple[Any, ...]], times: int = 1) -> list[Any]:
    """In two chunks, as they come; many times over, values repeat and are hashed once."""
    lists = [[*values] * times for values in zip(*rows, strict=True)]
    halves = [(each[: len(each) // 2], each[len(each) // 2 :]) for each in lists]
    return [pa.chunked_array([*parts], kind) for parts, kind in zip(halves, TYPES, strict=True)]


@settings(deadline=None, database=None)
@given(ROWS, st.integers(0, 4), st.sampled_from([1, 50]))
def test_by_columns_and_one_by_one_they_are_the_same(
    rows: list[tuple[Any, ...]], optional: int, times: int
) -> None:
    hashes = of_columns(_columns(rows, times), optional).to_pylist()
    expected = [None if None in row[len(row) - optional :] else of_value(row) for row in rows]
    assert hashes == expected * times


@settings(deadline=None, database=None)
@given(ROWS, ROWS)
def test_what_is_there_is_never_taken_for_new(
    rows: list[tuple[Any, ...]], others: list[tuple[Any, ...]]
) -> None:
    known = Hashes(of_columns(_columns(rows)))
    assert all(known.has(row) for row in rows)
    assert known.repeat() == (len({*rows}) < len(rows))
    assert of_values(others).meet([of_values(()), known]) == (not {*rows}.isdisjoint(others))


def test_nothing_meets_nothing() -> None:
    assert not of_values(()).meet([])
    assert not of_values([("a",)]).meet([])
    assert not Hashes(pa.nulls(3, pa.int64())).repeat()


# -- working ahead ---------------------------------------------------------------------------------


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
