"""The standard types of constraints, and the parameters each requires (KB-42, Z-67).

Fractions are of 1 (0.1 is a tenth), percentages of 100, and bounds are inclusive unless they say
otherwise. A keep is opened with further types by ``choices={"constraints.type": [...]}``; the
parameters of those are not looked at. Parameters beyond the required ones are kept as they are.
"""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal

import attrs

from quantkeep.errors import InvalidValue


@attrs.frozen
class Param:
    """A parameter: what it is called, which values it takes, and that in words."""

    name: str
    takes: Callable[[Any], bool]
    expected: str
    required: bool = True


@attrs.frozen
class ConstraintType:
    """A standard type.

    Attributes:
        scope: where it bites; what a constraint of this type has unless it says otherwise.
        doc: what it demands.
        one_of: parameters of which at least one must be given.
        ordered: pairs of parameters (low, high) that must not cross.
    """

    name: str
    scope: Literal["generator", "portfolio", "execution", "risk", "data"]
    doc: str
    params: tuple[Param, ...]
    one_of: tuple[str, ...] = ()
    ordered: tuple[tuple[str, str], ...] = ()

    def check(self, params: Mapping[str, Any], constraint_id: str) -> None:
        """Hold *params* against this type.

        Raises:
            InvalidValue: one is missing, or is not what the type takes; names it.
        """
        for param in self.params:
            self._check_one(param, params, constraint_id)
        if self.one_of and not any(params.get(name) is not None for name in self.one_of):
            names = ", ".join(self.one_of)
            raise self._refused(constraint_id, self.one_of[0], None, f"at least one of {names}")
        for low, high in self.ordered:
            self._check_order(params, constraint_id, low, high)

    def _check_one(self, param: Param, params: Mapping[str, Any], constraint_id: str) -> None:
        value = params.get(param.name)
        if value is None and not param.required:
            return
        if value is None or not param.takes(value):
            raise self._refused(constraint_id, param.name, value, param.expected)

    def _check_order(
        self, params: Mapping[str, Any], constraint_id: str, low: str, high: str
    ) -> None:
        least, greatest = params.get(low), params.get(high)
        if least is not None and greatest is not None and least > greatest:
            raise self._refused(constraint_id, low, least, f"at most {high}, which is {greatest!r}")

    def _refused(self, constraint_id: str, name: str, value: Any, expected: str) -> InvalidValue:
        said = "is required" if value is None else f"cannot be {value!r}"
        return InvalidValue(
            f"{said} for {self.name} (constraint {constraint_id!r})",
            record="Constraint", field=f"params.{name}", value=value, expected=expected,
        )  # fmt: skip


def check_params(type_name: str, params: Any, constraint_id: str) -> None:
    """Hold *params* against the standard type *type_name*; types of your own take any.

    Raises:
        InvalidValue: a required parameter is missing or of another kind; names it.
    """
    if not isinstance(params, Mapping):
        raise InvalidValue(
            f"of constraint {constraint_id!r} are no mapping",
            record="Constraint", field="params", value=params, expected="names and values",
        )  # fmt: skip
    if type_name in STANDARD:
        STANDARD[type_name].check(params, constraint_id)


# -- kinds of parameters -------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return type(value) in (int, float, Decimal) and math.isfinite(value)


def _number(
    name: str,
    unit: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    required: bool = True,
    whole: bool = False,
) -> Param:
    def takes(value: Any) -> bool:
        fits = type(value) is int if whole else _is_number(value)
        return fits and low <= value <= high

    least = f", at least {low:g}" if low > -math.inf else ""
    most = f", at most {high:g}" if high < math.inf else ""
    return Param(name, takes, f"{unit}{least}{most}", required)


def _text(name: str, expected: str) -> Param:
    return Param(name, lambda value: isinstance(value, str) and bool(value), expected)


def _texts(name: str, expected: str) -> Param:
    def takes(value: Any) -> bool:
        listed = isinstance(value, list | tuple) and bool(value)
        return listed and all(isinstance(one, str) and one for one in value)

    return Param(name, takes, f"a list of {expected}, not empty")


def _one_of(name: str, *values: str) -> Param:
    return Param(name, lambda value: value in values, "one of " + ", ".join(map(repr, values)))


# -- the table -----------------------------------------------------------------------------------

