"""Backtests of freqtrade: a result for each strategy of ``backtest-result*.json``."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from quantkeep import InvalidValue, NotFound
from quantkeep_plugins.importers.backtests.storing import Result, day, in_order, task_id

_POINTER: Final = ".last_result.json"
_MINUTES: Final = {"m": 1, "h": 60, "d": 1_440, "w": 10_080}
_SIGNAL: Final = {"open_rate": "entry_price", "close_rate": "exit_price", "amount": "quantity"}
_SUMMARY: Final = {
    "key": "symbol",
    "profit_mean_pct": "avg_return",
    "profit_total_abs": "total_pnl",
    "profit_total_pct": "total_pnl_pct",
    "trades": "total_signals",
    "wins": "winning_signals",
    "losses": "losing_signals",
}
_TOTAL: Final = "TOTAL"  # a row of sums among the pairs


def recognises(place: Path) -> bool:
    """Its folder of results, or one of them."""
    if place.is_dir():
        return (place / _POINTER).exists()
    return place.suffix == ".json" and _has_strategies(place)


def _has_strategies(place: Path) -> bool:
    try:
        said = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and {"strategy", "strategy_comparison"} <= said.keys()


def results(place: Path) -> Iterator[Result]:
    """A result for each strategy.

    Raises:
        NotFound: there is no result.
        InvalidValue: it is none of freqtrade's.
    """
    said = _read(_latest(place) if place.is_dir() else place)
    comparison = {row["key"]: row for row in said.get("strategy_comparison", [])}
    for name, strategy in said["strategy"].items():
        metadata = said.get("metadata", {}).get(name, {})
        yield _result(name, strategy, metadata, comparison.get(name))


def _latest(folder: Path) -> Path:
    return folder / str(_json(folder / _POINTER)["latest_backtest"])


def _read(place: Path) -> dict[str, Any]:
    said = _json(place)
    if not isinstance(said.get("strategy"), dict):
        raise InvalidValue(f"{place} is no result of freqtrade", expected='an object "strategy"')
    return said


def _json(place: Path) -> dict[str, Any]:
    try:
        said = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no {place}") from None
    except (OSError, ValueError) as error:
        raise InvalidValue(f"{place} cannot be read: {error}", expected="JSON in UTF-8") from None
    if not isinstance(said, dict):
        raise InvalidValue(f"{place} is a {type(said).__name__}", expected="an object")
    return said


def _result(
    name: str, said: dict[str, Any], metadata: dict[str, Any], comparison: dict[str, Any] | None
) -> Result:
    pairs = [row for row in said["results_per_pair"] if row["key"] != _TOTAL]
    trades: dict[str, list[dict[str, Any]]] = defaultdict(list)
    bar = _minutes(said["timeframe"])
    for number, trade in enumerate(said["trades"], start=1):
        trades[trade["pair"]].append(_signal(number, trade, bar))
    known = {"trades", "results_per_pair", "timeframe", "strategy_name"}
    original = {
        **{key: value for key, value in said.items() if key not in known},
        "task_id": task_id("freqtrade", name, str(metadata.get("run_id"))),
        "strategy": name,
        "start_date": day(said["backtest_start"]),
        "end_date": day(said["backtest_end"]),
        "timeframe": said["timeframe"],
        "status": "completed",
        "metadata": {"engine": "freqtrade", **metadata},
        "totals": [row for row in said["results_per_pair"] if row["key"] == _TOTAL],
        "comparison": comparison,
        "symbols": [_symbol(row, in_order(trades[row["key"]])) for row in pairs],
    }
    made = metadata.get("backtest_start_time")
    created = datetime.fromisoformat(made) if isinstance(made, str) else None
    notes = ("freqtrade keeps no curve for a pair: performance_curve is empty",)
    return Result(original=original, created_at=created, notes=notes)


def _minutes(timeframe: str) -> int:
    return int(timeframe[:-1]) * _MINUTES[timeframe[-1]]


def _signal(number: int, trade: dict[str, Any], bar: int) -> dict[str, Any]:
    """Fees are rates in the source, and amounts here."""
    ours = {_SIGNAL.get(name, name): v for name, v in trade.items() if name != "pair"}
    value = trade["amount"] * trade["open_rate"]
    fees = value * trade["fee_open"] + trade["amount"] * trade["close_rate"] * trade["fee_close"]
    return {
        **ours,
        "signal_index": number,
        "timestamp": datetime.fromisoformat(trade["open_date"]).isoformat(),
        "type": "sell" if trade["is_short"] else "buy",
        "exit_price": None if trade["is_open"] else trade["close_rate"],
        "return_pct": trade["profit_ratio"] * 100,
        "hold_bars": trade["trade_duration"] // bar,
        "fee_amount": fees,
        "status": "open" if trade["is_open"] else "closed",
    }


def _symbol(row: dict[str, Any], signals: list[dict[str, Any]]) -> dict[str, Any]:
    ours = {_SUMMARY.get(name, name): value for name, value in row.items()}
    returns = [signal["return_pct"] for signal in signals]
    held = [signal["hold_bars"] for signal in signals]
    return {
        **ours,
        "win_rate": row["wins"] / row["trades"] * 100 if row["trades"] else None,
        "max_return": max(returns, default=None),
        "min_return": min(returns, default=None),
        "avg_hold_bars": sum(held) / len(held) if held else None,
        "signals": signals,
        "performance_curve": [],
    }
