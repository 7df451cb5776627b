"""Rows that are hard to order and to compare, and strategies for queries and tallies over them."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from hypothesis import strategies as st

from quantkeep import Measure, Per, Query, Tally, Where
from quantkeep_conformance.records import Specimen
from quantkeep_conformance.samples import FIRST_DAY

_TEXTS = (None, "", "a", "A", "a%", "a_", "ab", "é", "e\u0301", "\U0001f4b9", "￿")
_INTEGERS = (None, 0, -1, 1, 2**53 + 1, 2**53, 2**63 - 1, -(2**63))
_REALS = (None, 0.0, -0.0, 1.5, -1.5, float("nan"), float("inf"), float("-inf"), 5e-324, 1e300)
_DECIMALS = (None, "0", "0.1", "-0.1", "10", "9", "9.99", "12345678901234567890.5")
_INSTANTS = (None, *(FIRST_DAY + timedelta(microseconds=n) for n in (0, 1, -(10**15), 10**12)))

ROWS: Final = tuple(
    Specimen(
        name=f"{n:02}",
        text=_TEXTS[n % len(_TEXTS)],
        integer=_INTEGERS[n % len(_INTEGERS)],
        real=_REALS[n % len(_REALS)],
        decimal=None if (d := _DECIMALS[n % len(_DECIMALS)]) is None else Decimal(d),
        flag=(None, True, False)[n % 3],
        instant=_INSTANTS[n % len(_INSTANTS)],
        day=None if (at := _INSTANTS[n % 4]) is None else at.date(),
    )
    for n in range(40)
)
_VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "name": ("00", "07", "39", "x", ""),
    "text": _TEXTS,
    "integer": _INTEGERS,
    "real": (*_REALS, 1, 0),
    "decimal": (*(d and Decimal(d) for d in _DECIMALS), Decimal("9.9999999999999999999999")),
    "flag": (None, True, False),
    "instant": _INSTANTS,
    "day": (None, FIRST_DAY.date(), FIRST_DAY.date() - timedelta(days=4000)),
    "revision": (1, 20, 40, 41),
}
Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "prefix", "contains"]
_COMPARISONS: Final[tuple[Operator, ...]] = ("<", "<=", ">", ">=")
_PREFIX: Final[tuple[Operator, ...]] = ("prefix",)
_columns = st.sampled_from([*_VALUES])


@st.composite
def conditions(draw: st.DrawFn) -> Where:
    """One condition on a column, with a value that is stored, or nearly."""
    column = draw(_columns)
    values = st.sampled_from(_VALUES[column])
    operators: list[Operator] = ["==", "!=", "in", *_COMPARISONS]
    operator = draw(st.sampled_from([*operators, *_PREFIX] if column == "text" else operators))
    if operator == "in":
        return Where(column, operator, tuple(draw(st.lists(values, max_size=3))))
    if operator in ("prefix", *_COMPARISONS):
        return Where(column, operator, draw(values.filter(lambda value: value is not None)))
    return Where(column, operator, draw(values))


orders = st.lists(
    st.builds(str.__add__, st.sampled_from(["", "-"]), _columns),
    max_size=3,
    unique_by=lambda name: name.removeprefix("-"),
).map(tuple)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """Any query, some of them reading on from a cursor that stands at a stored row."""
    limit = draw(st.none() | st.integers(0, 45))
    take = draw(st.sampled_from(["first", "last"])) if limit is not None else "first"
    return Query(
        where=tuple(draw(st.lists(conditions(), max_size=2))),
        order=draw(orders),
        limit=limit,
        take=take,  # type: ignore[arg-type]  # one of its two words
    )


_numeric = st.builds(
    Measure,
    st.sampled_from(["sum", "min", "max", "mean", "mean_abs"]),
    st.sampled_from(["integer", "real", "decimal"]),
)
_ordered = st.builds(
    Measure,
    st.sampled_from(["count", "min", "max"]),
    st.sampled_from(["text", "instant", "day", "name"]),
)
_groups = st.sampled_from(["text", "integer", "flag", "day"]) | st.builds(
    Per, st.sampled_from(["instant", "day"]), st.sampled_from(["hour", "day", "month", "year"])
)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    """Any tally."""
    measures = draw(
        st.lists(st.just(Measure("count")) | _numeric | _ordered, min_size=1, max_size=3)
    )
    return Tally(
        by=tuple(draw(st.lists(_groups, max_size=2, unique=True))),
        measures=tuple(measures),
        where=tuple(draw(st.lists(conditions(), max_size=2))),
        order_by=draw(st.none() | st.integers(0, len(measures) - 1)),
        descending=draw(st.booleans()),
        limit=draw(st.none() | st.integers(0, 10)),
    )
