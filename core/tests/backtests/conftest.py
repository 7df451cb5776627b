"""A keep on each backend, results to save, and a way to say that two are the same."""

import math
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

import quantkeep
from quantkeep import Keep
from quantkeep.backtests import CURVE, SIGNALS, SUMMARY, V1, BacktestStore

TASK = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/results.db"


@pytest.fixture
def keep(url) -> Iterator[Keep]:
    with quantkeep.open(url) as opened:
        yield opened


@pytest.fixture
def backtests(keep) -> BacktestStore:
    return keep.backtests


def _moment(hour: int) -> str:
    return (datetime(2024, 1, 1) + timedelta(hours=hour)).isoformat()  # noqa: DTZ001


def _signal(number: int, last: bool, noise: random.Random) -> dict[str, Any]:
    entry = round(42_000 * (1 + noise.gauss(0, 0.01)), 2)
    return {
        "signal_index": number + 1,
        "timestamp": _moment(4 * number),
        "type": noise.choice(["buy", "sell"]),
        "entry_price": entry,
        "exit_price": None if last else entry + 100.5,
        "quantity": 0.25,
        "return_pct": noise.gauss(0.1, 1.5),
        "hold_bars": noise.randint(1, 48),
        "fee_amount": round(entry * 0.0006, 4),
        "slippage_amount": -0.0,
        "status": "open" if last else "closed",
    }


def _curve(points: int, noise: random.Random) -> list[dict[str, Any]]:
    """As a program would write it: the percentages follow from equity, unrounded."""
    equity = peak = 100_000.0
    curve = []
    for number in range(points):
        peak = max(peak, equity)
        curve.append(
            {
                "idx": number,
                "timestamp": _moment(number),
                "equity": equity,
                "drawdown": (peak - equity) / peak * 100,
                "cumulative_pnl": equity - 100_000.0,
                "cumulative_pnl_pct": (equity - 100_000.0) / 100_000.0 * 100,
            }
        )
        equity *= 1 + noise.gauss(0, 0.001)
    return curve


def _symbol(name: str, signals: int, points: int, noise: random.Random) -> dict[str, Any]:
    return {
        "symbol": name,
        "win_rate": 58.5,
        "avg_return": 2.15,
        "max_return": 9.1,
        "min_return": -5.2,
        "max_drawdown": 8.3,
        "avg_hold_bars": 12.5,
        "total_signals": signals,
        "winning_signals": signals // 2,
        "losing_signals": signals - signals // 2,
        "total_pnl": 1234.5,
        "total_pnl_pct": 12.345,
        "signals": [_signal(n, n == signals - 1, noise) for n in range(signals)],
        "performance_curve": _curve(points, noise),
    }


@pytest.fixture
def original() -> Callable[..., dict[str, Any]]:
    """Makes an original JSON (Z-50); metadata may be said."""

    def make(
        *, symbols=("BTC/USDT", "ETH/USDT"), signals=25, points=72, seed=1, **said: Any
    ) -> dict[str, Any]:
        noise = random.Random(seed)
        return {
            "task_id": TASK,
            "strategy": "volume_zone_breakout",
            "start_date": "2024-01-01",
            "end_date": "2024-06-30",
            "timeframe": "1h",
            "status": "completed",
            **said,
            "symbols": [_symbol(name, signals, points, noise) for name in symbols],
        }

    return make


@pytest.fixture
def as_tables() -> Callable[..., dict[str, Any]]:
    """The same result, its three tables as Arrow has them."""

    def convert(result: dict[str, Any]) -> dict[str, Any]:
        found = {name: value for name, value in result.items() if name != "symbols"}
        found[SUMMARY] = _table(SUMMARY, result["symbols"])
        for name, key in ((SIGNALS, "signals"), (CURVE, "performance_curve")):
            rows = [{**row, "symbol": s["symbol"]} for s in result["symbols"] for row in s[key]]
            found[name] = _table(name, rows)
        return found

    return convert


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = V1[name].arrow
    parsed = [
        {k: datetime.fromisoformat(v) if k == "timestamp" else v for k, v in row.items()}
        for row in rows
    ]
    return pa.Table.from_pylist(parsed, schema=schema)


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    """Whether two plain values are equal in value and type; NaN is NaN, -0.0 is not 0.0."""
    return _same


def _same(value: Any, other: Any) -> bool:
    if type(value) is not type(other):
        return False
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(_same(v, other[k]) for k, v in value.items())
    if isinstance(value, list):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, float):
        signs = math.copysign(1, value) == math.copysign(1, other)
        return signs and (value == other or (math.isnan(value) and math.isnan(other)))
    return value == other


@pytest.fixture
def clock(monkeypatch):
    """The store's clock, of a keep that must be on memory://, to be set."""

    class Clock:
        def __init__(self) -> None:
            self.micros = 1_750_000_000_000_000

        def advance(self, by: timedelta) -> None:
            self.micros += by // timedelta(microseconds=1)

    return Clock()


@pytest.fixture
def timed(clock) -> Iterator[BacktestStore]:
    """A store on memory://, whose clock stands still until it is advanced."""
    with quantkeep.open("memory://") as opened:
        opened.backend.engine._clock = lambda: clock.micros * 1_000
        yield opened.backtests
