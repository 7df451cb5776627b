"""What every command shows: rows of canonical scalars under typed columns."""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import attrs
import click

from quantkeep.columns import Column, Kind, Row


@attrs.frozen(kw_only=True)
class Listing:
    """Rows to show, in any format.

    Attributes:
        title: stands above a table.
        columns: of every row, in order.
        rows: tuples of canonical scalars; iterated once.
        shown: columns a table shows where there are too many for a screen; empty: all.
        caption: stands below a table.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Iterable[Row]
    shown: tuple[str, ...] = ()
    caption: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def narrowed(self, names: tuple[str, ...]) -> "Listing":
        """This listing with only the columns *names*, in that order."""
        places = [self._place(name) for name in names]
        take = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
        columns = tuple(self.columns[place] for place in places)
        return attrs.evolve(self, columns=columns, rows=map(take, self.rows), shown=())

    def _place(self, name: str) -> int:
        try:
            return self.names.index(name)
        except ValueError:
            known = ", ".join(self.names)
            raise click.BadParameter(f"no column {name!r}; there are {known}") from None


def text(name: str) -> Column:
    """A column of text."""
    return Column(name=name, kind=Kind.TEXT, nullable=True)


def timestamp(name: str) -> Column:
    """A column of instants."""
    return Column(name=name, kind=Kind.TIMESTAMP, nullable=True)


def integer(name: str) -> Column:
    """A column of integers."""
    return Column(name=name, kind=Kind.INTEGER, nullable=True)


def real(name: str) -> Column:
    """A column of floats."""
    return Column(name=name, kind=Kind.REAL, nullable=True)


def shortened(value: Any, limit: int) -> str:
    """The text of *value*, cut at *limit* characters."""
    whole = str(value)
    return whole if len(whole) <= limit else whole[: limit - 1] + "…"
