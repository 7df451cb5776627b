"""Fields of a user's own on the tape, with indexes (CODEX-5, Z-3)."""

from collections.abc import Callable
from typing import Any

import pytest

import quantkeep
from quantkeep import Where, field, record
from quantkeep.errors import InvalidRecord
from quantkeep.tape import Trade

Make = Callable[..., Trade]


@record()
class DeskTrade(Trade):
    """A trade of one desk."""

    desk: str | None = field(default=None, index=True, doc="who made it")
    edge_bps: float | None = field(default=None, doc="what was hoped for")


def _desk(trade: Trade, **more: Any) -> DeskTrade:
    return DeskTrade(**trade.as_dict(), **more)


@pytest.mark.requirement("CODEX-5", "Z-3", api="quantkeep.open")
def test_trades_with_fields_of_ones_own(persistent_url: str, trade: Make) -> None:
    with quantkeep.open(persistent_url) as keep:
        keep.tape.append(trade(0, uid="plain"))  # before anybody thought of desks
    ours = [_desk(trade(m, uid=f"d{m}"), desk="fx" if m % 2 else "rates") for m in range(1, 5)]
    with quantkeep.open(persistent_url, records=[DeskTrade]) as keep:
        keep.tape.append(ours)
        found = keep.tape.trades(Where("desk", "==", "fx"), mode="paper")
        assert found == [ours[0], ours[2]]
        assert isinstance(found[0], DeskTrade)
        first = keep.tape.trades(Where("uid", "==", "plain"))[0]
        assert isinstance(first, DeskTrade)
        assert first.desk is None
        assert [d.desk for d in keep.tape.follow(DeskTrade, mode="paper", after=3, patience=0)] == [
            "fx",
            "rates",
        ]
    with quantkeep.open(persistent_url) as keep:  # a program that does not know the class
        trades = keep.tape.trades(mode="paper")  # each held against its digest
        assert [t.uid for t in trades] == ["plain", "d1", "d2", "d3", "d4"]
        assert type(trades[1]) is Trade
        table = keep.tape.arrow(Trade).read_all()
        assert table.column("desk").to_pylist() == [None, "fx", "rates", "fx", "rates"]
        assert keep.tape.append(trade(9)).revision == 6


@pytest.mark.requirement("CODEX-5", api="TradeTape.append_arrow")
def test_tables_with_fields_of_ones_own(persistent_url: str, trade: Make) -> None:
    with quantkeep.open(persistent_url, records=[DeskTrade]) as keep:
        keep.tape.append(_desk(trade(uid="a"), desk="fx", edge_bps=1.5))
        table = keep.tape.arrow(DeskTrade).read_all().drop_columns(["revision"])
        assert keep.tape.append_arrow(DeskTrade, table).added == 0
        assert table.column("edge_bps").to_pylist() == [1.5]


@pytest.mark.requirement("CODEX-5", api="TradeTape.append")
def test_a_field_that_this_keep_was_not_opened_with_is_not_lost(url: str, trade: Make) -> None:
    with quantkeep.open(url) as keep:
        with pytest.raises(InvalidRecord, match=r"desk, edge_bps would be lost.*DeskTrade"):
            keep.tape.append(_desk(trade(), desk="fx"))
        assert keep.tape.trades() == []
