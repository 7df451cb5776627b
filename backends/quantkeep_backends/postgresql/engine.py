"""How PostgreSQL holds and compares values (Z-5).

Every kind has the native type that keeps it exactly, and core's order is the native one: text by
code point (COLLATE "C"), NaN equal to itself and greatest, decimals by value. Only nulls have to be
told where they go. Parameters are text of unknown type, which the server reads as what stands on
the other side: so a statement is prepared once, whatever of its values is null.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, JSON, TIMESTAMP, UUID
from sqlalchemy.dialects.postgresql.base import PGDialect

from quantkeep.collection import Collection
from quantkeep.columns import EPOCH, Column, Kind, Scalar, plain_decimal
from quantkeep.query import Measure
from quantkeep_backends._sql.engine import Engine, Expression, Figure
from quantkeep_backends._sql.names import column_name
from quantkeep_backends.postgresql import figures

# The binary form of a timestamptz is microseconds since 2000, of a date days since 2000
MICROSECONDS_TO_2000: Final = 946_684_800_000_000
DAYS_TO_2000: Final = 730_120  # as date.toordinal() counts

TEXT: Final = sa.Text(collation="C")


def column_type(column: Column) -> sa.types.TypeEngine[Any]:
    """The native type of *column*."""
    if column.kind is Kind.DECIMAL:
        return sa.Numeric(column.precision, column.scale)
    return _TYPES[column.kind]


_TYPES: Final[dict[Kind, sa.types.TypeEngine[Any]]] = {
    Kind.TEXT: TEXT,
    Kind.INTEGER: sa.BigInteger(),
    Kind.REAL: sa.Double(),
    Kind.BOOLEAN: sa.Boolean(),
    Kind.TIMESTAMP: TIMESTAMP(timezone=True),
    Kind.DATE: sa.Date(),
    Kind.UUID: UUID(),
    Kind.BINARY: BYTEA(),
    Kind.DOCUMENT: JSON(),  # keeps the text to the byte; JSONB would not
}


@lru_cache(1024)  # all rows of a commit have the same stamps
def moment(scalar: int) -> str:
    """Text of a timestamp, to the microsecond."""
    return f"{(EPOCH + timedelta(microseconds=scalar)).replace(tzinfo=None)}+00"


def parameter(column: Column, scalar: Scalar) -> Any:
    """What is bound for a canonical *scalar* of *column*."""
    if scalar is None or isinstance(scalar, bytes | str):
        return scalar
    if isinstance(scalar, bool):
        return "t" if scalar else "f"
    return moment(int(scalar)) if column.kind is Kind.TIMESTAMP else repr(scalar)


class PostgresqlEngine(Engine):
    """See the top of this module.

    Args:
        schema: the one that the tables are in.
    """

    dialect: sa.Dialect = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # SQLAlchemy's

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.table_options = {"schema": schema}

    def quoted(self, name: str) -> str:
        """*name* as an identifier."""
        return '"' + name.replace('"', '""') + '"'

    def table(self, name: str) -> str:
        """The table *name* of the schema, as statements name it."""
        return f"{self.quoted(self.schema)}.{self.quoted(name)}"

    def column_type(self, column: Column) -> sa.types.TypeEngine[Any]:
        return column_type(column)

    def type_name(self, column: Column) -> str:
        """The native type of *column*, for casts."""
        return column_type(column).compile(dialect=self.dialect).removesuffix(' COLLATE "C"')

    def check(self, column: Column) -> str | None:
        if not column.choices or column.extensible:
            return None
        listed = ", ".join(map(literal, column.choices))
        return f"{self.quoted(column_name(column.name))} IN ({listed})"

    def stamps(self, collection: Collection) -> Sequence[sa.Column[Any]]:
        at, integer = TIMESTAMP(timezone=True), sa.BigInteger()
        columns: list[sa.Column[Any]] = [
            sa.Column("revision", integer, nullable=False, comment=REVISION),
            sa.Column("created_at", at, nullable=False, comment="when it was first stored"),
            sa.Column("updated_at", at, nullable=False, comment="when it was last written"),
            sa.Column("schema_version", integer, nullable=False, comment="of the declaration"),
            sa.Column("digest", BYTEA, nullable=False, comment="BLAKE2b of the content"),
            sa.Column("seal", integer, nullable=False, comment=SEAL),
        ]
        return [c for c in columns if not (collection.log and c.name == "updated_at")]

    # -- comparing -------------------------------------------------------------------------------

    def same(self, column: Column, stored: Expression) -> Expression:
        return figures.as_text(stored) if column.kind is Kind.DOCUMENT else stored

    def same_value(self, column: Column, scalar: Scalar) -> Any:
        return parameter(column, scalar)

    def rank(self, column: Column, stored: Expression) -> Expression:
        return stored

    def rank_value(self, column: Column, scalar: Scalar) -> Any:
        return parameter(column, scalar)

    def ordered(self, column: Column, ranked: Expression, *, down: bool) -> Expression:
        ordered = ranked.desc() if down else ranked.asc()
        if not column.nullable:
            return ordered
        return ordered.nulls_last() if down else ordered.nulls_first()

    def joined(
        self, column: Column, stored: Expression, other: Column, other_stored: Expression
    ) -> Expression:
        if column.kind is other.kind:
            return super().joined(column, stored, other, other_stored)
        left, right = figures.canonical(column, stored), figures.canonical(other, other_stored)
        if Kind.REAL in (column.kind, other.kind):
            left, right = figures.exactly(column, left), figures.exactly(other, right)
        both_null = sa.and_(stored.is_(None), other_stored.is_(None))
        return sa.or_(left == right, both_null)

    def distinct(self, column: Column, stored: Expression) -> Expression:
        return stored  # unique indexes are told that nulls are not distinct

    def among(self, stored: Expression, listed: Expression) -> Expression:
        values = sa.func.json_array_elements_text(sa.cast(listed, JSON)).table_valued("value")
        each = values.alias("listed").c.value
        if isinstance(stored.type, BYTEA):
            return stored.in_(sa.select(sa.func.decode(each, sa.literal_column("'hex'"))))
        return stored.in_(sa.select(sa.cast(each, stored.type)))

    def list_value(self, column: Column, scalars: Sequence[Any]) -> Any | None:
        return json.dumps([s.hex() if isinstance(s, bytes) else s for s in scalars])

    def contains(self, document: Expression, kind: str, element: Expression) -> Expression:
        return figures.contains(document, kind, element)

    # -- figures ---------------------------------------------------------------------------------

    def shown(self, column: Column, stored: Expression) -> Expression:
        return self.same(column, stored)

    def period(self, kind: Kind, stored: Expression, width: int) -> Expression:
        form = {4: "YYYY", 7: "YYYY-MM", 10: "YYYY-MM-DD", 13: 'YYYY-MM-DD"T"HH24'}[width]
        if kind is Kind.DATE:
            form = form[:10]  # it has no hours
        else:
            stored = sa.func.timezone(sa.literal_column("'UTC'"), stored)
        period: Expression = sa.func.to_char(stored, sa.literal_column(literal(form)))
        return period

    def figure(
        self, measure: Measure, column: Column, stored: Expression, *, exact: bool
    ) -> Figure:
        return figures.figure(self, measure, column, stored)

    def scalar(self, column: Column, stored: Any) -> Scalar:
        """The canonical scalar of what the driver read in binary form."""
        read = _READ.get(column.kind)
        scalar: Scalar = stored if stored is None or read is None else read(stored)
        return scalar


REVISION: Final = "place in its stream: dense, ascending, given by the store"
SEAL: Final = "ties the digest to the revision and stamps"


def literal(text: str) -> str:
    """*text* as a literal of standard SQL, without backslash escapes."""
    return "'" + text.replace("'", "''") + "'"


def date_text(days: int) -> str:
    """The canonical date that is *days* after 2000-01-01."""
    from datetime import date

    return date.fromordinal(days + DAYS_TO_2000).isoformat()


def uuid_text(data: bytes) -> str:
    """The canonical text of the sixteen bytes of a UUID."""
    digits = data.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _instant(binary: int) -> int:
    return binary + MICROSECONDS_TO_2000


_READ: Final[dict[Kind, Any]] = {
    Kind.TIMESTAMP: _instant,
    Kind.DATE: date_text,
    Kind.UUID: uuid_text,
    Kind.DECIMAL: plain_decimal,
}
