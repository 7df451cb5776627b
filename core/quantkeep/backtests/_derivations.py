"""Columns of the curve that follow from its equity, left out of the file and computed again.

A formula is used only if it gives back every value of the column, bit for bit; what was computed
again is held against a digest. The formulas are made of single IEEE operations, which every machine
rounds in the same way.

``equity`` is the point's, ``peak`` the highest so far of its symbol, ``start`` what the symbol
began with, and ``pnl`` the column ``cumulative_pnl``.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import attrs
import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.backtests._decimals import bits
from quantkeep.backtests._runs import Run, runs
from quantkeep.errors import Corrupt

DERIVED: Final = ("cumulative_pnl", "cumulative_pnl_pct", "drawdown")  # in this order
SOURCES: Final = ("symbol", "equity")
_MARGIN: Final = 1e-12  # of a scaled value; its own error is a ten-thousandth of that


class Inputs(NamedTuple):
    """What a formula is given: a float or an array of each."""

    equity: Any
    peak: Any
    start: Any
    pnl: Any


_Formula = Callable[[Inputs], Any]

# Written with operators, so that they can be given a few floats as well as whole columns.
FORMULAS: Final[Mapping[str, Mapping[str, _Formula]]] = {
    "cumulative_pnl": {
        "equity - start": lambda i: i.equity - i.start,
    },
    "cumulative_pnl_pct": {
        "(equity - start) / start * 100": lambda i: (i.equity - i.start) / i.start * 100.0,
        "(equity / start - 1) * 100": lambda i: (i.equity / i.start - 1.0) * 100.0,
        "(equity - start) * 100 / start": lambda i: (i.equity - i.start) * 100.0 / i.start,
        "(equity - start) / (start / 100)": lambda i: (i.equity - i.start) / (i.start / 100.0),
        "pnl / start * 100": lambda i: i.pnl / i.start * 100.0,
        "pnl * 100 / start": lambda i: i.pnl * 100.0 / i.start,
    },
    "drawdown": {
        "(peak - equity) / peak * 100": lambda i: (i.peak - i.equity) / i.peak * 100.0,
        "(1 - equity / peak) * 100": lambda i: (1.0 - i.equity / i.peak) * 100.0,
        "(peak - equity) * 100 / peak": lambda i: (i.peak - i.equity) * 100.0 / i.peak,
        "(equity - peak) / peak * -100": lambda i: (i.equity - i.peak) / i.peak * -100.0,
        "(equity / peak - 1) * -100": lambda i: (i.equity / i.peak - 1.0) * -100.0,
    },
}


class _Column:
    """An array that formulas reckon with as with a float; dividing by zero gives infinity."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array

    def _with(self, function: Callable[[Any, Any], Any], left: Any, right: Any) -> "_Column":
        plain = [o.array if isinstance(o, _Column) else o for o in (left, right)]
        return _Column(function(*plain))

    def __sub__(self, other: Any) -> "_Column":
        return self._with(pc.subtract, self, other)

    def __rsub__(self, other: Any) -> "_Column":
        return self._with(pc.subtract, other, self)

    def __mul__(self, other: Any) -> "_Column":
        return self._with(pc.multiply, self, other)

    def __truediv__(self, other: Any) -> "_Column":
        return self._with(pc.divide, self, other)


@attrs.frozen
class Rule:
    """How a column follows.

    Attributes:
        column: that follows.
        formula: one of :data:`FORMULAS`.
        start: what every symbol began with; ``None``: its own first equity.
        digits: the outcome is rounded to these; ``None``: it is not.
        rounding: ``"scaled"`` as NumPy rounds, ``"decimal"`` as Python does.
    """

    column: str
    formula: str
    start: float | None = None
    digits: int | None = None
    rounding: str = "scaled"

    def outcome(self, inputs: Inputs) -> Any:
        """What follows from whole columns."""
        start = inputs.start if self.start is None else pa.scalar(self.start)
        found = FORMULAS[self.column][self.formula](
            Inputs(*map(_Column, (inputs.equity, inputs.peak, start, inputs.pnl)))
        ).array
        if self.digits is None:
            return found
        return _ROUNDINGS[self.rounding](found, self.digits)

    def is_likely(self, inputs: Inputs, given: float) -> bool:
        """Whether one row does not speak against it; costs a thousandth of a look at all."""
        if self.start is not None:
            inputs = inputs._replace(start=self.start)
        try:
            found = FORMULAS[self.column][self.formula](inputs)
            if self.digits is None:
                return bool(found == given)
            if self.rounding == "decimal":
                return bool(round(found, self.digits) == given)
            return bool(round(found * 10.0**self.digits) / 10.0**self.digits == given)
        except (ArithmeticError, ValueError):
            return True  # infinities and NaN are for the columns to tell


