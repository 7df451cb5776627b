"""What to read. The in-memory evaluation here *is* the meaning: engines must agree with it.

Conditions
    ``==`` and ``!=`` treat ``None`` as a value. ``<``, ``<=``, ``>``, ``>=`` are never true of
    ``None``. ``in`` means ``==`` to any. ``prefix`` is for text. ``contains`` asks whether a
    document, a list, has the given element. Text compares by code point, NaN equals itself and is
    greater than every other number, -0.0 equals 0.0.

Order
    By the given columns, each ascending or (``"-name"``) descending, ``None`` before everything;
    ties by the key (of a log: stream, then revision), in the direction of the last given column.
    Without an order: by the key, ascending. ``take="last"`` with a ``limit`` gives the last rows of
    that order, still in that order: the newest N of a log, oldest of them first (Z-38).

Cursor
    ``after`` is the cursor of the last row seen (:meth:`Query.cursor`): reading goes on behind it,
    whatever was written in between.
"""

from quantkeep.query._columns import ENVELOPE_COLUMNS, column_of, comparable, value_of
from quantkeep.query._conditions import Condition, Exists, Operator, Rows, Where, where
from quantkeep.query._ordering import cursor_key, sort_key
from quantkeep.query._query import Query
from quantkeep.query._tally import (
    Function,
    Measure,
    Per,
    Tally,
    Unit,
    exact_sum,
    quotient,
    total,
)

__all__ = [
    "ENVELOPE_COLUMNS",
    "Condition",
    "Exists",
    "Function",
    "Measure",
    "Operator",
    "Per",
    "Query",
    "Rows",
    "Tally",
    "Unit",
    "Where",
    "column_of",
    "comparable",
    "cursor_key",
    "exact_sum",
    "quotient",
    "sort_key",
    "total",
    "value_of",
    "where",
]
