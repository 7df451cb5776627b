"""What exchanges and other programs wrote, on the tape and back, unchanged."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from quantkeep import Keep
from quantkeep.instants import floored, from_epoch, from_text
from quantkeep.sessions.orders import Order
from quantkeep.sessions.position_record import Position
from quantkeep.tape import EquityPoint, Trade
from quantkeep.trading import action_of

SIDES = {"buy": "LONG", "sell": "SHORT", "Buy": "LONG", "Sell": "SHORT"}


def _read(path: Path, **how: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8"), **how)


def _ccxt_fill(said: dict[str, Any]) -> Trade:
    return Trade(
        mode="live", uid=said["id"], timestamp=from_epoch(said["timestamp"], "ms"),
        symbol=said["symbol"], side=SIDES[said["side"]], action="OPEN",
        source_action=said["type"], qty=said["amount"], fill_price=said["price"],
        notional=said["cost"], fee=said["fee"]["cost"], fee_rate=said["fee"].get("rate"),
        pos_source="exchange", exec_type=said["takerOrMaker"], order_id=said["order"],
        raw_data=said,
    )  # fmt: skip


@pytest.mark.requirement("CODEX-4", "X-3", "Z-31", api="TradeTape.append")
def test_fills_of_three_exchanges(keep: Keep, real_data: Path) -> None:
    files = ["bybit_fetchMyTrades", "kraken_fetchMyTrades", "binance_spot_fetchMyTrades"]
    said = [f for name in files for f in _read(real_data / f"ccxt-unified/{name}.json")]
    fills = [_ccxt_fill(fill) for fill in said]
    assert keep.tape.append(fills).added == len(said) == 5
    assert keep.tape.append(fills).added == 0
    found = sorted(keep.tape.trades(mode="live"), key=lambda t: t.uid or "")
    assert found == sorted(fills, key=lambda t: t.uid or "")
    assert [t.raw_data for t in keep.tape.follow(Trade, mode="live", patience=0)] == said


@pytest.mark.requirement("Z-31", api="TradeTape.append_arrow")
def test_a_hundred_identical_ticks_stay_a_hundred(keep: Keep, real_data: Path) -> None:
    ticks = pq.read_table(real_data / "nautilus/test_data/nautilus/64-bit/trades.parquet")
    assert ticks.num_rows == 100
    table = _tick_trades(ticks)
    assert keep.tape.append_arrow(Trade, table).added == 100
    assert keep.tape.append_arrow(Trade, table).added == 0  # the same file again
    assert keep.tape.append_arrow(Trade, table.drop_columns(["uid"])).added == 100
    found = keep.tape.trades(mode="backtest", limit=100)
    assert {t.timestamp for t in found} == {datetime(1970, 1, 1, tzinfo=UTC)}
    back = keep.tape.arrow(Trade, limit=100).read_all()
    assert back.column("qty").to_pylist() == table.column("qty").to_pylist()


def _tick_trades(ticks: pa.Table) -> pa.Table:
    """Ids count how often the same row was seen before, so that equal rows stay apart."""
    seen: Counter[str] = Counter()
    uids = []
    for row in ticks.to_pylist():
        uids.append(f"{row}#{seen[str(row)]}")
        seen[str(row)] += 1

    def fixed_point(name: str) -> list[float]:
        return [int.from_bytes(v, "little") / 1e9 for v in ticks.column(name).to_pylist()]

    count = ticks.num_rows
    instants = pc.cast(ticks.column("ts_event"), pa.int64()).cast(pa.timestamp("ns", tz="UTC"))
    return pa.table(
        {
            "mode": ["backtest"] * count,
            "uid": uids,
            "timestamp": instants,
            "symbol": [ticks.schema.metadata[b"instrument_id"].decode()] * count,
            "side": ["LONG"] * count,
            "action": ["OPEN"] * count,
            "qty": fixed_point("size"),
            "fill_price": fixed_point("price"),
            "order_id": ticks.column("trade_id"),
        }
    )


@pytest.mark.requirement("CODEX-4", "Z-33", api="TradeTape.append")
def test_the_tape_of_a_paper_bot(keep: Keep, real_data: Path) -> None:
    said = _read(real_data / "codex-quant-real/trade_tape.json")
    trades = [*_paper_trades(said)]
    keep.tape.append(trades)
    found = [*keep.tape.follow(Trade, mode="paper", patience=0)]
    assert found == trades
    assert [t.raw_data for t in found] == said
    assert keep.tape.count_closed_trades(mode="paper") == 7
    assert Counter(t.source_action for t in found)["REBAL_EXIT"] == 22


def _paper_trades(said: Iterable[dict[str, Any]]) -> Iterable[Trade]:
    """The file has no dates: a time before the one above it is of the next day."""
    day, before = datetime(2025, 12, 15, tzinfo=UTC), ""
    for event in said:
        day += timedelta(days=event["time"] < before)
        before = event["time"]
        yield Trade(
            mode="paper",
            timestamp=from_text(f"{day:%Y-%m-%d}T{before}+00:00"),
            symbol=event["symbol"],
            side=event["side"],
            action=action_of(event["type"]),
            source_action=event["type"],
            qty=event["qty"],
            fill_price=event["price"],
            realized_pnl=event["pnl"],
            roe=event["roe"],
            fee=event.get("fee"),
            entry_reason=event["reason"],
            entry_ev=event["pred_ev"],
            pos_source="simulator",
            raw_data=event,
        )


@pytest.mark.requirement("CODEX-6", "Z-31", api="TradeTape.append_arrow")
def test_an_equity_curve_with_two_points_in_one_millisecond(keep: Keep, real_data: Path) -> None:
    said = _read(real_data / "codex-quant-real/equity_history.json")
    millis = pa.array([p["time"] for p in said], pa.int64()).cast(pa.timestamp("ms", tz="UTC"))
    equity = [p["equity"] for p in said]
    table = pa.table({"timestamp": millis, "total_equity": equity, "mode": ["paper"] * len(said)})
    keep.tape.append_arrow(EquityPoint, table)
    found = [*keep.tape.follow(EquityPoint, mode="paper", patience=0)]
    assert [p.total_equity for p in found] == equity
    assert [p.timestamp for p in found] == [from_epoch(p["time"], "ms") for p in said]


@pytest.mark.requirement("X-1", "X-3", api="TradeTape.append")
def test_what_a_venue_said_is_kept_to_the_last_digit(keep: Keep, real_data: Path) -> None:
    derive = real_data / "nautilus/venues/derive/common/http_subaccount_high_scale.json"
    said = _read(derive, parse_float=Decimal)
    now = from_epoch(1_700_000_000, "s")
    venues = [
        _read(path) for path in sorted((real_data / "nautilus/venues/bybit").glob("*.json"))
    ]  # fmt: skip
    for number, raw in enumerate([said, *venues]):
        keep.tape.append(
            Trade(
                mode="live",
                timestamp=now,
                symbol="X",
                side="LONG",
                action="EXTERNAL",
                qty=0.0,
                order_id=str(number),
                raw_data=raw,
            )
        )
    found = {t.order_id: t.raw_data for t in keep.tape.scan(Trade)}
    assert repr(_sorted(found["0"])) == repr(_sorted(said))  # digits and exponents included
    assert [found[str(n)] for n in range(1, len(venues) + 1)] == venues


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(v) for v in value] if isinstance(value, list) else value


def test_the_instants_of_kraken_are_finer_than_a_microsecond(real_data: Path) -> None:
    said = _read(real_data / "ccxt-unified/kraken_publicTrades.json", parse_float=Decimal)
    seconds = [Decimal(trade["info"][2]) for trade in said]
    assert any(s * 10**6 % 1 for s in seconds)
    for moment, trade in zip(seconds, said, strict=True):
        found = floored(int(moment * 10**9), "ns")
        assert from_epoch(trade["timestamp"], "ms") - found < timedelta(milliseconds=1)


@pytest.mark.requirement("Z-35", api="Orders.save")
def test_the_orders_of_a_bot_database(keep: Keep, real_data: Path) -> None:
    rows = _rows(real_data / "freqtrade-db/tradesv3_mixed.sqlite", "orders")
    orders = [_order(row) for row in rows]
    keep.sessions.orders.save(*orders)
    found = {o.order_id: o for o in keep.sessions.orders.all(mode="live")}
    assert found == {o.order_id: o for o in orders}
    open_ones = {str(r["order_id"]) for r in rows if r["status"] == "open"}
    assert {o.order_id for o in keep.sessions.orders.pending(mode="live")} == open_ones


def _rows(path: Path, table: str) -> list[dict[str, Any]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    connection.row_factory = sqlite3.Row
    rows = [dict(row) for row in connection.execute(f"select * from {table}")]
    connection.close()
    return rows


def _order(row: dict[str, Any]) -> Order:
    partial = bool(row["filled"]) and row["status"] == "open"
    status = {"open": "partial" if partial else "pending", "closed": "filled"}
    return Order(
        mode="live", order_id=row["order_id"], symbol=row["symbol"], side=row["side"].upper(),
        quantity=row["amount"], filled=row["filled"], price=row["price"],
        average_price=row["average"], status=status.get(row["status"], "cancelled"),
        submitted_at=from_text(row["order_date"] + "+00:00"), raw_data=row,
    )  # fmt: skip


@pytest.mark.requirement("CODEX-7", "CODEX-28", api="Positions.replace_all")
def test_the_positions_an_exchange_says(keep: Keep, real_data: Path) -> None:
    said = _read(real_data / "ccxt-unified/bybit_fetchPositions.json")
    held = [p for p in said if p["contracts"]]
    positions = [
        Position(
            mode="live", symbol=p["symbol"], pos_source="exchange", side=p["side"].upper(),
            size=p["contracts"], entry_price=p["entryPrice"], current_price=p["markPrice"],
            leverage=p["leverage"], margin=p["initialMargin"], notional=p["notional"],
            unrealized_pnl=p["unrealizedPnl"], entry_at=from_epoch(p["timestamp"], "ms"),
            raw_data=p,
        )
        for p in held
    ]  # fmt: skip
    keep.sessions.positions.replace_all(positions, mode="live")
    found = keep.sessions.positions.all(mode="live")
    assert found == {p.symbol: p for p in positions}
    assert found[held[0]["symbol"]].raw_data == held[0]
    balance = _read(real_data / "ccxt-unified/bybit_fetchBalance_short.json")
    keep.sessions.bot_state.save_balance(balance, mode="live")
    assert keep.sessions.bot_state.balance(mode="live") == balance
