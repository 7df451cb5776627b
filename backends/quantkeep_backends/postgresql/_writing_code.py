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
# As it is on the wire
_WIRE: Final = {
    Kind.TIMESTAMP: f"None if {{0}} is None else {{0}} - {MICROSECONDS_TO_2000}",
    Kind.DATE: f"None if {{0}} is None else date({{0}}).toordinal() - {DAYS_TO_2000}",
    Kind.UUID: "None if {0} is None else unhex({0}.replace('-', ''))",
    Kind.DECIMAL: "None if {0} is None else Decimal({0})",
}
_KNOWN: Final = {
    "Decimal": Decimal,
    "date": date.fromisoformat,
    "moment": moment,
    "token": struct.Struct(">q8x").unpack,
    "unhex": bytes.fromhex,
}


def binder(collection: Collection) -> Bind:
    """The function that makes parameters of a row's content."""
    values, bound = _values(collection), ", ".join(_said(collection, _BOUND))
    bind: Bind = _compiled(f"def made(values):\n ({values}) = values\n return [{bound}]")
    return bind


def wirer(collection: Collection) -> Wire:
    """The function that makes of a log's entry what COPY writes, its seal included."""
    sealed = f"token(digest)[0] ^ (revision << 20) ^ created ^ {collection.schema_version << 52}"
    stamps = f"revision, created - {MICROSECONDS_TO_2000}, {collection.schema_version}"
    lines = (
        "def made(values, digest, created, revision):",
        f"({_values(collection)}) = values",
        f"seal = (({sealed}) + {1 << 63} & {(1 << 64) - 1}) - {1 << 63}",
        f"return ({', '.join(_said(collection, _WIRE))}, {stamps}, digest, seal)",
    )
    wire: Wire = _compiled("\n ".join(lines))
    return wire


def _values(collection: Collection) -> str:
    return "".join(f"v{place}, " for place in range(len(collection.columns)))


def _said(collection: Collection, forms: dict[Kind, str]) -> Iterator[str]:
    for place, column in enumerate(collection.columns):
        yield forms.get(column.kind, "{0}").format(f"v{place}")


def _compiled(code: str) -> Any:
    known: dict[str, Any] = dict(_KNOWN)
    exec(code, known)  # noqa: S102  # written here, of places alone
    return known["made"]
