"""Code that makes of rows what is sent, written out and compiled once.

Every row that is written comes through it. A loop over the columns takes three times as long.
"""

import struct
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any, Final

from quantkeep.collection import Collection
from quantkeep.columns import Kind, Row
from quantkeep_backends.postgresql.engine import DAYS_TO_2000, MICROSECONDS_TO_2000, moment

Bind = Callable[[Row], list[Any]]
# The row, its digest, time of creation and revision, as COPY takes them
Wire = Callable[[Row, bytes, int, int], tuple[Any, ...]]

# As text of unknown type; NaN in binary form, which keeps its bits
_BOUND: Final = {
    Kind.INTEGER: "None if {0} is None else str({0})",
    Kind.REAL: "{0} if {0} is None or {0} != {0} else repr({0})",
    Kind.BOOLEAN: "None if {0} is None else 't' if {0} else 'f'",
    Kind.TIMESTAMP: "None if {0} is None else moment({0})",
}
# As bytes: texts in UTF-8, and the binary form of what else both sides had to print and parse
_PACKED: Final = {
    Kind.BINARY: "{0}",
    Kind.INTEGER: "None if {0} is None else integer({0})",
    Kind.REAL: "None if {0} is None else real({0})",
    Kind.BOOLEAN: "None if {0} is None else b'\\1' if {0} else b'\\0'",
    Kind.TIMESTAMP: f"None if {{0}} is None else integer({{0}} - {MICROSECONDS_TO_2000})",
}
# As the driver writes it
_WIRE: Final = {
    Kind.TIMESTAMP: f"None if {{0}} is None else {{0}} - {MICROSECONDS_TO_2000}",
    Kind.DATE: f"None if {{0}} is None else date({{0}}).toordinal() - {DAYS_TO_2000}",
    Kind.UUID: "None if {0} is None else unhex({0}.replace('-', ''))",
    Kind.DECIMAL: "None if {0} is None else Decimal({0})",
}
_KNOWN: Final = {
    "Decimal": Decimal,
    "date": date.fromisoformat,
    "integer": struct.Struct(">q").pack,
    "moment": moment,
    "real": struct.Struct(">d").pack,
    "token": struct.Struct(">q8x").unpack,
    "unhex": bytes.fromhex,
}


def binder(collection: Collection) -> Bind:
    """The function that makes of a row's content texts, and bytes where there is no text of it."""
    return _bound(collection, _BOUND, "{0}")


def packer(collection: Collection) -> Bind:
    """The function that makes of it what goes over the wire with a statement."""
    return _bound(collection, _PACKED, "None if {0} is None else {0}.encode()")


def packed_forms(collection: Collection) -> list[int]:
    """Which of those are in binary form, as libpq is told."""
    return [int(column.kind in _PACKED) for column in collection.columns]


def _bound(collection: Collection, forms: dict[Kind, str], text: str) -> Bind:
    values, bound = _values(collection), ", ".join(_said(collection, forms, text))
    bind: Bind = _compiled(f"def made(values):\n ({values}) = values\n return [{bound}]")
    return bind


def wirer(collection: Collection) -> Wire:
    """The function that makes of a log's entry what COPY writes, its seal included."""
    sealed = f"token(digest)[0] ^ (revision << 20) ^ created ^ {collection.schema_version << 52}"
    stamps = f"revision, created - {MICROSECONDS_TO_2000}, {collection.schema_version}"
    said = ", ".join(_said(collection, _WIRE, "{0}"))
    lines = (
        "def made(values, digest, created, revision):",
        f"({_values(collection)}) = values",
        f"seal = (({sealed}) + {1 << 63} & {(1 << 64) - 1}) - {1 << 63}",
        f"return ({said}, {stamps}, digest, seal)",
    )
    wire: Wire = _compiled("\n ".join(lines))
    return wire


def _values(collection: Collection) -> str:
    return "".join(f"v{place}, " for place in range(len(collection.columns)))


def _said(collection: Collection, forms: dict[Kind, str], text: str) -> Iterator[str]:
    for place, column in enumerate(collection.columns):
        yield forms.get(column.kind, text).format(f"v{place}")


def _compiled(code: str) -> Any:
    known: dict[str, Any] = dict(_KNOWN)
    exec(code, known)  # noqa: S102  # written here, of places alone
    return known["made"]