def _round_scaled(floats: Any, digits: int) -> Any:
    """As NumPy does: scaled, rounded to even, scaled back; its errors near a tie included."""
    scale = 10.0**digits
    return pc.divide(_nearest(pc.multiply(floats, scale)), scale)


def _round_decimal(floats: Any, digits: int) -> Any:
    """As Python does: the exact value is rounded. It differs from scaling near a tie alone."""
    scaled = pc.multiply(floats, 10.0**digits)
    rounded = pc.divide(_nearest(scaled), 10.0**digits)
    beyond = pc.abs(pc.subtract(scaled, pc.trunc(scaled)))
    margin = pc.add(pc.multiply(pc.abs(scaled), _MARGIN), _MARGIN)
    ties = pc.fill_null(pc.less(pc.abs(pc.subtract(beyond, 0.5)), margin), False)
    exact = [round(value, digits) for value in floats.filter(ties).to_pylist()]
    return pc.replace_with_mask(rounded, ties, pa.array(exact, pa.float64()))


def _nearest(floats: Any) -> Any:
    return pc.round(floats, ndigits=0, round_mode="half_to_even")


_ROUNDINGS: Final = {"scaled": _round_scaled, "decimal": _round_decimal}


# -- walking along the curve -----------------------------------------------------------------------


@attrs.frozen
class State:
    """Where a symbol stood when a row group ended."""

    symbol: str
    peak: float
    start: float


class Interrupted(Exception):
    """A symbol's rows are not together, or its equity has nulls: nothing follows."""


@attrs.define
class Walk:
    """Goes along the curve, row group by row group."""

    state: State | None = None
    _seen: set[str] = attrs.field(factory=set)

    def inputs(self, table: Any) -> Inputs:
        """What formulas need of a row group; raises :class:`Interrupted`."""
        equity = table["equity"]
        if equity.null_count:
            raise Interrupted
        parts = [self._entered(run, equity) for run in runs(table["symbol"])]
        peaks, starts = zip(*parts, strict=True)
        pnl = table["cumulative_pnl"] if "cumulative_pnl" in table.schema.names else None
        return Inputs(equity, pa.concat_arrays(peaks), pa.concat_arrays(starts), pnl)

    def _entered(self, run: Run, equities: Any) -> tuple[Any, Any]:
        """The peaks of a run, and what its symbol began with, at each of its rows."""
        symbol, count = run.symbol, run.stop - run.start
        known = self.state if self.state and self.state.symbol == symbol else None
        if known is None and symbol in self._seen:
            raise Interrupted
        self._seen.add(symbol)
        equity = equities.slice(run.start, count)
        peaks = pc.cumulative_max(equity, start=known.peak if known else None)
        start = known.start if known else equity[0].as_py()
        self.state = State(symbol, peaks[-1].as_py(), start)
        return peaks, pa.repeat(pa.scalar(start, pa.float64()), count)


def derive(rules: Iterable[Rule], inputs: Inputs) -> dict[str, Any]:
    """The columns of *rules* for a row group."""
    derived: dict[str, Any] = {}
    for rule in rules:
        derived[rule.column] = rule.outcome(inputs)
        if rule.column == "cumulative_pnl":
            inputs = inputs._replace(pnl=derived[rule.column])
    return derived


# -- as it is remembered ---------------------------------------------------------------------------


def proof(floats: Any) -> str:
    """A digest of a row group's column, to hold against what is computed again."""
    return blake2b(memoryview(_buffer(floats)), digest_size=12).hexdigest()


def _buffer(floats: Any) -> Any:
    packed = bits(floats)
    return packed.buffers()[1].slice(packed.offset * 8, len(packed) * 8)


def check_proof(column: str, floats: Any, known: str) -> None:
    """Raises :class:`Corrupt` if what was computed is not what was saved."""
    if proof(floats) != known:
        raise Corrupt(
            f"performance_curve.{column}, computed from equity, is not what was saved: the stored "
            "formula or this machine's arithmetic differs; read it where it was written, and save "
            "it with Encoding(derive=False)"
        )
