"""Made-up trades and state of the size and shape of real ones; the same in every run."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from quantkeep.tape import Trade

START = datetime(2026, 1, 1, tzinfo=UTC)
BASES = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "AVAX", "DOT", "LINK", "LTC")
SYMBOLS = [f"{base}/USDT" for base in BASES]


def trades(count: int, first: int = 0) -> list[Trade]:
    """*count* paper trades, 1.2 seconds apart, with ids."""
    chance = random.Random(first)
    return [_trade(first + n, chance) for n in range(count)]


def _trade(number: int, chance: random.Random) -> Trade:
    price = round(50_000 * (1 + chance.gauss(0, 0.01)), 2)
    return Trade(
        mode="paper",
        uid=f"trade-{number:016x}",
        timestamp=START + timedelta(microseconds=1_234_567 * number),
        symbol=SYMBOLS[number % 10],
        side="LONG" if number & 1 else "SHORT",
        action="OPEN" if number & 2 else "CLOSE",
        qty=round(chance.expovariate(2), 4) + 0.0001,
        target_price=price,
        fill_price=price * 1.0001,
        fee=round(price * 0.0006, 6),
        fee_rate=0.0006,
        exec_type="maker" if number & 1 else "taker",
        order_id=f"order-{number:012x}",
        entry_link_id=f"life-{number // 4:012x}",
        entry_reason="breakout",
        entry_ev=chance.random(),
        realized_pnl=chance.gauss(0, 20),
        hold_duration_sec=chance.random() * 3600,
        regime="bull",
    )


def positions(count: int) -> dict[str, dict[str, Any]]:
    """Positions of about 700 bytes each: 14 make 10 KB, 1,400 make 1 MB."""
    chance = random.Random(3)
    return {f"S{n}/USDT": _position(n, chance) for n in range(count)}


def _position(number: int, chance: random.Random) -> dict[str, Any]:
    fills = [
        {"id": f"f{number}-{n}", "price": chance.random() * 5e4, "qty": chance.random()}
        for n in range(6)
    ]
    return {
        "symbol": f"S{number}/USDT",
        "qty": chance.random(),
        "entry_price": chance.random() * 5e4,
        "mark_price": chance.random() * 5e4,
        "unrealized_pnl": chance.gauss(0, 10),
        "leverage": 2.0,
        "opened_at": "2026-01-01T00:00:00.123456Z",
        "stops": {"sl": chance.random(), "tp": chance.random(), "trail": None},
        "fills": fills,
        "tags": ["a", "b"],
    }
