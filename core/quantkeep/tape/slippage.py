"""Figures of execution quality (CODEX-21, CODEX-18)."""

from typing import Final

import attrs

from quantkeep.query import Condition, Measure, Tally
from quantkeep.table import Table
from quantkeep.tape.records import Slippage

_MEASURES: Final = (
    Measure("count"),
    Measure("mean", "slippage_bps"),
    Measure("mean_abs", "slippage_bps"),
    Measure("max", "slippage_bps"),
    Measure("min", "slippage_bps"),
    Measure("mean", "estimation_error_bps"),
)


@attrs.frozen
class SlippageStats:
    """Slippage of live fills, in basis points; the figures are ``None`` where *count* is 0.

    Attributes:
        avg_est_error_bps: mean of actual less estimated, over the fills that had an estimate.
    """

    count: int
    avg_bps: float | None
    avg_abs_bps: float | None
    max_bps: float | None
    min_bps: float | None
    avg_est_error_bps: float | None


def statistics(table: Table[Slippage], conditions: tuple[Condition, ...]) -> SlippageStats:
    """The figures of the fills that meet *conditions*, computed where they are."""
    (figures,) = table.tally(Tally(measures=_MEASURES, where=conditions))
    return SlippageStats(*figures)
