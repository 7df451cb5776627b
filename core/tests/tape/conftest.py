"""A keep on each store that core is tested on, and trades to put on its tape."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import quantkeep
from quantkeep.tape import Trade

NOON = datetime(2026, 1, 19, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/tape.db"


@pytest.fixture
def persistent_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tape.db"


@pytest.fixture
def keep(url: str) -> Iterator[quantkeep.Keep]:
    with quantkeep.open(url) as opened:
        yield opened


@pytest.fixture
def noon() -> datetime:
    return NOON


@pytest.fixture
def trade() -> Callable[..., Trade]:
    """Makes a trade, so many minutes after noon, with whatever else is said of it."""

    def make(minute: float = 0, **said: Any) -> Trade:
        usual = {
            "mode": "paper",
            "timestamp": NOON + timedelta(minutes=minute),
            "symbol": "BTC/USDT",
            "side": "LONG",
            "action": "OPEN",
            "qty": 0.5,
            "fill_price": 50_000.0,
        }
        return Trade(**{**usual, **said})

    return make
