"""Reading the tape: what a listing means, page by page and as Arrow."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from quantkeep import InvalidValue, Keep, Where
from quantkeep.errors import InvalidQuery
from quantkeep.tape import (
    Diagnostic,
    EquityPoint,
    ExpectedValue,
    PositionEvent,
    Slippage,
    Trade,
)

Make = Callable[..., Trade]


@pytest.mark.requirement("CODEX-19", "CODEX-23", "Z-38", api="TradeTape.trades")
def test_a_limit_gives_the_newest_oldest_of_them_first(keep: Keep, trade: Make) -> None:
    keep.tape.append([trade(minute, order_id=str(minute)) for minute in (3, 1, 4, 0, 2)])
    assert [t.order_id for t in keep.tape.trades(mode="paper", limit=3)] == ["2", "3", "4"]
    assert [t.order_id for t in keep.tape.trades()] == ["0", "1", "2", "3", "4"]
    assert keep.tape.trades(limit=0) == []


@pytest.mark.requirement("Z-31", "Z-38", api="TradeTape.trades")
def test_trades_of_one_instant_stay_in_the_order_of_their_commits(keep: Keep, trade: Make) -> None:
    for number in range(5):
        keep.tape.append(trade(order_id=str(number)))
    assert [t.order_id for t in keep.tape.trades()] == ["0", "1", "2", "3", "4"]
    assert [t.order_id for t in keep.tape.trades(limit=2)] == ["3", "4"]


@pytest.mark.requirement("CODEX-19", "Z-30", api="TradeTape.trades")
def test_trades_are_found_by_what_is_said_of_them(keep: Keep, trade: Make) -> None:
    keep.tape.append(
        trade(0),
        trade(1, mode="live"),
        trade(2, symbol="ETH/USDT"),
        trade(3, action="CLOSE"),
        trade(4, account="sub"),
        trade(5, entry_link_id="life-1"),
    )

    def minutes(found: list[Trade]) -> list[int]:
        return [t.timestamp.minute for t in found]

    assert minutes(keep.tape.trades(mode="live")) == [1]
    assert minutes(keep.tape.trades(symbol="ETH/USDT")) == [2]
    assert minutes(keep.tape.trades(action="CLOSE", mode="paper")) == [3]
    assert minutes(keep.tape.trades(account="sub")) == [4]
    assert minutes(keep.tape.trades(Where("entry_link_id", "==", "life-1"))) == [5]
    assert keep.tape.trades(symbol="BTC") == []


@pytest.mark.requirement("CODEX-20", "CODEX-23", api="TradeTape.equity")
def test_a_span_holds_its_beginning_and_not_its_end(keep: Keep, noon: datetime) -> None:
    points = [
        EquityPoint(mode="live", timestamp=noon + timedelta(minutes=m), total_equity=float(m))
        for m in range(5)
    ]
    keep.tape.append(points)
    since, until = noon + timedelta(minutes=1), noon + timedelta(minutes=3)
    found = keep.tape.equity(mode="live", since=since, until=until)
    assert [p.total_equity for p in found] == [1.0, 2.0]
    newest = keep.tape.equity(mode="live", since=since, limit=2)
    assert [p.total_equity for p in newest] == [3.0, 4.0]
    assert keep.tape.equity(mode="paper") == []


def test_a_naive_bound_is_refused(keep: Keep) -> None:
    with pytest.raises(InvalidValue, match="aware datetime"):
        keep.tape.trades(since=datetime(2026, 1, 19))  # noqa: DTZ001  # naive on purpose


@pytest.mark.requirement("CODEX-23", api="TradeTape.diagnostics")
def test_every_log_is_listed(keep: Keep, noon: datetime) -> None:
    keep.tape.append(
        PositionEvent(mode="live", timestamp=noon, symbol="BTC", event_type="OPEN"),
        PositionEvent(mode="live", timestamp=noon, symbol="BTC", event_type="CLOSE"),
        Slippage(timestamp=noon, symbol="BTC", target_price=1.0, fill_price=1.0),
        Diagnostic(mode="live", timestamp=noon, metric_type="risk", data={"var": 0.1}),
        Diagnostic(mode="live", timestamp=noon, metric_type="engine", symbol="BTC", data={}),
        ExpectedValue(mode="live", timestamp=noon, symbol="BTC", ev_per_hour=0.1),
        ExpectedValue(mode="live", timestamp=noon, symbol="ETH", ev_per_hour=0.2),
    )
    assert [e.event_type for e in keep.tape.position_events(event_type="CLOSE")] == ["CLOSE"]
    assert len(keep.tape.position_events(symbol="BTC", limit=10)) == 2
    assert len(keep.tape.slippage(symbol="BTC")) == 1
    assert [d.data for d in keep.tape.diagnostics(metric_type="risk")] == [{"var": 0.1}]
    assert len(keep.tape.diagnostics(symbol="BTC", limit=1)) == 1
    assert [v.ev_per_hour for v in keep.tape.expected_values(symbol="ETH")] == [0.2]


def test_a_condition_on_a_column_that_is_not_there_is_refused(keep: Keep) -> None:
    with pytest.raises(InvalidQuery, match="equity_history has no column 'symbol'"):
        keep.tape.equity(symbol="BTC")


@pytest.mark.requirement("Z-9", api="TradeTape.page")
def test_pages_neither_shift_nor_repeat(keep: Keep, trade: Make) -> None:
    keep.tape.append([trade(m, order_id=str(m)) for m in range(10)])
    page, cursor = keep.tape.page(Trade, mode="paper", limit=4)
    keep.tape.append(trade(0.5, order_id="late"))  # behind the reader
    rest = []
    while cursor is not None:
        more, cursor = keep.tape.page(Trade, mode="paper", limit=4, after=cursor)
        rest.append([t.order_id for t in more])
    assert [t.order_id for t in page] == ["0", "1", "2", "3"]
    assert rest == [["4", "5", "6", "7"], ["8", "9"]]


def test_a_stream_of_batches_says_the_same_as_the_records(keep: Keep, trade: Make) -> None:
    keep.tape.append([trade(m % 7, uid=str(m), raw_data={"n": m}) for m in range(250)])
    reader = keep.tape.arrow(Trade, mode="paper", batch_rows=100)
    batches = [*reader]
    assert [b.num_rows for b in batches] == [100, 100, 50]
    table = pa.Table.from_batches(batches)
    records = [*keep.tape.scan(Trade, mode="paper")]
    assert table.column("uid").to_pylist() == [t.uid for t in records]
    assert table.column("revision").to_pylist() == [t.revision for t in records]
    assert table.column("timestamp").to_pylist() == [t.timestamp for t in records]
    assert table.column("raw_data")[0].as_py() == '{"n":0}'
    newest = keep.tape.arrow(Trade, limit=3).read_all()
    assert newest.column("uid").to_pylist() == [t.uid for t in keep.tape.trades(limit=3)]


def test_instants_come_back_in_utc(keep: Keep, trade: Make) -> None:
    keep.tape.append(trade())
    assert keep.tape.trades()[0].timestamp.tzinfo is UTC
