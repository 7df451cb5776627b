"""Curves of this store, of what engines say of equity."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any


def curve(moments: Sequence[str], equity: Sequence[float], start: float) -> list[dict[str, Any]]:
    """The points of a curve: drawdown in percent of the peak, P&L against *start*."""
    peaks = accumulate(equity, max)
    return [
        {
            "idx": number,
            "timestamp": moment,
            "equity": value,
            "drawdown": (peak - value) / peak * 100 if peak else None,
            "cumulative_pnl": value - start,
            "cumulative_pnl_pct": (value - start) / start * 100,
        }
        for number, (moment, value, peak) in enumerate(zip(moments, equity, peaks, strict=True))
    ]
