"""Tables for people. As wide as the screen on a terminal, as wide as needed in a pipe."""

import re
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Final

from quantkeep.cli.formats.plain import iso, plain
from quantkeep.cli.listing import Listing, shortened
from quantkeep.columns import Column, Kind, Row

if TYPE_CHECKING:
    from rich.table import Table

_NUMBERS: Final = (Kind.INTEGER, Kind.REAL, Kind.DECIMAL)
_PIPE: Final = 10_000  # columns of a console nobody looks at
_WIDEST: Final = 500  # characters of a cell ...
_DOCUMENT: Final = 80  # ... and of one with a document or with bytes
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def write(listing: Listing, out: IO[str]) -> None:
    """Write *listing* to *out*."""
    # Python's own width of a terminal; a pipe has none
    out.write(drawn(listing, None if out.isatty() else _PIPE) + "\n")


def drawn(listing: Listing, width: int | None = _PIPE) -> str:
    """*listing* as lines of text, *width* characters wide at most; ``None``: as the terminal."""
    from rich.console import Console

    rows = [*listing.rows]
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        if not rows:
            console.print(f"{listing.title}: none")
        else:  # beside the table, which would wrap them to its own width
            console.print(listing.title, style="table.title")
            console.print(_table(listing, rows))
            console.print(listing.caption or "", style="table.caption")
    # rich fills every line up with spaces
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).rstrip()


def _table(listing: Listing, rows: list[Row]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    places = _visible(listing, rows)
    for place in places:
        column = listing.columns[place]
        number = column.kind in _NUMBERS
        table.add_column(column.name, justify="right" if number else "left", no_wrap=number)
    cells = [cell(column) for column in listing.columns]
    for row in rows:
        table.add_row(*(cells[place](row[place]) for place in places))
    return table


def _visible(listing: Listing, rows: list[Row]) -> list[int]:
    """The places of columns to show: those that some row has a value in."""
    places = range(len(listing.columns))
    if listing.shown:
        shown = [listing.names.index(name) for name in listing.shown if name in listing.names]
        places = [p for p in shown if any(row[p] is not None for row in rows)]  # type: ignore[assignment]
    return [*places]


def cell(column: Column) -> Callable[[Any], str]:
    """The function that gives the text of a scalar of *column* in a table."""
    as_text = _CELLS.get(column.kind, plain(column.kind))
    limit = _DOCUMENT if column.kind in (Kind.DOCUMENT, Kind.BINARY) else _WIDEST
    return lambda scalar: "" if scalar is None else printable(shortened(as_text(scalar), limit))


def printable(text: str) -> str:
    """*text* without what a terminal would obey."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _instant(scalar: int) -> str:
    text = iso(scalar).replace("T", " ")
    return text.replace(".000000Z", "Z")


def _real(scalar: float) -> str:
    exact = repr(scalar)
    return exact if len(exact) <= 12 else f"{scalar:.10g}"


_CELLS: Final[dict[Kind, Callable[[Any], str]]] = {Kind.TIMESTAMP: _instant, Kind.REAL: _real}
