"""Columns: what a field of a record may hold, and the one canonical form it is stored in.

Every value has a *canonical scalar*, the same on every backend (X-1 ... X-5, Z-5):

========== ==================== =====================================================
kind       Python type          canonical scalar
========== ==================== =====================================================
TEXT       str                  str, without NUL or lone surrogates
INTEGER    int                  int within 64 bits
REAL       float                float, bit for bit (NaN, infinities and -0.0 included)
DECIMAL    Decimal              str, plain notation without trailing zeros
BOOLEAN    bool                 bool
TIMESTAMP  aware datetime       int, microseconds since 1970-01-01 UTC
DATE       date                 str, ``YYYY-MM-DD``
UUID       UUID                 str, lower case with hyphens
BINARY     bytes                bytes
DOCUMENT   what JSON can hold,  str, canonical JSON (see :mod:`quantkeep.documents`)
           and registered types
========== ==================== =====================================================
"""

import enum
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import attrs

from quantkeep.errors import InvalidRecord, InvalidValue, TooLarge

Scalar = str | int | float | bytes | bool | None
Row = tuple[Scalar, ...]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
KEY_BYTES: Final = 512  # a btree page of every engine takes a key of this length
VALUE_BYTES: Final = 16 * 2**20  # what every engine takes in one value; of text, its UTF-8
_MICROSECOND: Final = timedelta(microseconds=1)


class Kind(enum.Enum):
    """What a column holds; see the table at the top of :mod:`quantkeep.columns`."""

    TEXT = "text"
    INTEGER = "integer"
    REAL = "real"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    UUID = "uuid"
    BINARY = "binary"
    DOCUMENT = "document"


PYTHON_TYPES: Final[dict[Kind, type]] = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.REAL: float,
    Kind.DECIMAL: Decimal,
    Kind.BOOLEAN: bool,
    Kind.TIMESTAMP: datetime,
    Kind.DATE: date,
    Kind.UUID: UUID,
    Kind.BINARY: bytes,
}

CANONICAL_TYPES: Final[dict[Kind, type]] = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.REAL: float,
    Kind.DECIMAL: str,
    Kind.BOOLEAN: bool,
    Kind.TIMESTAMP: int,
    Kind.DATE: str,
    Kind.UUID: str,
    Kind.BINARY: bytes,
    Kind.DOCUMENT: str,
}


@attrs.frozen(kw_only=True)
class Column:
    """One column of a collection, as its record declares it."""

    name: str
    kind: Kind
    nullable: bool = False
    choices: tuple[str, ...] = ()
    extensible: bool = False  # a keep may be opened with further choices
    precision: int = 38  # decimals: significant digits in all ...
    scale: int = 18  # ... and after the point
    finite: bool = False  # reals: NaN and infinities are refused
    between: tuple[float, float] | None = None  # inclusive
    doc: str = ""

    def __attrs_post_init__(self) -> None:
        if not self.name.isidentifier() or self.name.startswith("_"):
            raise InvalidRecord(f"{self.name!r} cannot name a column: use a plain identifier")

    def canonical(self, value: Any, *, record: str = "") -> Scalar:
        """The canonical scalar of *value*, for keys and query bounds.

        Raises:
            InvalidValue: the column does not take *value*.
        """
        if value is None and self.nullable:
            return None
        if value is None:
            raise self.refused(None, record)
        convert = self._converters.get(type(value)) or self._met(value, record)
        scalar = convert(value, record)
        if isinstance(scalar, str):
            check_text(scalar, record, self.name)
        elif type(scalar) is int:
            check_integer(scalar, record, self.name)
        return scalar

    @cached_property
    def _converters(self) -> dict[type, Callable[[Any, str], Scalar]]:
        """By the types that the column was given, and takes."""
        return {}

    def _met(self, value: Any, record: str) -> Callable[[Any, str], Scalar]:
        if self.kind is Kind.DOCUMENT:
            raise self.refused(value, record, "a column that can be compared")
        given = type(value)
        if given is not PYTHON_TYPES[self.kind] and not _acceptable(self.kind, value):
            raise self.refused(value, record)
        self._converters[given] = self.converter(given)
        return self._converters[given]

    @cached_property
    def asked(self) -> "Column":
        """What queries may ask to be equal to a value: also what could not be stored."""
        return attrs.evolve(self, nullable=True, between=None, finite=False)

    @cached_property
    def compared(self) -> "Column":
        """What queries may compare a value with: any value of the kind."""
        return attrs.evolve(self.asked, choices=())

    def python(self, scalar: Scalar) -> Any:
        """The Python value of a canonical *scalar*; documents are left as text."""
        return scalar if scalar is None else _TO_PYTHON.get(self.kind, _same)(scalar)

    @property
    def expected(self) -> str:
        """What the column takes, in words."""
        return _expectation(self) + (" or None" if self.nullable else "")

    def refused(self, value: object, record: str, expected: str | None = None) -> InvalidValue:
        """The error that says *value* cannot be taken."""
        said = "is required" if value is None else f"cannot hold {_shown(value)}"
        return InvalidValue(
            said, record=record, field=self.name, value=value, expected=expected or self.expected
        )

    def converter(self, given: type) -> Callable[[Any, str], Scalar]:
        """The function that turns a non-null value of type *given* into its canonical scalar."""
        convert = _TO_CANONICAL.get(self.kind)
        if self.kind is Kind.REAL and given is int:
            convert = _real_from_int
        checks = self.choices or self.finite or self.between
        if convert is None and not checks:
            return _unchanged
        return _Checked(self, convert) if checks else _Converted(self, convert)

    def needs_converting(self, given: type) -> bool:
        """Whether a value of type *given* differs from its scalar, or must be looked at."""
        plain = self.kind not in _TO_CANONICAL and not (self.kind is Kind.REAL and given is int)
        return not plain or bool(self.choices or self.finite or self.between)


