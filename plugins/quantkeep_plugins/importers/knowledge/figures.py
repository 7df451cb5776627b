"""The fields of metrics out of the statistics of backtesting.py, by its names."""

from collections.abc import Mapping
from typing import Any, Final

_AS_IT_IS: Final = {
    "sharpe_net": "Sharpe Ratio",
    "sortino_net": "Sortino Ratio",
    "calmar_net": "Calmar Ratio",
    "profit_factor": "Profit Factor",
}
_PERCENT: Final = {
    "total_return": "Return [%]",
    "cagr": "CAGR [%]",
    "volatility": "Volatility (Ann.) [%]",
    "win_rate": "Win Rate [%]",
    "exposure": "Exposure Time [%]",
}
_DRAWDOWN: Final = "Max. Drawdown [%]"
_TRADES: Final = "# Trades"


def key_metrics(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of :class:`quantkeep.knowledge.Metrics`: fractions of what are percentages there.

    Its drawdown is negative; ours is positive (Z-61).
    """
    found = {field: figures.get(name) for field, name in _AS_IT_IS.items()}
    for field, name in _PERCENT.items():
        found[field] = None if figures.get(name) is None else figures[name] / 100
    drawdown, trades = figures.get(_DRAWDOWN), figures.get(_TRADES)
    found["max_drawdown_net"] = None if drawdown is None else abs(drawdown) / 100
    found["trades"] = None if trades is None else int(trades)
    return found