_TYPES: Final = (
    ConstraintType(
        "BAN_TEMPLATE",
        "generator",
        "No strategy is made from these templates.",
        (_texts("template_ids", "template ids"),),
    ),
    ConstraintType(
        "ALLOW_FEATURES_ONLY",
        "generator",
        "Strategies use these features and no others.",
        (_texts("features", "names of features"),),
    ),
    ConstraintType(
        "BAN_FEATURES",
        "generator",
        "Strategies do not use these features.",
        (_texts("features", "names of features"),),
    ),
    ConstraintType(
        "LIMIT_PARAM_RANGE",
        "generator",
        "A parameter of strategies stays in a range: min and max belong to it, above and below "
        "do not.",
        (
            _text("param", "the name of a parameter"),
            *(_number(name, "a number", required=False) for name in ("min", "max")),
            *(_number(name, "a number", required=False) for name in ("above", "below")),
        ),
        one_of=("min", "max", "above", "below"),
        ordered=(("min", "max"), ("above", "below"), ("min", "below"), ("above", "max")),
    ),
    ConstraintType(
        "MAX_COMPLEXITY",
        "generator",
        "A strategy has at most so many nodes: rules, indicators and operators in its spec.",
        (_number("max", "a count of nodes", 1, whole=True),),
    ),
    ConstraintType(
        "MIN_SIGNAL_DENSITY",
        "generator",
        "A strategy signals on at least this fraction of bars.",
        (_number("min", "a fraction of bars", 0, 1),),
    ),
    ConstraintType(
        "MAX_SIGNAL_DENSITY",
        "generator",
        "A strategy signals on at most this fraction of bars.",
        (_number("max", "a fraction of bars", 0, 1),),
    ),
    ConstraintType(
        "MAX_POSITIONS",
        "portfolio",
        "At most so many positions are open at once.",
        (_number("max", "a count of positions", 0, whole=True),),
    ),
    ConstraintType(
        "MAX_POSITION_WEIGHT",
        "portfolio",
        "No position is a larger fraction of equity; above 1 with leverage.",
        (_number("max", "a fraction of equity", 0),),
    ),
    ConstraintType(
        "SECTOR_CAP",
        "portfolio",
        "The positions of one sector are together at most this fraction of equity.",
        (_text("sector", "a sector"), _number("max", "a fraction of equity", 0)),
    ),
    ConstraintType(
        "SECTOR_TILT",
        "portfolio",
        "A sector weighs this much more (or, negative, less) than in the benchmark.",
        (_text("sector", "a sector"), _number("tilt", "a difference of weights", -1, 1)),
    ),
    ConstraintType(
        "MAX_CORR_TO_PORTFOLIO",
        "portfolio",
        "A strategy's returns correlate with the portfolio's at most this much.",
        (_number("max", "a correlation", -1, 1),),
    ),
    ConstraintType(
        "LEVERAGE_LIMIT",
        "risk",
        "Gross exposure is at most so many times equity.",
        (_number("max", "a multiple of equity", 0),),
    ),
    ConstraintType(
        "ADV_PARTICIPATION_CAP",
        "execution",
        "An order is at most this fraction of the average daily volume.",
        (_number("max", "a fraction of volume", 0, 1),),
    ),
    ConstraintType(
        "SPREAD_BPS_CAP",
        "execution",
        "No order is sent while the spread is wider than this, in basis points of the mid price.",
        (_number("max", "basis points", 0),),
    ),
    ConstraintType(
        "ORDER_TYPE_ALLOWLIST",
        "execution",
        "Only orders of these types are sent.",
        (_texts("order_types", "order types"),),
    ),
    ConstraintType(
        "LATENCY_GUARD",
        "execution",
        "No order is sent on market data older than this.",
        (_number("max_ms", "milliseconds", 0),),
    ),
    ConstraintType(
        "MAX_DAILY_LOSS_PCT",
        "risk",
        "Trading stops for the day at this loss, in percent of the equity at the day's start.",
        (_number("max", "percent", 0, 100),),
    ),
    ConstraintType(
        "MAX_DRAWDOWN_PCT",
        "risk",
        "The fall from the highest equity stays within this, in percent of it.",
        (_number("max", "percent", 0, 100),),
    ),
    ConstraintType(
        "STOP_DISTANCE_MIN_MAX",
        "risk",
        "A stop stands at least min and at most max from the entry, as fractions of its price.",
        (_number("min", "a fraction of the price", 0), _number("max", "the same", 0)),
        ordered=(("min", "max"),),
    ),
    ConstraintType(
        "NO_LOOKAHEAD",
        "data",
        "What a bar shows is used so many bars later at the earliest.",
        (_number("lag_bars", "a count of bars", 1, whole=True),),
    ),
    ConstraintType(
        "NAN_POLICY",
        "data",
        "What is done about missing values: the bar is left out, the last value goes on, or the "
        "backtest is refused.",
        (_one_of("policy", "drop", "forward_fill", "refuse"),),
    ),
    ConstraintType(
        "CALENDAR_POLICY",
        "data",
        "Bars are those of this trading calendar; others are left out or make the data refused.",
        (
            _text("calendar", "a calendar, such as XNYS or 24/7"),
            _one_of("policy", "drop", "refuse"),
        ),
    ),
)

STANDARD: Final[Mapping[str, ConstraintType]] = {each.name: each for each in _TYPES}
