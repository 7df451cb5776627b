"""A small arbitrage engine that keeps its state in a session, as D70's did, and can be killed.

    python arbitrage.py URL start  NAME SCRIPT     starts clean and plays the events of SCRIPT
    python arbitrage.py URL resume NAME SCRIPT     goes on with NAME

Each loop is acknowledged on standard output once it was saved; then the engine waits to be killed.
SCRIPT is a JSON list of events: ["open", symbol, price, qty], ["close", symbol, pnl], ["idle"].
"""

import json
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import partial

import attrs

import quantkeep
from quantkeep.sessions import Session


class Side(Enum):
    BUY = "buy"
    SELL = "sell"


@attrs.define
class Order:
    """A leg, changed in place as it is filled."""

    exchange: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    placed_at: datetime
    filled: Decimal = Decimal(0)


@attrs.frozen
class ArbitrageTrade:
    symbol: str
    opened_at: datetime
    spread_bps: float
    notional: Decimal


BEGINNING = {
    "total_trades_opened": 0,
    "total_trades_closed": 0,
    "total_winning_trades": 0,
    "total_pnl_usd": 0.0,
    "portfolio_equity": 10_000.0,
}
TYPES = [Side, Order, ArbitrageTrade]


class RiskGuard:
    """Counts losses; brings its own state (D70-16)."""

    def __init__(self) -> None:
        self.daily_loss_usd = 0.0
        self.per_symbol_loss: dict[str, float] = {}

    def lose(self, symbol: str, amount: float) -> None:
        self.daily_loss_usd += amount
        self.per_symbol_loss[symbol] = self.per_symbol_loss.get(symbol, 0.0) + amount

    def get_state(self) -> dict:
        return {
            "daily_loss_usd": self.daily_loss_usd,
            "per_symbol_loss": dict(self.per_symbol_loss),
        }

    def restore_state(self, state: dict) -> None:
        self.daily_loss_usd = state["daily_loss_usd"]
        self.per_symbol_loss = state["per_symbol_loss"]


class Engine:
    """Plays events on the state in a session."""

    def __init__(self, session: Session, guard: RiskGuard) -> None:
        self.session = session
        self.guard = guard
        session.setdefault("positions", {"active_orders": {}, "paper_position_open_times": {}})
        session.setdefault("metrics", dict(BEGINNING))

    @classmethod
    def start(cls, keep: quantkeep.Keep, name: str) -> "Engine":
        guard = RiskGuard()
        session = keep.sessions.start(
            name,
            "paper",
            campaign="S2",
            config={"min_spread_bps": 4.0},
            components={"risk_guard": guard},
        )
        return cls(session, guard)

    @classmethod
    def resume(cls, keep: quantkeep.Keep, name: str, **options) -> "Engine":
        guard = RiskGuard()
        session = keep.sessions.resume(name, components={"risk_guard": guard}, **options)
        return cls(session, guard)

    def loop(self, event: list) -> None:
        getattr(self, event[0])(*event[1:])
        self.session.loop_count += 1
        self.session.save(snapshot=None if event[0] == "idle" else "on_trade")

    def idle(self) -> None:
        """Nothing happens."""

    def open(self, symbol: str, price: str, qty: str) -> None:
        now = datetime(2026, 1, 19, 12, 0, 0, 123456, tzinfo=UTC)
        legs = {"symbol": symbol, "qty": Decimal(qty), "placed_at": now}
        self.session["positions"]["active_orders"][symbol] = {
            "trade": ArbitrageTrade(symbol, now, 4.2, Decimal(price) * Decimal(qty)),
            "order_a": Order(exchange="upbit", side=Side.BUY, price=Decimal(price), **legs),
            "order_b": Order(exchange="binance", side=Side.SELL, price=Decimal(price) + 1, **legs),
            "position_open_time": now,
        }
        self.session["metrics"]["total_trades_opened"] += 1

    def close(self, symbol: str, pnl: float) -> None:
        del self.session["positions"]["active_orders"][symbol]
        metrics = self.session["metrics"]
        metrics["total_trades_closed"] += 1
        metrics["total_winning_trades"] += pnl > 0
        metrics["total_pnl_usd"] += pnl
        metrics["portfolio_equity"] += pnl
        if pnl < 0:
            self.guard.lose(symbol, -pnl)


say = partial(print, flush=True)


def main(url: str, how: str, name: str, script: str) -> None:
    with quantkeep.open(url, types=TYPES) as keep:
        engine = getattr(Engine, how)(keep, name)
        say("running", engine.session.session_id)
        for event in json.loads(script):
            engine.loop(event)
            say("saved", engine.session.loop_count)
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
