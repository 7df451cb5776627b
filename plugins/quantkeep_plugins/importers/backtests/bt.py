"""Backtests of bt: a result for each strategy of ``stats.csv``.

A portfolio is one symbol, ``portfolio``, with the curve and the statistics; what it traded are the
others, with their transactions.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from quantkeep import NotFound
from quantkeep_plugins.importers.backtests.cells import columns, plain, rows
from quantkeep_plugins.importers.backtests.curves import curve
from quantkeep_plugins.importers.backtests.storing import Result, day, in_order, task_id

PORTFOLIO: Final = "portfolio"
_NOTES: Final = (
    "instants of bt have no zone: UTC is taken",
    "bt numbers no results: ids follow from the strategy's name and period",
)


def recognises(place: Path) -> bool:
    """A folder with its statistics and transactions."""
    return (place / "stats.csv").exists() and any(place.glob("transactions_*.csv*"))


def results(place: Path) -> Iterator[Result]:
    """A result for each strategy; raises :class:`NotFound`."""
    if not recognises(place):
        raise NotFound(f"{place} has no stats.csv and transactions_*.csv of bt")
    stats = _stats(place / "stats.csv")
    prices = [*rows(place / "prices.csv.gz")]
    for name, said in stats.items():
        yield _result(place, name, said, prices)


def _stats(path: Path) -> dict[str, dict[str, Any]]:
    """The columns of the file: a strategy each, dates and numbers and blanks in one."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in rows(path):
        figure = row.pop("")
        for name, cell in row.items():
            found[name][figure] = plain(cell)
    return found


def _result(place: Path, name: str, said: dict[str, Any], prices: list[dict[str, str]]) -> Result:
    start, end = day(said["start"]), day(said["end"])
    points = [(row[""], plain(row[name])) for row in prices if row.get(name)]
    equity = [float(value) for _, value in points]
    first = equity[0] if equity else 100.0
    portfolio = {
        **{figure: value for figure, value in said.items() if figure not in _MAPPED},
        "symbol": PORTFOLIO,
        "max_drawdown": abs(said["max_drawdown"]) * 100,
        "total_pnl_pct": said["total_return"] * 100,
        "signals": None,
        "performance_curve": curve([moment for moment, _ in points], equity, first),
    }
    original = {
        "task_id": task_id("bt", name, start, end),
        "strategy": name,
        "start_date": start,
        "end_date": end,
        "timeframe": "1d",
        "status": "completed",
        "metadata": {"engine": "bt"},
        **_weights(place, name),
        "symbols": [portfolio, *_securities(place, name)],
    }
    return Result(original=original, notes=_NOTES)


_MAPPED: Final = ("max_drawdown", "total_return")


def _securities(place: Path, name: str) -> list[dict[str, Any]]:
    """What the strategy traded; one that never trades has a file without rows."""
    path = next(iter(place.glob(f"transactions_{name}.csv*")), None)
    traded: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows(path) if path else ():
        if row.get("Security"):
            traded[row["Security"]].append(_transaction(row))
    return [
        {"symbol": symbol, "total_signals": len(signals), "signals": in_order(signals)}
        for symbol, signals in traded.items()
    ]


def _transaction(row: dict[str, str]) -> dict[str, Any]:
    quantity = float(row["quantity"])
    return {
        "timestamp": row["Date"],
        "type": "buy" if quantity > 0 else "sell",
        "entry_price": float(row["price"]),
        "quantity": abs(quantity),
    }


def _weights(place: Path, name: str) -> dict[str, Any]:
    """A frame that names no result; that of the strategy whose name begins like the file's."""
    found = [
        path for path in place.glob("weights_*.parquet")
        if name.startswith(path.stem.removeprefix("weights_"))
    ]  # fmt: skip
    return {"weights": columns(found[0])} if found else {}
