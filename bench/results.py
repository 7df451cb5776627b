"""Made-up and recorded backtest results, in the shape of the original JSON (Z-50)."""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import UUID

from quantkeep.backtests import CURVE, SIGNALS, SUMMARY, V1
from quantkeep_plugins.importers.backtests import backtesting_py, vectorbt

Original = dict[str, Any]
START = datetime(2024, 1, 1)  # noqa: DTZ001  # zone-less, which means UTC here
PRICES = (42_000.0, 2_250.0, 100.0, 0.5, 30.0)
LISTS = {SIGNALS: "signals", CURVE: "performance_curve"}


def rounded(signals: int, points: int, symbols: int = 20) -> Original:
    """A random walk written with 2 to 4 decimals, as most programs write JSON."""
    return _made(signals, points, symbols, round)


def full(signals: int, points: int, symbols: int = 20) -> Original:
    """The same with every digit that a float has."""
    return _made(signals, points, symbols, lambda value, digits: value)


def steps(signals: int, points: int, symbols: int = 20) -> Original:
    """Equity that moves only when a trade closes, rounded."""
    return _made(signals, points, symbols, round, moves=0.02)


def _made(
    signals: int,
    points: int,
    symbols: int,
    written: Callable[[float, int], float],
    moves: float = 1.0,
) -> Original:
    noise = random.Random(7)
    parts = []
    for number in range(symbols):
        base = PRICES[number % len(PRICES)]
        rows = [*_signals(signals // symbols, base, noise, written)]
        parts.append(
            {
                "symbol": f"S{number:02}/USDT", "win_rate": 58.5, "avg_return": 2.15,
                "max_return": 9.1, "min_return": -5.2, "max_drawdown": 8.3,
                "avg_hold_bars": 12.5, "total_signals": len(rows),
                "winning_signals": len(rows) // 2, "losing_signals": len(rows) - len(rows) // 2,
                "total_pnl": 1234.5, "total_pnl_pct": 12.3, "signals": rows,
                "performance_curve": [*_curve(points // symbols, noise, written, moves)],
            }
        )  # fmt: skip
    return {
        "task_id": str(UUID(int=signals + points)), "strategy": "volume_zone_breakout",
        "start_date": "2024-01-01", "end_date": "2024-12-31", "timeframe": "1h",
        "status": "completed", "symbols": parts,
    }  # fmt: skip


def _moment(hours: int) -> str:
    return (START + timedelta(hours=hours)).isoformat()


def _signals(
    count: int, base: float, noise: random.Random, written: Callable[[float, int], float]
) -> Iterator[dict[str, Any]]:
    prices = accumulate(
        (1 + noise.gauss(0, 0.002) for _ in range(count)), lambda p, step: p * step, initial=base
    )
    for number, exact in zip(range(count), prices, strict=False):
        entry, gain = written(exact, 2), written(noise.gauss(0.1, 1.5), 2)
        quantity, last = written(10_000 / entry, 4), number == count - 1
        yield {
            "signal_index": number + 1,
            "timestamp": _moment(number),
            "type": noise.choice(("buy", "sell")),
            "entry_price": entry,
            "exit_price": None if last else written(entry * (1 + gain / 100), 2),
            "quantity": quantity,
            "return_pct": gain,
            "hold_bars": noise.randint(1, 48),
            "fee_amount": written(quantity * entry * 0.0006, 4),
            "slippage_amount": written(quantity * entry * 0.0002, 4),
            "status": "open" if last else "closed",
        }


def _curve(
    count: int, noise: random.Random, written: Callable[[float, int], float], moves: float
) -> Iterator[dict[str, Any]]:
    exact = peak = 100_000.0
    for number in range(count):
        equity = written(exact, 2)
        peak = max(peak, equity)
        yield {
            "idx": number,
            "timestamp": _moment(number),
            "equity": equity,
            "drawdown": written((peak - equity) / peak * 100, 2),
            "cumulative_pnl": written(equity - 100_000.0, 2),
            "cumulative_pnl_pct": written((equity - 100_000.0) / 1_000, 4),
        }
        if noise.random() < moves:
            exact *= 1 + noise.gauss(0, 0.001)


# -- recorded --------------------------------------------------------------------------------------


def backtesting(data: Path) -> list[Original]:
    """181 runs of backtesting.py on real prices: marked to market at every bar."""
    found = backtesting_py.results(data / "runs" / "chain_a")
    return [_known(each.original) for each in found if each.has_tables]


def portfolios(data: Path) -> list[Original]:
    """40 portfolios of vectorbt on real prices, their equity recorded as float32."""
    kept = []
    for each in vectorbt.results(data / "runs" / "vectorbt"):
        result = _known(each.original)
        result["symbols"] = [s for s in result["symbols"] if s["performance_curve"]]
        kept.append(result)
    return kept


def _known(original: Original) -> Original:
    """The fields of the design alone: what else a source says is no part of its claim."""
    symbols = [
        {
            **_fields(symbol, SUMMARY),
            **{key: [_fields(row, table) for row in symbol[key]] for table, key in LISTS.items()},
        }
        for symbol in original["symbols"]
    ]
    return {**original, "metadata": {}, "symbols": symbols}


def _fields(row: dict[str, Any], table: str) -> dict[str, Any]:
    return {name: row.get(name) for name in V1[table].names if name != "symbol" or name in row}
