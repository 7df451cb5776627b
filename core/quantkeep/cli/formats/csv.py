"""CSV (RFC 4180): a header, then a line for each row; instants in ISO 8601, documents as JSON.

Nothing stands for null, ``""`` for empty text. What a spreadsheet would take for a formula is made
text by an apostrophe in front of it: text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a
line end (CWE-1236). Numbers are left alone.
"""

from collections.abc import Callable, Iterable
from typing import IO, Any, Final

from quantkeep.cli.formats.plain import plain
from quantkeep.cli.listing import Listing
from quantkeep.columns import Column, Kind

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_SPECIAL: Final = frozenset(',"\r\n')  # Python's own csv leaves a lone \r unquoted


def write(listing: Listing, out: IO[str]) -> None:
    """Write *listing* to *out*."""
    cells = [_cell(column) for column in listing.columns]
    out.write(_line(listing.names))
    for row in listing.rows:
        out.write(_line(cell(scalar) for cell, scalar in zip(cells, row, strict=True)))


def _line(cells: Iterable[str]) -> str:
    return ",".join(cells) + "\n"


def _cell(column: Column) -> Callable[[Any], str]:
    as_text = harmless if column.kind is Kind.TEXT else plain(column.kind)
    return lambda scalar: "" if scalar is None else _quoted(as_text(scalar))


def harmless(text: str) -> str:
    """*text*, so that no spreadsheet runs it."""
    return "'" + text if text.startswith(_FORMULA) else text


def _quoted(text: str) -> str:
    if text and _SPECIAL.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