def _unchanged(value: Any, record: str) -> Scalar:
    scalar: Scalar = value
    return scalar


def _same(value: Any) -> Any:
    return value


class _Converted:
    __slots__ = ("column", "convert")

    def __init__(self, column: Column, convert: Callable[[Any, Column, str], Scalar] | None):
        self.column = column
        self.convert = convert

    def __call__(self, value: Any, record: str) -> Scalar:
        return self.convert(value, self.column, record) if self.convert else value


class _Checked(_Converted):
    """Converts, and holds the value against choices, finiteness and bounds."""

    __slots__ = ("bounds", "choices")

    def __init__(self, column: Column, convert: Callable[[Any, Column, str], Scalar] | None):
        super().__init__(column, convert)
        self.choices = frozenset(column.choices)
        low, high = column.between or (float("-inf"), float("inf"))
        self.bounds = (low, high) if column.between or column.finite else None

    def __call__(self, value: Any, record: str) -> Scalar:
        if self.choices and value not in self.choices:
            raise self.column.refused(value, record)
        if self.bounds is not None and not self._within(value):
            raise self.column.refused(value, record)
        return super().__call__(value, record)

    def _within(self, value: Any) -> bool:
        assert self.bounds is not None
        low, high = self.bounds
        if self.column.finite and not float("-inf") < value < float("inf"):
            return False
        return bool(low <= value <= high)


# -- kinds that change on their way --------------------------------------------------------------


def microseconds(instant: datetime) -> int:
    """Microseconds since the epoch of an aware *instant*, exact."""
    elapsed = instant - EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def instant(scalar: int) -> datetime:
    """The UTC datetime of *scalar* microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=scalar)


def _timestamp(value: datetime, column: Column, record: str) -> int:
    if value.tzinfo is None:
        raise column.refused(
            value, record, "an aware datetime: give it a zone, .replace(tzinfo=UTC) if it is UTC"
        )
    return microseconds(value)


def plain_decimal(value: Decimal) -> str:
    """The canonical text of a finite decimal: plain notation, no trailing zeros, no ``-0``."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimal(value: Decimal, column: Column, record: str) -> str:
    if not value.is_finite():
        raise column.refused(value, record)
    if value and not -column.scale <= value.adjusted() < column.precision - column.scale:
        raise column.refused(value, record)  # before it is written out: 1E+999999999 is a gigabyte
    text = plain_decimal(value)
    whole, _, fraction = text.lstrip("-").partition(".")
    if len(fraction) > column.scale or len(whole.lstrip("0")) > column.precision - column.scale:
        raise column.refused(value, record)  # never rounded
    return text


def _date(value: date, column: Column, record: str) -> str:
    return value.isoformat()


def _uuid(value: UUID, column: Column, record: str) -> str:
    return str(value)


