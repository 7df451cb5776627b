"""Current orders, and what follows from them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import quantkeep
from quantkeep import InvalidValue, Keep
from quantkeep.sessions.orders import Order

NOON = datetime(2026, 1, 19, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite"])
def keep(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keep]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bot.db"
    with quantkeep.open(url) as opened:
        yield opened


def order(order_id: str = "1", minute: int = 0, **said: Any) -> Order:
    usual = {
        "mode": "live",
        "order_id": order_id,
        "symbol": "BTC/USDT",
        "side": "BUY",
        "quantity": 2.0,
        "status": "pending",
        "submitted_at": NOON + timedelta(minutes=minute),
    }
    return Order(**{**usual, **said})


@pytest.mark.requirement("CODEX-16", "Z-35", api="Order")
def test_what_follows_from_an_order() -> None:
    partial = order(status="partial", filled=0.5)
    assert (partial.pending_qty, partial.fill_progress, partial.is_open) == (1.5, 0.25, True)
    assert partial.age(NOON + timedelta(seconds=1.5)) == 1.5
    done = order(status="cancelled", filled=0.5, last_update_at=NOON + timedelta(seconds=3))
    assert (done.pending_qty, done.fill_progress, done.is_open) == (0.0, 0.25, False)
    assert done.age(NOON + timedelta(hours=1)) == 3.0
    assert order(quantity=0.0).fill_progress == 0.0


@pytest.mark.requirement("Z-35", api="Orders.save")
def test_the_last_word_of_an_order_stays(keep: Keep) -> None:
    orders = keep.sessions.orders
    said = order("9" * 77, client_order_id="bot-1", price=50_000.0, raw_data={"info": {}})
    orders.save(said)
    filled = said.replace(status="filled", filled=2.0, average_price=49_999.5)
    orders.save(filled, order("2", mode="paper"))
    assert orders.get("9" * 77, mode="live") == filled
    assert orders.all(mode="live") == [filled]
    assert orders.get("2", mode="live") is None


@pytest.mark.requirement("CODEX-16", "Z-35", api="Orders.pending")
def test_pending_orders_are_those_that_may_still_be_filled(keep: Keep) -> None:
    orders = keep.sessions.orders
    orders.save(
        order("late", 5),
        order("early", 1, status="partial", filled=0.1),
        order("done", 2, status="filled", filled=2.0),
        order("other", 3, symbol="ETH/USDT"),
        order("paper", 4, mode="paper"),
    )
    assert [o.order_id for o in orders.pending(mode="live")] == ["early", "other", "late"]
    btc = orders.pending(mode="live", symbol="BTC/USDT")
    assert [o.order_id for o in btc] == ["early", "late"]
    assert orders.delete_done(mode="live").added == 1
    assert [o.order_id for o in orders.all(mode="live")] == ["early", "other", "late"]
    orders.delete("early", mode="live")
    assert len(orders.pending(mode="live")) == 2
    assert len(orders.pending(mode="paper")) == 1


@pytest.mark.parametrize(
    ("field", "value"), [("status", "done"), ("side", "LONG"), ("quantity", float("inf"))]
)
def test_what_cannot_be_kept_is_refused_by_name(keep: Keep, field: str, value: object) -> None:
    with pytest.raises(InvalidValue, match=rf"Order\.{field}"):
        keep.sessions.orders.save(order(), order("2", **{field: value}))
    assert keep.sessions.orders.all(mode="live") == []
