"""The same strategy across versions: what changed (KB-44, Z-65)."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from quantkeep.errors import InvalidValue
from quantkeep.knowledge._backtests import REPRODUCIBLE_BY, Backtests
from quantkeep.knowledge.answers import Change, Comparison
from quantkeep.knowledge.records import Backtest, Metrics, Score
from quantkeep.query import Where

ACROSS: Final = ("data_version", "engine_version", "model_versions")
_NOT_FIGURES: Final = ("backtest_id", "run_id", "iteration_id", "strategy_id", "details")


class Regression(Backtests):
    """Comparing backtests of one strategy."""

    def compare(self, before: str, after: str) -> Comparison:
        """Two backtests of one strategy: what differs in versions, metrics and scores.

        Raises:
            NotFound: one of them is not stored.
            InvalidValue: they are of two strategies.
        """
        earlier, later = self.backtest(before), self.backtest(after)
        if earlier.strategy_id != later.strategy_id:
            raise InvalidValue(
                f"{after!r} is of strategy {later.strategy_id!r}",
                record="Backtest", field="strategy_id", value=later.strategy_id,
                expected=f"a backtest of the same strategy, {earlier.strategy_id!r}",
            )  # fmt: skip
        return self._compared(earlier, later)

    def regressions(self, strategy_id: str, *, across: Sequence[str] = ACROSS) -> list[Comparison]:
        """The backtests of a strategy that differ in *across* and in nothing else, in pairs.

        Each is compared with the one before it, in the order they were stored; so a strategy under
        engines 1, 2 and 3 gives two comparisons.

        Raises:
            InvalidValue: *across* names what does not tell backtests apart.
        """
        _check_across(across)
        found = self.table(Backtest).list(
            Where("strategy_id", "==", strategy_id), order=("created_at",)
        )
        fixed = [name for name in REPRODUCIBLE_BY if name not in across]
        groups: dict[str, list[Backtest]] = {}
        for each in found:
            groups.setdefault(repr([getattr(each, name) for name in fixed]), []).append(each)
        return [
            self._compared(earlier, later)
            for group in groups.values()
            for earlier, later in pairwise(group)
            if earlier.reproducibility_key != later.reproducibility_key
        ]

    def _compared(self, earlier: Backtest, later: Backtest) -> Comparison:
        ids = earlier.backtest_id, later.backtest_id
        metrics = [self._find(Metrics, backtest_id) for backtest_id in ids]
        scores = [self._find(Score, backtest_id) for backtest_id in ids]
        versions = [{name: getattr(b, name) for name in REPRODUCIBLE_BY} for b in (earlier, later)]
        return Comparison(
            strategy_id=earlier.strategy_id,
            before=ids[0],
            after=ids[1],
            versions=_changes(*versions),
            metrics=_changes(*map(_figures_of, metrics)),
            scores=_changes(*map(_verdict, scores)),
        )


def _figures_of(metrics: Metrics | None) -> Mapping[str, Any]:
    if metrics is None:
        return {}
    fields = {name: v for name, v in metrics.as_dict().items() if name not in _NOT_FIGURES}
    return {**(metrics.details or {}), **fields}


def _verdict(score: Score | None) -> Mapping[str, Any]:
    if score is None:
        return {}
    names = ("score_total", "passed", "policy_version")
    return {name: getattr(score, name) for name in names}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    names = dict.fromkeys((*before, *after))
    pairs = ((name, before.get(name), after.get(name)) for name in names)
    return {name: Change(a, b) for name, a, b in pairs if not _same(a, b)}


def _same(a: Any, b: Any) -> bool:
    if type(a) is float and type(b) is float and math.isnan(a):
        return math.isnan(b)
    return bool(a == b)


def _check_across(across: Sequence[str]) -> None:
    for name in across:
        if name not in REPRODUCIBLE_BY or name == "strategy_id":
            raise InvalidValue(
                f"cannot be {name!r}",
                field="across", value=name,
                expected="some of " + ", ".join(n for n in REPRODUCIBLE_BY if n != "strategy_id"),
            )  # fmt: skip
