"""How SQLite holds and compares values (Z-5).

Tables are STRICT. A REAL stands in an ANY column, which keeps -0.0 and the infinities; NaN stands
there as its eight bytes, big-endian, and blobs sort after all numbers, as NaN does in queries.
A DECIMAL is its canonical text: equal texts are equal values, and order is by ``decimal_key``.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from quantkeep.collection import Collection
from quantkeep.columns import Column, Kind, Scalar
from quantkeep.query import Measure, quotient
from quantkeep_backends._sql.engine import Engine, Expression, Figure, Inexact
from quantkeep_backends.sqlite.functions import decimal_key, decimal_of_key, real_from_sqlite

REVISION_BITS: Final = 40
REVISION_MASK: Final = (1 << REVISION_BITS) - 1
_NAN: Final = b"\xff"  # sorts after all numbers, and equals itself whatever its payload was
_ROUNDING: Final = 2.0**-53
_TOLERANCE: Final = 1e-10


class Any_(sa.types.UserDefinedType[Any]):  # noqa: N801  # SQLite's own name for it
    """A column that keeps every value as it is given."""

    cache_ok = True

    def get_col_spec(self, **asked: Any) -> str:
        return "ANY"


class _Rank(FunctionElement[Any]):
    """A stored real as it compares; also what an index on a real is made of."""

    inherit_cache = True
    type = sa.types.NullType()


@compiles(_Rank)
def _compile_rank(element: _Rank, compiler: Any, **asked: Any) -> str:
    stored = compiler.process(element.clauses, **asked)
    return f"CASE typeof({stored}) WHEN 'blob' THEN x'{_NAN.hex()}' ELSE {stored} END"


class _Contains(FunctionElement[bool]):
    inherit_cache = False  # its kind is no part of a cache's key
    type = sa.Boolean()
    kind = ""


@compiles(_Contains)
def _compile_contains(element: _Contains, compiler: Any, **asked: Any) -> str:
    document, wanted = (compiler.process(clause, **asked) for clause in element.clauses)
    value = f" AND element.value = {wanted}" if element.kind in ("text", "integer") else ""
    return (
        f"(json_type({document}) = 'array' AND EXISTS (SELECT 1 FROM json_each({document}) "
        f"AS element WHERE element.type = '{element.kind}'{value}))"
    )


class _Period(FunctionElement[str]):
    inherit_cache = False
    type = sa.Text()
    form = ""


@compiles(_Period)
def _compile_period(element: _Period, compiler: Any, **asked: Any) -> str:
    stored = compiler.process(element.clauses, **asked)
    # division truncates towards zero, and times before 1970 are negative
    past = f"(({stored} % 1000000 + 1000000) % 1000000)"
    return f"strftime('{element.form}', ({stored} - {past}) / 1000000, 'unixepoch')"


_TYPES: Final[dict[Kind, Callable[[], sa.types.TypeEngine[Any]]]] = {
    Kind.INTEGER: sa.Integer,
    Kind.BOOLEAN: sa.Integer,
    Kind.TIMESTAMP: sa.Integer,
    Kind.REAL: Any_,
    Kind.BINARY: sa.LargeBinary,
}


class _Compiler(SQLiteCompiler):
    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:
        return text  # INDEXED BY ... or NOT INDEXED


class _Dialect(SQLiteDialect_pysqlite):
    statement_compiler = _Compiler
    supports_statement_cache = False


class SqliteEngine(Engine):
    """See the top of this module."""

    dialect = _Dialect(paramstyle="qmark")
    table_options: dict[str, Any] = {"sqlite_strict": True}  # noqa: RUF012  # never changed

    def column_type(self, column: Column) -> sa.types.TypeEngine[Any]:
        return _TYPES.get(column.kind, sa.Text)()

    def check(self, column: Column) -> str | None:
        name = self.dialect.identifier_preparer.quote(_named(column))
        if column.kind is Kind.BOOLEAN:
            return f"{name} IN (0, 1)"
        if column.choices and not column.extensible:
            # written out: for a longer IN list SQLite builds a table, anew for each row
            return " OR ".join(f"{name} = {_literal(choice)}" for choice in column.choices)
        return None

    def stamps(self, collection: Collection) -> Sequence[sa.Column[Any]]:
        integer = sa.Integer
        kept = ["created_at"] if collection.log else ["revision", "created_at", "updated_at"]
        columns: list[sa.Column[Any]] = [
            sa.Column(name, integer, nullable=False) for name in (*kept, "schema_version")
        ]
        columns.append(sa.Column("digest", sa.LargeBinary, nullable=False))
        columns.append(sa.Column("seal", integer, nullable=False))
        if not collection.log:
            return columns
        place = sa.Computed(f"id & {REVISION_MASK}", persisted=False)
        revision = sa.Column("revision", integer, place, nullable=True)
        return [sa.Column("id", integer, primary_key=True), revision, *columns]

    # -- comparing -------------------------------------------------------------------------------

    def same(self, column: Column, stored: Expression) -> Expression:
        return _Rank(stored) if column.kind is Kind.REAL else stored

    def same_value(self, column: Column, scalar: Scalar) -> Any:
        return _NAN if isinstance(scalar, float) and math.isnan(scalar) else scalar

    def rank(self, column: Column, stored: Expression) -> Expression:
        if column.kind is Kind.DECIMAL:
            return sa.func.quantkeep_decimal_key(stored, type_=sa.types.NullType())
        return self.same(column, stored)

    def rank_value(self, column: Column, scalar: Scalar) -> Any:
        if column.kind is Kind.DECIMAL and isinstance(scalar, str):
            return decimal_key(scalar)
        return self.same_value(column, scalar)

    def distinct(self, column: Column, stored: Expression) -> Expression:
        """A null becomes a value of a type that the column cannot hold."""
        compared = self.same(column, stored)
        if not column.nullable:
            return compared
        null = "''" if column.kind is Kind.BINARY else "x'00'"
        return sa.func.coalesce(compared, sa.literal_column(null))

    def distinct_value(self, column: Column, scalar: Scalar) -> Any:
        """The counterpart of :meth:`distinct` for a canonical scalar."""
        if scalar is None:
            return "" if column.kind is Kind.BINARY else b"\x00"
        return self.same_value(column, scalar)

    def among(self, stored: Expression, listed: Expression) -> Expression:
        each = sa.func.json_each(listed).table_valued("value", name="listed")
        return stored.in_(sa.select(each.c.value))

    def list_value(self, column: Column, scalars: Sequence[Any]) -> Any | None:
        if column.kind in (Kind.REAL, Kind.BINARY):
            return None  # JSON has no bytes, and SQLite's reading of its reals may round
        return json.dumps([int(s) if isinstance(s, bool) else s for s in scalars])

    def contains(self, document: Expression, kind: str, element: Expression) -> Expression:
        has = _Contains(document, element)
        has.kind = kind
        return has

    # -- figures ---------------------------------------------------------------------------------

    def shown(self, column: Column, stored: Expression) -> Expression:
        """Itself, where equal values look the same: an aggregate would cost a call for each row."""
        shown: Expression = sa.func.min(stored) if column.kind is Kind.REAL else stored
        return shown

    def period(self, kind: Kind, stored: Expression, width: int) -> Expression:
        if kind is not Kind.TIMESTAMP:
            return sa.func.substr(stored, sa.literal_column("1"), sa.literal_column(str(width)))
        period = _Period(stored)
        period.form = {4: "%Y", 7: "%Y-%m", 10: "%Y-%m-%d", 13: "%Y-%m-%dT%H"}[width]
        return period

    def figure(
        self, measure: Measure, column: Column, stored: Expression, *, exact: bool
    ) -> Figure:
        function = measure.function
        if function == "count":
            return Figure((sa.func.count(stored),), lambda count: count)
        if function in ("min", "max"):
            return self._extreme(function, column, stored)
        if column.kind is Kind.DECIMAL:
            named = getattr(sa.func, f"quantkeep_decimal_{function}")
            return Figure((named(stored),), column.python)
        total = _exact if exact else {Kind.REAL: _quick_real}.get(column.kind, _quick_integer)
        return total(function, column.kind, stored)

    def _extreme(self, function: str, column: Column, stored: Expression) -> Figure:
        best = getattr(sa.func, function)
        if column.kind is not Kind.DECIMAL:
            return Figure((best(stored),), lambda v: column.python(self.scalar(column, v)))
        ranked = best(self.rank(column, stored))
        return Figure((ranked,), lambda key: key and column.python(decimal_of_key(key)))

    def scalar(self, column: Column, stored: Any) -> Scalar:
        if column.kind is Kind.BOOLEAN and stored in (0, 1):
            return bool(stored)
        scalar: Scalar = real_from_sqlite(stored) if column.kind is Kind.REAL else stored
        return scalar


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _named(column: Column) -> str:
    from quantkeep_backends._sql.names import column_name

    return column_name(column.name)


# -- sums and means --------------------------------------------------------------------------------


def _exact(function: str, kind: Kind, stored: Expression) -> Figure:
    """By our own aggregates, in Python: exact, and several times slower."""
    absolute = "_abs" if function == "mean_abs" else ""
    total = getattr(sa.func, f"quantkeep_{kind.value}_sum{absolute}")(stored)

    def finish(amount: Any, count: int) -> Any:
        if amount is None:
            return None
        exactly = int(amount) if kind is Kind.INTEGER else real_from_sqlite(amount)
        return exactly if function == "sum" else quotient(exactly, count)

    return Figure((total, sa.func.count(stored)), finish)


def _quick_integer(function: str, kind: Kind, stored: Expression) -> Figure:
    """By SQLite, which refuses a sum beyond 64 bits by an error."""
    values = sa.func.abs(stored) if function == "mean_abs" else stored

    def finish(amount: int | None, count: int) -> Any:
        return amount if amount is None or function == "sum" else quotient(amount, count)

    return Figure((sa.func.sum(values), sa.func.count(stored)), finish)


def _quick_real(function: str, kind: Kind, stored: Expression) -> Figure:
    """By SQLite, with what is needed to know how far off the result can be."""
    values = sa.func.abs(stored) if function == "mean_abs" else stored
    nans = sa.func.sum(sa.func.typeof(stored) == sa.literal_column("'blob'"))
    parts = (sa.func.sum(values), sa.func.sum(sa.func.abs(stored)), sa.func.count(stored), nans)

    def finish(amount: float | None, size: float | None, count: int, nans: int | None) -> Any:
        if not count:
            return None
        if nans:
            return math.nan
        if amount is None or size is None or not _is_close(amount, size, count):
            raise Inexact
        return amount if function == "sum" else quotient(amount, count)

    return Figure(parts, finish)


def _is_close(amount: float, size: float, count: int) -> bool:
    """Whether adding *count* values one by one lost too little to matter."""
    return count * _ROUNDING * size <= _TOLERANCE * abs(amount)
