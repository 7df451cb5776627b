"""Numbers that follow from others: filled when they are left out, checked when they are given.

    @record("fills", log=True)
    class Fill(Derives):
        derived = (Derived("notional", ("qty", "price"), lambda q, p: q * p, "qty * price"),)

The same formula serves a record as it is made, and whole columns of an Arrow table.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import attrs

from quantkeep.collection import Collection
from quantkeep.errors import InvalidValue
from quantkeep.records import Record

if TYPE_CHECKING:
    import pyarrow as pa

# What others computed and rounded is kept as they gave it; another unit or sign is refused.
RELATIVE: Final = 1e-3
ABSOLUTE: Final = 1e-2
_PART: Final = 65_536  # rows of a table that are worth a thread


@attrs.frozen
class Derived:
    """The float *field* is *formula* of the floats *inputs*; *rule* says so in words.

    The formula uses arithmetic alone, so that it can be given columns as well as numbers. Nothing
    follows where an input is ``None``, or where the outcome is not finite.
    """

    field: str
    inputs: tuple[str, ...]
    formula: Callable[..., Any]
    rule: str

    def value(self, inputs: Sequence[float | None]) -> float | None:
        """What follows from *inputs*."""
        if None in inputs:
            return None
        try:
            follows: float = self.formula(*inputs)
        except ZeroDivisionError:
            return None
        return follows if math.isfinite(follows) else None

    def check(self, given: float, inputs: Sequence[float | None], record: str) -> None:
        """Hold a value that was *given* against the formula.

        Raises:
            InvalidValue: they differ by more than 0.1 % and by more than 0.01.
        """
        follows = self.value(inputs)
        if follows is None or not math.isfinite(given) or _agree(given, follows):
            return
        said = ", ".join(f"{n}={v!r}" for n, v in zip(self.inputs, inputs, strict=True))
        raise InvalidValue(
            f"is {given!r}, but {self.rule} is {follows!r} ({said})",
            record=record, field=self.field, value=given,
            expected="that value, or none at all: then it is filled in",
        )  # fmt: skip


def _agree(given: float, follows: float) -> bool:
    scale = max(abs(given), abs(follows))
    return abs(given - follows) <= max(ABSOLUTE, RELATIVE * scale)


@attrs.frozen(kw_only=True, slots=True)
class Derives(Record):
    """A record some of whose numbers follow from others, as *derived* says, in that order."""

    derived: ClassVar[tuple[Derived, ...]] = ()

    def __attrs_post_init__(self) -> None:
        for rule in self.derived:
            given = getattr(self, rule.field)
            inputs = [getattr(self, name) for name in rule.inputs]
            if not all(type(v) in (float, int) for v in inputs):
                continue  # absent, or refused when it is stored
            if given is None:
                object.__setattr__(self, rule.field, rule.value(inputs))
            elif type(given) in (float, int):
                rule.check(given, inputs, type(self).__name__)

    def replace(self, **changes: Any) -> Self:
        """A copy with *changes*; what follows from them is derived anew, unless given too."""
        stale = {
            rule.field: None
            for rule in self.derived
            if rule.field not in changes and not changes.keys().isdisjoint(rule.inputs)
        }
        return attrs.evolve(self, envelope=None, **stale, **changes)


# -- columns ---------------------------------------------------------------------------------------


def fill(collection: Collection, table: "pa.Table") -> "pa.Table":
    """*table*, with what follows filled in where it is null, and checked where it is given.

    Raises:
        InvalidValue: a value contradicts its formula; names the row.
    """
    import pyarrow as pa

    from quantkeep.ahead import ahead

    rules = getattr(collection.record, "derived", ())
    if not rules or not table.num_rows:
        return table

    def filled(start: int) -> "pa.Table":
        return _filled(collection, rules, table.slice(start, _PART), start)

    return pa.concat_tables(ahead(filled, range(0, table.num_rows, _PART)))


def _filled(
    collection: Collection, rules: Sequence[Derived], part: "pa.Table", start: int
) -> "pa.Table":
    """*part* of a table, the rows from *start* on."""
    import pyarrow.compute as pc

    for rule in rules:
        follows, given = _follows(rule, part), part.column(rule.field)
        _check_column(rule, part, follows, collection.name, start)
        filled = pc.coalesce(given, follows)
        part = part.set_column(collection.places[rule.field], rule.field, filled)
    return part


def _follows(rule: Derived, table: "pa.Table") -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    outcome = rule.formula(*(_Numbers(table.column(name)) for name in rule.inputs)).column
    return pc.if_else(pc.is_finite(outcome), outcome, pa.scalar(None, pa.float64()))


class _Numbers:
    """A column that formulas reckon with as with a number; dividing by zero gives infinity."""

    def __init__(self, column: Any) -> None:
        self.column = column

    def _apply(self, function: str, *operands: Any) -> "_Numbers":
        import pyarrow.compute as pc

        plain = [o.column if isinstance(o, _Numbers) else float(o) for o in operands]
        return _Numbers(pc.call_function(function, plain))

    def __add__(self, other: Any) -> "_Numbers":
        return self._apply("add", self, other)

    def __radd__(self, other: Any) -> "_Numbers":
        return self._apply("add", other, self)

    def __sub__(self, other: Any) -> "_Numbers":
        return self._apply("subtract", self, other)

    def __rsub__(self, other: Any) -> "_Numbers":
        return self._apply("subtract", other, self)

    def __mul__(self, other: Any) -> "_Numbers":
        return self._apply("multiply", self, other)

    def __rmul__(self, other: Any) -> "_Numbers":
        return self._apply("multiply", other, self)

    def __truediv__(self, other: Any) -> "_Numbers":
        return self._apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> "_Numbers":
        return self._apply("divide", other, self)


def _check_column(rule: Derived, table: "pa.Table", follows: Any, record: str, start: int) -> None:
    import pyarrow.compute as pc

    given = table.column(rule.field)
    if pc.all(pc.equal(given, follows), min_count=0).as_py():
        return
    scale = pc.max_element_wise(pc.abs(given), pc.abs(follows))
    allowed = pc.max_element_wise(pc.multiply(scale, RELATIVE), ABSOLUTE)
    differs = pc.greater(pc.abs(pc.subtract(given, follows)), allowed)
    row = pc.index(differs, True).as_py()
    if row < 0:
        return
    values = [table.column(name)[row].as_py() for name in (rule.field, *rule.inputs)]
    rule.check(values[0], values[1:], f"{record}[{start + row}]")
