"""What tells that an identity is new: by columns and one by one the same, or trades double."""

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

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
    assert known.repeat() or len({*rows}) == len(rows)
    assert of_values(others).meet([of_values(()), known]) or {*rows}.isdisjoint(others)


def test_what_is_new_is_seldom_taken_for_what_is_there() -> None:
    rows = [("paper", f"trade-{number}", number, None) for number in range(20_000)]
    known = Hashes(of_columns(_columns(rows)))
    assert not known.repeat()
    assert not of_values([("live", *row[1:]) for row in rows]).meet([known])


def test_nothing_meets_nothing() -> None:
    assert not of_values(()).meet([])
    assert not of_values([("a",)]).meet([])
    assert not Hashes(pa.nulls(3, pa.int64())).repeat()
