"""What a sweep loads together: segments, their row groups, and where each begins in the order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import pyarrow as pa

from quantkeep.collection import Collection, Key
from quantkeep.columns import Scalar
from quantkeep.query import Where
from quantkeep_backends.parquet._bounds import Bounds
from quantkeep_backends.parquet._conditions import excluded
from quantkeep_backends.parquet._reader import Footer, Reader
from quantkeep_backends.parquet._segments import Segment

Ordering = Sequence[tuple[str, bool]]  # column, descending
Part = tuple[int, Any]
_BEYOND: Final[Part] = (2, 0)  # after every value


@attrs.frozen
class Unit:
    """Rows that are loaded together: a segment, later some row groups of it, or a table.

    Attributes:
        bound: no row comes before it in the order; of the first columns of the order, as many as
            are known.
    """

    bound: tuple[Part, ...]
    segment: Segment | None = None
    groups: Sequence[int] = ()
    table: pa.Table | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be read: a segment gives way to its row groups first."""
        return self.table is not None or bool(self.groups)


@attrs.frozen
class Asked:
    """What is to be read.

    Attributes:
        collection: in the form in which it is to be read.
        where: conditions that Arrow decides; others are the caller's.
        ordering: the whole order; see :meth:`quantkeep.query.Query.ordering`.
        limit: rows that are wanted at most, if no further condition takes some of them away.
        after: the cursor to go on behind.
        gone: keys that were deleted.
    """

    collection: Collection
    where: Sequence[Where]
    ordering: Ordering
    limit: int | None = None
    after: Sequence[Scalar] | None = None
    gone: Mapping[Key, int] = attrs.field(factory=dict)

    @property
    def down(self) -> bool:
        """Whether the first column of the order descends."""
        return self.ordering[0][1]


def groups_of(asked: Asked, reader: Reader, segment: Segment) -> Iterator[Unit]:
    """The row groups of *segment* that may have rows which are asked for."""
    footer = reader.footer(segment)
    found = [
        Unit(begin_of(asked, bounds), segment, (number,))
        for number in footer.groups
        if not is_past(
            asked, bounds := footer.bounds(asked.collection, number), footer.rows(number)
        )
    ]
    if len(found) > 1 and asked.limit is None and _is_interleaved(asked, footer, segment):
        first = max if asked.down else min
        yield Unit(first(u.bound for u in found), segment, [u.groups[0] for u in found])
    else:
        yield from found


def _is_interleaved(asked: Asked, footer: Footer, segment: Segment) -> bool:
    """Whether its row groups lie across each other in the order that is asked for.

    To sort them together is then cheaper than to merge them.
    """
    leading = (n for n, _ in asked.ordering if not _is_single(segment.bounds.get(n)))
    name = next(leading, "")
    spans = [_span(footer.bounds(asked.collection, n).get(name)) for n in footer.groups]
    return sum(spans) > 2 * _span(segment.bounds.get(name)) > 0


def _is_single(bounds: Bounds | None) -> bool:
    return bounds is not None and not bounds.nulls and bounds.least == bounds.greatest


def _span(bounds: Bounds | None) -> int:
    """How far apart the ends are, in a column of integers."""
    if bounds is None or not isinstance(bounds.least, int) or not isinstance(bounds.greatest, int):
        return 0
    return bounds.greatest - bounds.least


def sort(asked: Asked, units: list[Unit]) -> None:
    """Put *units* in the order in which they begin."""
    if asked.down:
        units.sort(key=lambda unit: (*unit.bound, _BEYOND), reverse=True)
    else:
        units.sort(key=lambda unit: unit.bound)


# -- bounds ----------------------------------------------------------------------------------------


def begin_of(asked: Asked, bounds: Mapping[str, Bounds]) -> tuple[Part, ...]:
    """Where rows within *bounds* begin in the order."""
    parts = []
    for name, down in asked.ordering:
        known = bounds.get(name)
        if known is None or down != asked.down:
            break
        if down:
            parts.append(_part(known.greatest))
        else:
            parts.append(_part(None if known.nulls else known.least))
        if known.nulls or known.least != known.greatest:
            break
    return tuple(parts)


def _part(scalar: Scalar) -> Part:
    return (0, 0) if scalar is None else (1, scalar)


def is_past(asked: Asked, bounds: Mapping[str, Bounds], rows: int) -> bool:
    """Whether no row within *bounds* is asked for."""
    if excluded(bounds, rows, asked.where):
        return True
    name, down = asked.ordering[0]
    if asked.after is None or name not in bounds:
        return False
    cursor, known = _part(asked.after[0]), bounds[name]
    if down:
        return _part(None if known.nulls else known.least) > cursor
    return _part(known.greatest) < cursor
