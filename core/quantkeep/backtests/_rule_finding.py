"""Finding the formula by which a column of the curve follows from equity, if there is one."""

from collections.abc import Iterator
from math import isfinite
from typing import Any, Final

from quantkeep.backtests._decimals import digits_of, same_bits
from quantkeep.backtests._derivations import (
    DERIVED,
    FORMULAS,
    Inputs,
    Interrupted,
    Rule,
    Walk,
)

FEWEST_ROWS: Final = 32  # below it, saying how costs more than the column
_SAMPLE: Final = 16


def find_rules(table: Any) -> list[Rule]:
    """The rules that hold of *table*, the first row group."""
    if len(table) < FEWEST_ROWS or table["equity"].null_count:
        return []
    try:
        inputs = Walk().inputs(table)
    except Interrupted:
        return []
    rows = [*_first_rows(table)]
    found = (_rule_of(column, table, inputs, rows) for column in DERIVED)
    return [rule for rule in found if rule is not None]


def _rule_of(column: str, table: Any, inputs: Inputs, rows: list[Inputs]) -> Rule | None:
    given = table[column].slice(0, len(rows)).to_pylist()
    for rule in _candidates(column, table):
        likely = all(map(rule.is_likely, rows, given))
        if likely and same_bits(rule.outcome(inputs), table[column]):
            return rule
    return None


def _first_rows(table: Any) -> Iterator[Inputs]:
    """The first rows of the first symbol."""
    part = table.slice(0, _SAMPLE)
    symbol, *_ = symbols = part["symbol"].to_pylist()
    equities, pnls = part["equity"].to_pylist(), part["cumulative_pnl"].to_pylist()
    peak = start = equities[0]
    for each, equity, pnl in zip(symbols, equities, pnls, strict=True):
        if each != symbol:
            return
        peak = max(peak, equity)
        yield Inputs(equity, peak, start, pnl if pnl is not None else 0.0)


def _candidates(column: str, table: Any) -> Iterator[Rule]:
    given = table[column]
    if given.null_count:
        return
    digits = digits_of(given)  # which takes -0.0 for 0.0, as rounding makes both
    for start in _starts(column, table):
        for formula in FORMULAS[column]:
            yield Rule(column, formula, start)
            if digits is not None:
                yield Rule(column, formula, start, digits)
                yield Rule(column, formula, start, digits, "decimal")


def _starts(column: str, table: Any) -> list[float | None]:
    """What the account began with: its first equity, or what its first P&L says."""
    if column == "drawdown":
        return [None]
    equity, pnl = table["equity"][0].as_py(), table["cumulative_pnl"][0].as_py()
    if pnl is None or pnl == 0.0 or not isfinite(equity - pnl):
        return [None]
    guess = equity - pnl  # near it, if P&L is rounded: accounts begin with round sums
    return [None, *dict.fromkeys((guess, *(round(guess, digits) for digits in (2, 0, -2, -3))))]
