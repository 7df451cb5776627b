"""Portfolios of vectorbt, as its frames are written out: a result for each pair of windows.

The folder has ``meta.json``, ``trades.parquet``, ``value.parquet`` and ``stats.csv``. A portfolio's
column label is a tuple, ``(5, 20, 'AAPL')``, which Arrow refuses: it is written as JSON or with
bars between its parts.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from quantkeep import NotFound
from quantkeep_plugins.importers.backtests.cells import columns, plain, rows
from quantkeep_plugins.importers.backtests.curves import curve
from quantkeep_plugins.importers.backtests.storing import Result, day, in_order, span, task_id

Label = tuple[int, int, str]

# Its statistics, by our names; the others keep theirs.
_SUMMARY: Final = {
    "Win Rate [%]": "win_rate",
    "Best Trade [%]": "max_return",
    "Worst Trade [%]": "min_return",
    "Max Drawdown [%]": "max_drawdown",
    "Total Trades": "total_signals",
    "Total Return [%]": "total_pnl_pct",
}
_SIGNAL: Final = {
    "Entry Timestamp": "timestamp",
    "Avg Entry Price": "entry_price",
    "Size": "quantity",
}


def recognises(place: Path) -> bool:
    """A folder with its three frames."""
    return all((place / name).exists() for name in ("meta.json", "trades.parquet", "stats.csv"))


def results(place: Path) -> Iterator[Result]:
    """A result for each pair of windows; raises :class:`NotFound`."""
    if not recognises(place):
        raise NotFound(f"{place} has no meta.json, trades.parquet and stats.csv of vectorbt")
    meta = json.loads((place / "meta.json").read_text(encoding="utf-8"))
    values = columns(place / "value.parquet")
    trades = _trades(place, values["date"])
    stats = {_window_symbol(row): row for row in rows(place / "stats.csv")}
    for fast, slow in meta["windows"]:
        labels = [(fast, slow, symbol) for symbol in meta["symbols"]]
        symbols = [_symbol(label, stats, trades, values) for label in labels]
        start, end = span([stats[labels[0]][name] for name in ("Start", "End")])
        said: dict[str, Any] = {
            "task_id": task_id("vectorbt", meta["vectorbt"], f"{fast}/{slow}", *meta["symbols"]),
            "strategy": f"sma {fast}/{slow}",
            "start_date": start,
            "end_date": end,
            "timeframe": "1d",
            "status": "completed",
            "metadata": {
                "engine": f"vectorbt {meta['vectorbt']}",
                "pandas": meta["pandas"],
                "windows": [fast, slow],
            },
            "symbols": symbols,
        }
        yield Result(original=said, notes=("instants of vectorbt have no zone: UTC is taken",))


def _window_symbol(row: dict[str, str]) -> Label:
    return int(row["fast_window"]), int(row["slow_window"]), row["Name"]


def _trades(place: Path, dates: list[str]) -> dict[Label, list[dict[str, Any]]]:
    found = columns(place / "trades.parquet")
    bars = {moment: number for number, moment in enumerate(dates)}
    by_label: dict[Label, list[dict[str, Any]]] = defaultdict(list)
    for row in (
        dict(zip(found, cells, strict=True)) for cells in zip(*found.values(), strict=True)
    ):
        fast, slow, symbol = json.loads(row.pop("Column"))
        by_label[fast, slow, symbol].append(_signal(row, bars))
    return by_label


def _signal(row: dict[str, Any], bars: dict[str, int]) -> dict[str, Any]:
    """An open trade's exit price is the last close: kept under its own name, ours is null."""
    is_open = row["Status"] == "Open"
    ours = {_SIGNAL.get(name, name): value for name, value in row.items()}
    return {
        **ours,
        "signal_index": row["Exit Trade Id"],
        "type": "buy" if row["Direction"] == "Long" else "sell",
        "exit_price": None if is_open else row["Avg Exit Price"],
        "return_pct": row["Return"] * 100,
        "hold_bars": bars[row["Exit Timestamp"]] - bars[row["Entry Timestamp"]],
        "fee_amount": row["Entry Fees"] + row["Exit Fees"],
        "slippage_amount": None,
        "status": "open" if is_open else "closed",
    }


def _symbol(
    label: Label,
    stats: dict[Label, dict[str, str]],
    trades: dict[Label, list[dict[str, Any]]],
    values: dict[str, list[Any]],
) -> dict[str, Any]:
    said = {name: plain(cell) for name, cell in stats[label].items()}
    signals = in_order(trades[label])
    start = said["Start Value"]
    ours = {
        _SUMMARY.get(name, name): value
        for name, value in said.items()
        if name not in ("fast_window", "slow_window", "Name", "Start", "End")
    }
    closed = [signal for signal in signals if signal["status"] == "closed"]
    returns = [signal["return_pct"] for signal in signals]
    held = [signal["hold_bars"] for signal in signals]
    found: dict[str, Any] = {
        **ours,
        "symbol": label[2],
        "avg_return": sum(returns) / len(returns) if returns else None,
        "avg_hold_bars": sum(held) / len(held) if held else None,
        "winning_signals": sum(signal["PnL"] > 0 for signal in closed),
        "losing_signals": sum(signal["PnL"] < 0 for signal in closed),
        "total_pnl": said["End Value"] - start,
        "first_day": day(stats[label]["Start"]),
        "signals": signals,
    }
    equity = values.get("|".join(map(str, label)))
    found["performance_curve"] = [] if equity is None else curve(values["date"], equity, start)
    return found
