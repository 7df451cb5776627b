"""Where a metric is kept, by its name."""

import math
from typing import Any, Final, Literal

import attrs

from quantkeep.columns import Kind
from quantkeep.errors import InvalidQuery
from quantkeep.knowledge._rules import Rules
from quantkeep.knowledge.records import Metrics, MetricValue, Score
from quantkeep.query import Condition, Tally, Where
from quantkeep.records import Record

Best = Literal["greatest", "least"]

LEAST_IS_BEST: Final = ("max_drawdown_net", "volatility")


@attrs.frozen
class Measured:
    """Where a metric is: a column of a table, under conditions that pick its numbers."""

    record: type[Record]
    column: str
    where: tuple[Condition, ...]
    best: Best


class MetricFigures(Rules):
    """Metrics by name."""

    def _measured_by(self, metric: str, best: Best | None = None) -> Measured:
        """Where *metric* is: ``score_total``, a field of metrics, or a name of its details."""
        if metric == "score_total":
            return Measured(Score, metric, (_is_number(metric),), best or "greatest")
        columns = self.table(Metrics).collection.columns
        if any(c.name == metric and c.kind in (Kind.REAL, Kind.INTEGER) for c in columns):
            default: Best = "least" if metric in LEAST_IS_BEST else "greatest"
            return Measured(Metrics, metric, (_is_number(metric, columns),), best or default)
        named = (Where("name", "==", metric), _is_number("value"))
        return Measured(MetricValue, "value", named, best or "greatest")

    def metric_names(self) -> list[str]:
        """Every metric that strategies can be ranked by."""
        columns = self.table(Metrics).collection.columns
        fields = [c.name for c in columns if c.kind is Kind.REAL or c.name == "trades"]
        named = self.table(MetricValue).tally(Tally(by=("name",)))
        return ["score_total", *fields, *(name for name, _ in named)]

    def _known(self, metric: str) -> None:
        """Refuse a metric that no backtest has; raises :class:`InvalidQuery`."""
        names = self.metric_names()
        if metric not in names:
            raise InvalidQuery(f"no metric {metric!r}; there are {', '.join(names)}")


def _is_number(column: str, columns: Any = ()) -> Where:
    """Passes over absent values, and NaN, which is greater than every number."""
    if any(c.name == column and c.kind is Kind.INTEGER for c in columns):
        return Where(column, "!=", None)
    return Where(column, "<=", math.inf)
