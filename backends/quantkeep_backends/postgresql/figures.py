"""SQL for what a comparison of columns does not say: figures of tallies, elements of documents."""

import math
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from quantkeep.columns import Column, Kind
from quantkeep.query import Measure, quotient
from quantkeep_backends._sql.engine import Expression, Figure, Inexact

if TYPE_CHECKING:
    from quantkeep_backends.postgresql.engine import PostgresqlEngine

_ROUNDING: Final = 2.0**-53
_TOLERANCE: Final = 1e-10


def figure(
    engine: "PostgresqlEngine", measure: Measure, column: Column, stored: Expression
) -> Figure:
    """How *measure* is computed; of reals it may raise :class:`Inexact` in the end."""
    function = measure.function
    if function == "count":
        return Figure((sa.func.count(stored),), lambda count: count)
    if function in ("min", "max"):
        ranked = as_text(stored) if column.kind is Kind.UUID else stored
        best = getattr(sa.func, function)(ranked)
        if column.kind is Kind.UUID:  # there is no min(uuid) before PostgreSQL 18
            return Figure((best,), lambda value: value and column.python(value))
        return Figure((best,), lambda value: column.python(engine.scalar(column, value)))
    # abs() of the least bigint is no bigint
    wide = stored if column.kind is Kind.REAL else sa.cast(stored, sa.Numeric)
    values = sa.func.abs(wide) if function == "mean_abs" else stored
    if column.kind is Kind.REAL:
        return _real(function, values, stored)
    finish = _exact_integer if column.kind is Kind.INTEGER else _exact_decimal
    total = sa.func.sum(values), sa.func.count(stored)
    return Figure(total, lambda amount, count: finish(function, amount, count))


def _exact_integer(function: str, amount: Any, count: int) -> Any:
    if amount is None:
        return None
    return int(amount) if function == "sum" else quotient(int(amount), count)


def _exact_decimal(function: str, amount: Any, count: int) -> Any:
    return amount if amount is None or function == "sum" else quotient(amount, count)


def _real(function: str, values: Expression, stored: Expression) -> Figure:
    """By the server, with what is needed to know how far off the result can be."""
    parts = (sa.func.sum(values), sa.func.sum(sa.func.abs(stored)), sa.func.count(stored))

    def finish(amount: float | None, size: float | None, count: int) -> Any:
        if amount is None or size is None:
            return None
        if math.isnan(size):
            return math.nan
        if not count * _ROUNDING * size <= _TOLERANCE * abs(amount):
            raise Inexact
        return amount if function == "sum" else quotient(amount, count)

    return Figure(parts, finish)


# -- canonical scalars, in SQL --------------------------------------------------------------------


def as_text(stored: Expression) -> Expression:
    """*stored* as text that sorts by code point."""
    return sa.cast(stored, sa.Text).collate("C")


def canonical(column: Column, stored: Expression) -> Expression:
    """The canonical scalar of a stored value, to be compared with one of another kind."""
    if column.kind is Kind.TIMESTAMP:
        return sa.cast(sa.extract("epoch", stored) * _literal("1000000"), sa.BigInteger)
    if column.kind is Kind.BOOLEAN:
        return sa.cast(sa.cast(stored, sa.Integer), sa.BigInteger)
    if column.kind is Kind.DECIMAL:
        return as_text(sa.func.trim_scale(stored))
    if column.kind is Kind.DATE:
        return as_text(sa.func.to_char(stored, _literal("'YYYY-MM-DD'")))
    if column.kind in (Kind.UUID, Kind.DOCUMENT):
        return as_text(stored)
    return stored


def exactly(column: Column, scalar: Expression) -> Expression:
    """A number as an integer, if it is one: floats that are none equal no integer.

    Both sides as integers, for PostgreSQL would compare them as floats, and 2**53 is not 2**53 + 1.
    """
    if column.kind is not Kind.REAL:
        return scalar
    low, high = _double(f"-{2**63}"), _double(f"{2**63}")
    whole = sa.and_(scalar == sa.func.trunc(scalar), scalar >= low, scalar < high)
    return sa.case((whole, sa.cast(scalar, sa.BigInteger)), else_=sa.null())


def _literal(sql: str) -> Expression:
    return sa.literal_column(sql)


def _double(text: str) -> Expression:
    return sa.cast(_literal(f"'{text}'"), sa.Double())


# -- documents ------------------------------------------------------------------------------------


def contains(document: Expression, kind: str, element: Expression) -> Expression:
    """Whether *document* is a list that has *element*.

    The first part can be found by an index, and takes 1.0 for 1; the second does not.
    """
    held = sa.cast(document, JSONB)
    array = sa.func.jsonb_typeof(held) == sa.literal_column("'array'")
    if kind in ("true", "false"):
        wanted: Expression = sa.cast(sa.literal_column(f"'{kind}'"), JSONB)
        return sa.and_(array, held.op("@>", is_comparison=True)(wanted))
    wanted = sa.func.to_jsonb(sa.cast(element, sa.Text))
    if kind == "integer":
        wanted = sa.cast(sa.cast(element, sa.Text), JSONB)
    found = sa.and_(array, held.op("@>", is_comparison=True)(wanted))
    if kind == "text":
        return found
    listed = sa.case((array, held), else_=sa.cast(sa.literal_column("'[]'"), JSONB))
    each = sa.func.jsonb_array_elements(listed).table_valued("value").alias("element").c.value
    as_written = sa.cast(each, sa.Text) == sa.cast(wanted, sa.Text)
    rows: sa.Select[Any] = sa.select(sa.literal_column("1")).where(as_written)
    return sa.and_(found, sa.exists(rows))