def _real_from_int(value: int, column: Column, record: str) -> float:
    try:
        real = float(value)
    except OverflowError:
        real = float("inf")
    if real != value:
        raise column.refused(value, record, "a float; this integer has no equal among them")
    return real


_TO_CANONICAL: Final[dict[Kind, Callable[[Any, Column, str], Scalar]]] = {
    Kind.TIMESTAMP: _timestamp,
    Kind.DECIMAL: _decimal,
    Kind.DATE: _date,
    Kind.UUID: _uuid,
}

_TO_PYTHON: Final[dict[Kind, Callable[[Any], Any]]] = {
    Kind.TIMESTAMP: instant,
    Kind.DECIMAL: Decimal,
    Kind.DATE: date.fromisoformat,
    Kind.UUID: UUID,
}


def to_python(kind: Kind) -> Callable[[Any], Any] | None:
    """The function that turns a non-null scalar into its Python value, if they differ."""
    return _TO_PYTHON.get(kind)


def _acceptable(kind: Kind, value: object) -> bool:
    return kind is Kind.REAL and type(value) is int


def acceptable_types(column: Column) -> frozenset[type] | None:
    """The exact types that *column* takes; ``None`` where any type may be (documents)."""
    if column.kind is Kind.DOCUMENT:
        return None
    types = {PYTHON_TYPES[column.kind]}
    if column.kind is Kind.REAL:
        types.add(int)
    if column.nullable:
        types.add(type(None))
    return frozenset(types)


# -- limits that every engine shares -------------------------------------------------------------


def check_text(text: str, record: str, field: str) -> None:
    """Refuse what some engine cannot hold: NUL and lone surrogates."""
    if "\0" in text:
        raise InvalidValue(
            "holds a NUL character, which not every engine can store",
            record=record, field=field, value=text, expected="text without \\x00",
        )  # fmt: skip
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(
            f"holds a lone surrogate at position {error.start}, which is not text",
            record=record, field=field, value=text, expected="text that UTF-8 can encode",
        ) from None  # fmt: skip


def check_integer(number: int, record: str, field: str) -> None:
    """Refuse an integer beyond 64 bits."""
    if not INT64_MIN <= number <= INT64_MAX:
        raise InvalidValue(
            f"cannot hold {_shown(number)}",
            record=record, field=field, value=number, expected="an integer within 64 bits",
        )  # fmt: skip


def check_key(text: str, record: str, field: str) -> None:
    """Refuse a key no engine could index."""
    if len(text) * 4 > KEY_BYTES and len(text.encode()) > KEY_BYTES:
        raise TooLarge(
            f"is a key of {len(text.encode())} bytes",
            record=record, field=field, value=text, expected=f"at most {KEY_BYTES} bytes of UTF-8",
        )  # fmt: skip


def check_value(value: Scalar, record: str, field: str) -> None:
    """Refuse text or bytes that some engine could not hold in one value."""
    if isinstance(value, str | bytes) and len(value) * 4 > VALUE_BYTES:
        size = len(value.encode() if isinstance(value, str) else value)
        if size > VALUE_BYTES:
            raise TooLarge(
                f"a value of {size:,} bytes",
                record=record, field=field, value=size,
                expected=f"at most {VALUE_BYTES:,} bytes: keep a file, and its name here",
            )  # fmt: skip


def _shown(value: object) -> str:
    if type(value) is int and value.bit_length() > 1_000:  # repr() refuses the longest
        return f"an integer of {value.bit_length():,} bits"
    text = f"{value!r} ({type(value).__name__})"
    return text if len(text) <= 120 else f"{text[:100]}... ({type(value).__name__})"


def _expectation(column: Column) -> str:
    if column.choices:
        return "one of " + ", ".join(map(repr, column.choices))
    words = {
        Kind.TEXT: "text",
        Kind.INTEGER: "an integer within 64 bits",
        Kind.REAL: "a finite float" if column.finite else "a float",
        Kind.DECIMAL: _digits(column),
        Kind.BOOLEAN: "True or False",
        Kind.TIMESTAMP: "an aware datetime",
        Kind.DATE: "a date",
        Kind.UUID: "a UUID",
        Kind.BINARY: "bytes",
        Kind.DOCUMENT: "a document",
    }[column.kind]
    return words + (f" from {column.between[0]} to {column.between[1]}" if column.between else "")


def _digits(column: Column) -> str:
    before, after = column.precision - column.scale, column.scale
    return f"a finite Decimal of at most {before} digits before and {after} after the point"
