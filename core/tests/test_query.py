"""What queries and tallies mean: the in-memory evaluation that every engine is held to."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

import quantkeep
from quantkeep import Exists, Keep, Measure, Per, Query, Record, Tally, Where, field, record, where
from quantkeep.errors import InvalidQuery

START = datetime(2025, 1, 31, 23, 30, tzinfo=UTC)


@record("ticks", log=True, stream=("mode",))
class Tick(Record):
    """A row to ask about."""

    mode: str = "paper"
    at: datetime
    symbol: str | None = None
    price: float | None = None
    fee: Decimal | None = field(default=None)
    tags: list[Any] | None = None


NAN = math.nan
TICKS = [
    Tick(at=START, symbol="BTC", price=2.0, fee=Decimal("0.1"), tags=["a", "b"]),
    Tick(at=START + timedelta(hours=1), symbol="ETH", price=NAN, fee=Decimal("0.2"), tags=[1]),
    Tick(at=START + timedelta(hours=1), symbol="BTC", price=-0.0, tags=["ab"]),
    Tick(at=START + timedelta(hours=2), symbol=None, price=None, fee=Decimal(3)),
    Tick(at=START + timedelta(hours=3), symbol="ETH", price=0.0, fee=Decimal("-0.3")),
    Tick(at=START + timedelta(hours=3), symbol="btc", price=math.inf, mode="live"),
]


@pytest.fixture(scope="module")
def keep() -> Keep:
    keep = quantkeep.open("memory://", records=[Tick])
    keep.commit(keep.table(Tick).append(TICKS))
    return keep


def asked(keep: Keep, *conditions: Any, **said: Any) -> list[int]:
    """Places in TICKS of the rows found."""
    names = [(t.mode, t.envelope.revision) for t in keep.table(Tick).list(*conditions, **said)]
    return [(5 if mode == "live" else revision - 1) for mode, revision in names]


IN_ORDER = ("at",)


@pytest.mark.requirement("Z-38", api="quantkeep.Query")
@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (Where("symbol", "==", "BTC"), [0, 2]),
        (Where("symbol", "==", None), [3]),
        (Where("symbol", "!=", "BTC"), [1, 3, 5, 4]),
        (Where("symbol", "!=", None), [0, 1, 2, 5, 4]),
        (Where("symbol", "in", ["ETH", None]), [1, 3, 4]),
        (Where("symbol", "prefix", "B"), [0, 2]),
        (Where("price", "==", 0.0), [2, 4]),
        (Where("price", "==", NAN), [1]),
        (Where("price", ">", 1.0), [0, 1, 5]),
        (Where("price", "<=", 0.0), [2, 4]),
        (Where("fee", ">", Decimal("0.10000000000000000001")), [1, 3]),
        (Where("fee", "==", Decimal("3.00")), [3]),
        (Where("at", ">=", START + timedelta(hours=3)), [5, 4]),
        (Where("tags", "contains", "a"), [0]),
        (Where("tags", "contains", 1), [1]),
        (Where("revision", "==", 2), [1]),
    ],
)
def test_conditions(keep: Keep, condition: Where, found: list[int]) -> None:
    assert asked(keep, condition, order=IN_ORDER) == found


@pytest.mark.requirement("Z-38", api="quantkeep.Query")
def test_order_puts_none_first_and_breaks_ties_by_key(keep: Keep) -> None:
    assert asked(keep) == [5, 0, 1, 2, 3, 4]  # by stream, then revision
    assert asked(keep, order=("price",)) == [3, 2, 4, 0, 5, 1]
    assert asked(keep, order=("-price",)) == [1, 5, 0, 4, 2, 3]
    assert asked(keep, order=("symbol", "-at")) == [3, 2, 0, 4, 1, 5]


@pytest.mark.requirement("Z-38", "CODEX-19", api="quantkeep.Query(take='last')")
def test_the_newest_n_come_in_ascending_order(keep: Keep) -> None:
    paper = Where("mode", "==", "paper")
    assert asked(keep, paper, limit=2, take="last") == [3, 4]
    assert asked(keep, paper, limit=2) == [0, 1]
    assert asked(keep, paper, limit=0) == []


@pytest.mark.parametrize("order", [(), ("price",), ("-price",), ("symbol", "-at"), ("fee",)])
def test_reading_in_pages_gives_every_row_once(keep: Keep, order: tuple[str, ...]) -> None:
    table, after, pages = keep.table(Tick), None, []
    while True:
        page, after = table.page(Query(order=order, limit=2, after=after))
        pages += page
        if after is None:
            break
    assert [repr(t) for t in pages] == [repr(t) for t in table.list(order=order)]


def test_rows_of_another_collection_can_be_asked_for(keep: Keep) -> None:
    same_symbol_free = Exists(
        Tick.collection, on=(("symbol", "symbol"),), where=(Where("fee", "<", Decimal(0)),)
    )
    assert asked(keep, same_symbol_free, order=IN_ORDER) == [1, 4]
    import attrs

    assert asked(keep, attrs.evolve(same_symbol_free, negate=True), order=IN_ORDER) == [0, 2, 3, 5]


@pytest.mark.requirement("CODEX-21", api="quantkeep.Tally")
def test_tallies() -> None:
    keep = quantkeep.open("memory://", records=[Tick])
    keep.commit(keep.table(Tick).append(TICKS))
    tally = keep.table(Tick).tally
    count, fees = Measure("count"), Measure("sum", "fee")
    assert tally(Tally(by=("symbol",), measures=(count, fees))) == [
        (None, 1, Decimal(3)),
        ("BTC", 2, Decimal("0.1")),
        ("ETH", 2, Decimal("-0.1")),
        ("btc", 1, None),
    ]
    assert tally(Tally(by=("symbol",), order_by=0, limit=1)) == [("BTC", 2)]
    assert tally(Tally(by=(Per("at", "month"),))) == [("2025-01", 1), ("2025-02", 5)]
    assert tally(Tally(where=(Where("symbol", "==", "none"),), measures=(count, fees))) == [
        (0, None)
    ]
    ((least, most, mean),) = tally(
        Tally(measures=(Measure("min", "price"), Measure("max", "price"), Measure("mean", "price")))
    )
    assert least == 0.0
    assert math.isnan(most)
    assert math.isnan(mean)
    assert tally(Tally(measures=(Measure("mean_abs", "fee"),))) == [(Decimal("0.9"),)]
    assert tally(Tally(measures=(Measure("count", "fee"),))) == [(4,)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query(where=where(colour="red")), "no column 'colour'"),
        (Query(where=(Where("price", "~", 1.0),)), "no operator"),  # type: ignore[arg-type]  # wrong
        (Query(where=(Where("price", "<", None),)), "never true"),
        (Query(where=(Where("price", "prefix", "1"),)), "not text"),
        (Query(where=(Where("price", "contains", "1"),)), "no document"),
        (Query(limit=-1), "a count of rows"),
        (Query(take="last"), "needs a limit"),
        (Query(order=("tags",)), "cannot be ordered"),
        (Query(after=(1,)), "not of this query"),
    ],
)
def test_what_cannot_be_asked_is_refused(keep: Keep, query: Query, said: str) -> None:
    with pytest.raises(InvalidQuery, match=said):
        keep.table(Tick).list(
            *query.where,
            order=query.order,
            limit=query.limit,
            take=query.take,
            after=query.after,
        )


@pytest.mark.parametrize(
    ("tally", "said"),
    [
        (Tally(measures=(Measure("sum"),)), "needs a column"),
        (Tally(measures=(Measure("sum", "symbol"),)), "no sum of ticks.symbol"),
        (Tally(measures=(Measure("max", "tags"),)), "no max of"),
        (Tally(order_by=1), "there are 1 measures"),
        (Tally(by=("colour",)), "no column"),
    ],
)
def test_what_cannot_be_tallied_is_refused(keep: Keep, tally: Tally, said: str) -> None:
    with pytest.raises(InvalidQuery, match=said):
        keep.table(Tick).tally(tally)
