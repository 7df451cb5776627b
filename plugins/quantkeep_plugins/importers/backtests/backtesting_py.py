"""Backtests of backtesting.py, as a research loop writes them out.

The folder has ``backtests.jsonl``, a line for each run, ``run.json`` and ``strategies.jsonl``.
Those that completed have ``stats.json``, ``trades.csv`` and ``equity.parquet`` in their
``artifacts_dir``.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from quantkeep import InvalidValue, NotFound
from quantkeep_plugins.importers.backtests.cells import columns, plain, rows
from quantkeep_plugins.importers.backtests.storing import Result, day, in_order
from quantkeep_plugins.importers.source import json_file, json_lines

_SUMMARY: Final = {
    "Win Rate [%]": "win_rate",
    "Avg. Trade [%]": "avg_return",
    "Best Trade [%]": "max_return",
    "Worst Trade [%]": "min_return",
    "# Trades": "total_signals",
    "Return [%]": "total_pnl_pct",
}
_SIGNAL: Final = {
    "EntryTime": "timestamp",
    "EntryPrice": "entry_price",
    "ExitPrice": "exit_price",
    "Commission": "fee_amount",
}
# Its statuses by ours; its own stays in metadata.
_STATUSES: Final = {"completed": "completed", "failed": "failed", "pruned": "cancelled"}
_TABLED: Final = ("metrics", "symbols", "artifacts_dir", "error", "created_at", "status")
_NOTES: Final = (
    "times of backtesting.py without a zone are taken as UTC",
    "a pruned run is kept as cancelled; its own status is in metadata",
)


def recognises(place: Path) -> bool:
    """A folder with the runs and their artifacts."""
    return (place / "backtests.jsonl").exists() and (place / "raw").is_dir()


def results(place: Path) -> Iterator[Result]:
    """The runs, those that failed or were pruned too; raises :class:`NotFound`."""
    if not recognises(place):
        raise NotFound(f"{place} has no backtests.jsonl and raw/ of backtesting.py")
    cash = float(json_file(place / "run.json")["config"]["cash"])
    names = {
        row["strategy_id"]: str(row["normalized_spec"]["strategy"])
        for row in json_lines(place / "strategies.jsonl")
    }
    for row in json_lines(place / "backtests.jsonl"):
        yield _result(place, row, names, cash)


def _result(place: Path, row: dict[str, Any], names: Mapping[str, str], cash: float) -> Result:
    made = datetime.fromisoformat(row["created_at"]).astimezone(UTC)
    metadata = {name: value for name, value in row.items() if name not in _TABLED}
    said: dict[str, Any] = {
        "task_id": row["backtest_id"],
        "strategy": names[row["strategy_id"]],
        "start_date": day(row["period_start"]),
        "end_date": day(row["period_end"]),
        "timeframe": row["bar_interval"],
        "status": _status(row),
        "metadata": {"engine": "backtesting.py", "source_status": row["status"], **metadata},
    }
    if row["metrics"] is None:
        return _without_tables(said, row, made)
    folder = place / row["artifacts_dir"]
    symbols = [_symbol(folder, row["symbols"], cash)]
    return Result(original={**said, "symbols": symbols}, created_at=made, notes=_NOTES)


def _status(row: dict[str, Any]) -> str:
    if row["status"] not in _STATUSES:
        raise InvalidValue(
            f"is {row['status']!r}", record="BacktestResult", field="status", value=row["status"],
            expected=f"one of {', '.join(_STATUSES)}",
        )  # fmt: skip
    return _STATUSES[row["status"]]


def _without_tables(said: dict[str, Any], row: dict[str, Any], made: datetime) -> Result:
    fields = {
        **said,
        "start_date": datetime.fromisoformat(row["period_start"]).date(),
        "end_date": datetime.fromisoformat(row["period_end"]).date(),
        "symbols": row["symbols"],
        "error": row["error"],
    }
    return Result(original=fields, has_tables=False, created_at=made, notes=_NOTES)


def _symbol(folder: Path, symbols: list[str], cash: float) -> dict[str, Any]:
    """The run's one symbol; statistics without a name of ours keep their own."""
    stats = json_file(folder / "stats.json")
    signals = [_signal(n, row) for n, row in enumerate(rows(folder / "trades.csv"), start=1)]
    held = [signal["hold_bars"] for signal in signals]
    ours = {_SUMMARY.get(name, name): value for name, value in stats.items()}
    return {
        **ours,
        "symbol": symbols[0],
        "max_drawdown": abs(stats["Max. Drawdown [%]"]),
        "avg_hold_bars": sum(held) / len(held) if held else None,
        "winning_signals": sum(signal["PnL"] > 0 for signal in signals),
        "losing_signals": sum(signal["PnL"] < 0 for signal in signals),
        "total_pnl": stats["Equity Final [$]"] - cash,
        "signals": in_order(signals),
        "performance_curve": _curve(columns(folder / "equity.parquet"), cash),
    }


def _signal(number: int, row: dict[str, str]) -> dict[str, Any]:
    """A trade; what is blank in the file is absent, what has no name of ours keeps its own."""
    cells = {name: plain(cell) for name, cell in row.items() if cell}
    ours = {_SIGNAL.get(name, name): value for name, value in cells.items()}
    return {
        **ours,
        "signal_index": number,
        "type": "buy" if cells["Size"] > 0 else "sell",
        "quantity": abs(cells["Size"]),
        "return_pct": cells["ReturnPct"] * 100,
        "hold_bars": cells["ExitBar"] - cells["EntryBar"],
        "status": "closed",
    }


def _curve(equity: dict[str, list[Any]], cash: float) -> list[dict[str, Any]]:
    """Drawdown as percent; how long one had lasted where it ended, in ``drawdown_duration``."""
    points = []
    rows_ = zip(
        equity["time"], equity["Equity"], equity["DrawdownPct"], equity["DrawdownDuration"],
        strict=True,
    )  # fmt: skip
    for number, (moment, value, drawdown, lasted) in enumerate(rows_):
        point = {
            "idx": number,
            "timestamp": moment,
            "equity": value,
            "drawdown": drawdown * 100,
            "cumulative_pnl": value - cash,
            "cumulative_pnl_pct": (value - cash) / cash * 100,
        }
        if isinstance(lasted, timedelta):
            point["drawdown_duration"] = lasted
        points.append(point)
    return points
