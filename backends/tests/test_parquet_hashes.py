"""What tells that an identity is new: by columns and one by one the same, or trades double."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantkeep_backends.parquet._hashes import Hashes, of_columns, of_value, of_values

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["paper", "live"]),
        st.none() | st.text(max_size=3) | st.text(min_size=7, max_size=90),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans(),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.binary(max_size=20),
    ),
    min_size=1,
    max_size=30,
)
GOLDEN = (-2952027744447362732, 6972763130109603024, 2384588419775094804)
TYPES = (pa.string(), pa.string(), pa.int64(), pa.bool_(), pa.float64(), pa.binary())


def _columns(rows: list[tuple[Any, ...]], times: int = 1) -> list[Any]:
    """In two chunks, as they come; many times over, values repeat and are hashed once."""
    lists = [[*values] * times for values in zip(*rows, strict=True)]
    halves = [(each[: len(each) // 2], each[len(each) // 2 :]) for each in lists]
    return [pa.chunked_array([*parts], kind) for parts, kind in zip(halves, TYPES, strict=True)]


@settings(deadline=None, database=None)
@given(ROWS, st.integers(0, 6), st.sampled_from([1, 50]))
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
    assert all(known.has(of_value(row)) for row in rows)
    assert known.repeat() or len({*rows}) == len(rows)
    assert of_values(others).meet([of_values(()), known]) or {*rows}.isdisjoint(others)


def test_what_is_new_is_seldom_taken_for_what_is_there() -> None:
    rows = [("paper", f"trade-{number}", number, None, 0.5, b"x") for number in range(20_000)]
    known = Hashes(of_columns(_columns(rows)))
    assert not known.repeat()
    assert not of_values([("live", *row[1:]) for row in rows]).meet([known])


def test_they_are_the_same_for_good() -> None:
    """Files have them: what these functions give cannot be changed."""
    assert of_value(("paper", "trade-1")) == GOLDEN[0]
    assert of_value((None, "a text that is longer than a word", -3, True)) == GOLDEN[1]
    assert of_value((0.1, b"\0\1", "é" * 40)) == GOLDEN[2]
    assert of_value((-0.0,)) == of_value((0.0,))


@settings(deadline=None, database=None)
@given(ROWS, ROWS)
def test_as_bytes_they_stay_what_they_are(
    rows: list[tuple[Any, ...]], others: list[tuple[Any, ...]]
) -> None:
    known = Hashes(of_columns(_columns(rows), len(rows[0])))
    again = Hashes.from_bytes(known.to_bytes())
    assert again.values.to_pylist() == sorted(known.values.to_pylist())
    assert again.to_bytes() == known.to_bytes()
    part = Hashes(again.values.slice(len(again) // 2), is_sorted=True)
    assert part.to_bytes() == again.to_bytes()[len(again) // 2 * 8 :]
    for row in [*rows, *others]:
        if None not in row:
            assert again.has(of_value(row)) == known.has(of_value(row))
            assert again.has(of_value(row)) or row not in rows


@pytest.mark.parametrize("others", [1, 30, 5_000])
def test_one_that_is_there_is_found_among_many_that_are_not(others: int) -> None:
    ours = of_values([("paper", f"trade-{number}") for number in range(1_000)])
    theirs = [of_values([("live", f"{n}") for n in range(others)]) for _ in range(3)]
    assert not ours.meet(theirs)
    assert ours.meet([*theirs, of_values([("paper", "trade-77")])])


def test_nothing_meets_nothing() -> None:
    assert not of_values(()).meet([of_values([("a",)])])
    assert not of_values(()).meet([])
    assert not of_values([("a",)]).meet([])
    assert not Hashes(pa.nulls(3, pa.int64())).repeat()
