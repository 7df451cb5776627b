"""Adding to the tape: at once or not at all, and once however often it is tried."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

import quantkeep
from quantkeep import InvalidValue, Keep
from quantkeep.errors import AlreadyExists, InvalidRecord, OperationConflict
from quantkeep.sessions.position_record import Position
from quantkeep.tape import EquityPoint, Trade
from quantkeep.tape.logs import LOGS

Make = Callable[..., Trade]


@pytest.mark.requirement("Z-31", api="TradeTape.append")
def test_a_uid_makes_appending_idempotent(keep: Keep, trade: Make) -> None:
    fill = trade(uid="exec-1")
    assert keep.tape.append(fill).added == 1
    again = keep.tape.append(trade(1), fill)
    assert (again.added, again.revisions) == (1, (2, 1))
    assert [t.uid for t in keep.tape.trades()] == ["exec-1", None]


@pytest.mark.requirement("Z-31", api="TradeTape.append")
def test_without_a_uid_an_append_always_adds(keep: Keep, trade: Make) -> None:
    keep.tape.append(*[trade() for _ in range(100)])
    assert keep.tape.append(trade()).revision == 101
    assert keep.tape.sizes()["trades"] == 101


@pytest.mark.requirement("Z-31", api="TradeTape.append")
def test_another_content_under_a_uid_is_a_conflict(keep: Keep, trade: Make) -> None:
    keep.tape.append(trade(uid="exec-1"))
    with pytest.raises(AlreadyExists):
        keep.tape.append(trade(1), trade(uid="exec-1", qty=0.75))
    assert len(keep.tape.trades()) == 1


@pytest.mark.requirement("Z-30", api="TradeTape.append")
def test_paper_is_not_live_and_one_account_is_not_another(keep: Keep, trade: Make) -> None:
    streams = [("default", "paper"), ("default", "live"), ("sub", "live")]
    receipt = keep.tape.append([trade(uid="x", account=a, mode=m) for a, m in streams])
    assert (receipt.added, receipt.revisions) == (3, (1, 1, 1))
    assert [t.account for t in keep.tape.trades(mode="live")] == ["default", "sub"]


@pytest.mark.requirement("Z-10", api="TradeTape.append")
def test_an_operation_is_done_once(keep: Keep, trade: Make) -> None:
    first = keep.tape.append(trade(), op_id="fill-4711")
    again = keep.tape.append(trade(), op_id="fill-4711")
    assert again.replayed
    assert again.revisions == first.revisions
    assert len(keep.tape.trades()) == 1
    with pytest.raises(OperationConflict):
        keep.tape.append(trade(qty=9.0), op_id="fill-4711")


def test_entries_of_several_logs_are_one_commit(keep: Keep, trade: Make, noon: datetime) -> None:
    point = EquityPoint(mode="paper", timestamp=noon, total_equity=1.0)
    receipt = keep.tape.append(trade(), point, trade(1))
    assert [outcome.added for outcome in receipt.outcomes] == [2, 1]
    with pytest.raises(InvalidValue, match=r"EquityPoint\.total_equity"):
        keep.tape.append(trade(2), point.replace(total_equity=float("inf")))
    assert keep.tape.sizes()["trades"] == 2


def test_a_trade_and_the_position_it_makes_are_one_commit(keep: Keep, trade: Make) -> None:
    position = Position(
        mode="paper", symbol="BTC/USDT", side="LONG", size=0.5, entry_price=50_000.0
    )
    with keep.batch(op_id="fill-1") as batch:
        keep.tape.append(trade(), batch=batch)
        keep.sessions.positions.save(position, batch=batch)
        assert keep.tape.trades() == []
    assert len(keep.tape.trades()) == 1
    assert keep.sessions.positions.get("BTC/USDT", mode="paper") == position


@pytest.mark.parametrize("entry", [{"symbol": "BTC"}, 1, "BTC", Position, None])
def test_what_is_no_entry_is_refused(keep: Keep, entry: Any) -> None:
    with pytest.raises(InvalidRecord, match="is not on the tape"):
        keep.tape.append(entry)


def test_a_record_of_another_store_is_refused(keep: Keep) -> None:
    position = Position(mode="paper", symbol="B", side="LONG", size=0.5, entry_price=5.0)
    with pytest.raises(InvalidRecord, match="Position is not on the tape"):
        keep.tape.append(position)


def test_appending_nothing_adds_nothing(keep: Keep) -> None:
    assert keep.tape.append().added == 0
    assert keep.tape.append([]).revisions == ()


# -- tables ----------------------------------------------------------------------------------------


def _table(noon: datetime, count: int, **more: Any) -> pa.Table:
    usual = {
        "mode": ["paper"] * count,
        "timestamp": pa.array([noon] * count, pa.timestamp("ms", tz="UTC")),
        "symbol": pa.array(["BTC/USDT"] * count).dictionary_encode(),
        "side": ["LONG"] * count,
        "action": ["OPEN"] * count,
        "qty": [0.5] * count,
        "fill_price": [50_000.0] * count,
    }
    return pa.table({**usual, **more})


@pytest.mark.requirement("CODEX-1", api="TradeTape.append_arrow")
def test_a_table_and_its_records_are_the_same_entries(
    keep: Keep, trade: Make, noon: datetime
) -> None:
    keep.tape.append_arrow(Trade, _table(noon, 1, uid=["a"], raw_data=['{"b":2, "a":1}']))
    again = keep.tape.append(trade(uid="a", raw_data={"a": 1, "b": 2}))
    assert again.added == 0  # the very same content: filled-in values and defaults included


@pytest.mark.requirement("Z-31", api="TradeTape.append_arrow")
def test_a_table_given_twice_is_there_once(keep: Keep, noon: datetime) -> None:
    table = _table(noon, 25_000, uid=[f"x{i}" for i in range(25_000)])
    assert keep.tape.append_arrow(Trade, table).added == 25_000
    assert keep.tape.append_arrow(Trade, table.to_reader()).added == 0
    keep.tape.append_arrow(Trade, _table(noon, 100), op_id="bulk")
    assert keep.tape.append_arrow(Trade, _table(noon, 100), op_id="bulk").replayed
    assert keep.tape.sizes()["trades"] == 25_100


def test_a_bad_row_of_a_table_writes_nothing(keep: Keep, noon: datetime) -> None:
    quantities = [0.5] * 2_000 + [float("nan")]
    with pytest.raises(InvalidValue, match=r"trades\[2000\]\.qty"):
        keep.tape.append_arrow(Trade, _table(noon, 2_001, qty=quantities))
    assert keep.tape.trades() == []


@pytest.mark.parametrize("log", LOGS)
def test_every_log_goes_out_and_in_again_as_a_table(keep: Keep, log: Any, url: str) -> None:
    empty = keep.tape.arrow(log).read_all()
    assert empty.num_rows == 0
    assert empty.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    keep.tape.append_arrow(log, empty.drop_columns(["revision"]))


def test_further_actions_are_said_at_opening(url: str, trade: Make) -> None:
    with quantkeep.open(url, choices={"trades.action": ["HEDGE"]}) as keep:
        keep.tape.append(trade(action="HEDGE"))
        assert keep.tape.trades(action="HEDGE")[0].action == "HEDGE"
