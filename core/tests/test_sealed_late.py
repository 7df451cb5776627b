"""Long appends to a backend that sends rows as it reads them are sealed meanwhile."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

import quantkeep
from quantkeep import Keep
from quantkeep._sealed_late import MANY, LateRows
from quantkeep.errors import InvalidValue
from quantkeep.table import Table
from quantkeep.tape import EquityPoint


@pytest.fixture
def keep() -> Iterator[Keep]:
    with quantkeep.open("memory://") as keep:
        yield keep


@pytest.fixture
def table(keep: Keep) -> Table[EquityPoint]:
    """Of a backend that says it streams appends, as one with a server does."""
    keep.backend.streams_appends = True
    return keep.tape.table(EquityPoint)


def points(count: int, wrong: int | None = None) -> list[EquityPoint]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    made = [EquityPoint(mode="paper", timestamp=at, total_equity=float(n)) for n in range(count)]
    if wrong is not None:
        made[wrong] = EquityPoint(mode="life", timestamp=at, total_equity=1.0)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("count", [MANY, MANY + 1, 3 * MANY + 7])
def test_they_are_the_same_rows_whenever_they_are_read(
    table: Table[EquityPoint], count: int
) -> None:
    given = points(count)
    rows = table.append_now(given).rows
    assert isinstance(rows, LateRows)
    assert len(rows) == count
    first, second = iter(rows), iter(rows)
    both = [pair for _ in range(count) for pair in (next(first), next(second))]
    assert both[::2] == both[1::2] == table.sealed(given)
    assert all(one is other for one, other in zip(rows, both[::2], strict=True)), "sealed twice"


def test_who_reads_on_after_an_error_meets_it_again(table: Table[EquityPoint]) -> None:
    """A record that was refused must not be passed over by whoever tries the same write again."""
    rows = table.append_now(points(2 * MANY, wrong=MANY + 3)).rows
    for _ in range(3):
        read = 0
        with pytest.raises(InvalidValue, match=rf"\[{MANY + 3}\]"):
            for _ in rows:
                read += 1
        assert read <= MANY + 3


def test_an_error_says_which_of_them_it_is_about(table: Table[EquityPoint]) -> None:
    given = points(2 * MANY, wrong=MANY + 3)
    with pytest.raises(InvalidValue) as at_once:
        table.append(given)
    late = table.append_now(given)
    with pytest.raises(InvalidValue) as met:
        [*late.rows]
    assert str(met.value) == str(at_once.value)
    assert f"[{MANY + 3}]" in str(met.value)


def test_few_are_sealed_at_once(table: Table[EquityPoint]) -> None:
    with pytest.raises(InvalidValue):
        table.append_now(points(MANY - 1, wrong=MANY - 2))


def test_so_are_those_for_a_backend_that_does_not_stream(keep: Keep) -> None:
    with pytest.raises(InvalidValue):
        keep.tape.table(EquityPoint).append_now(points(MANY, wrong=MANY - 1))


def test_a_batch_is_refused_before_it_is_committed(keep: Keep, table: Table[EquityPoint]) -> None:
    with pytest.raises(InvalidValue), keep.batch() as batch:
        keep.tape.append(points(MANY, wrong=MANY - 1), batch=batch)
    with pytest.raises(InvalidValue):
        keep.tape.append(points(MANY, wrong=MANY - 1), op_id="one")
    assert table.count() == 0
