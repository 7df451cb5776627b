"""What a sweep loads together: segments, their row groups, and where each begins in the order."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import attrs
import pyarrow as pa

from quantkeep.collection import Collection, Key
from quantkeep.columns import Scalar
from quantkeep.query import Where
from quantkeep_backends.parquet._bounds import Bounds
from quantkeep_backends.parquet._conditions import excluded, included
from quantkeep_backends.parquet._footer import Footer
from quantkeep_backends.parquet._reader import Reader
from quantkeep_backends.parquet._segments import NEWEST_ROWS, Segment

Ordering = Sequence[tuple[str, bool]]  # column, descending
Part = tuple[int, Any]
_BEYOND: Final[Part] = (2, 0)  # after every value


@attrs.frozen
class Unit:
    """Rows that are loaded together: a segment, later some row groups of it, or a table.

    Attributes:
        bound: no row comes before it in the order; of the first columns of the order, as many as
            are known.
        whole: every row is asked for, of a segment that is not small: it is read for this alone.
    """

    bound: tuple[Part, ...]
    segment: Segment | None = None
    groups: Sequence[int] = ()
    table: pa.Table | None = None
    whole: bool = False

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
        schema: the columns that are to be read, of those of a file; ``None``: all of them.
    """

    collection: Collection
    where: Sequence[Where]
    ordering: Ordering
    limit: int | None = None
    after: Sequence[Scalar] | None = None
    gone: Mapping[Key, int] = attrs.field(factory=dict)
    schema: pa.Schema | None = None

    @property
    def down(self) -> bool:
        """Whether the first column of the order descends."""
        return self.ordering[0][1]


def groups_of(asked: Asked, reader: Reader, segment: Segment) -> Iterator[Unit]:
    """The row groups of *segment* that may have rows which are asked for."""
    footer, whole = reader.footer(segment), _is_whole(asked, segment)
    found = [
        Unit(begin_of(asked, bounds), segment, (number,), whole=whole)
        for number in footer.groups
        if not is_past(
            asked, bounds := footer.bounds(asked.collection, number), footer.rows(number)
        )
    ]
    return iter(found) if asked.limit is not None else _joined(asked, footer, found)


def _joined(asked: Asked, footer: Footer, found: Sequence[Unit]) -> Iterator[Unit]:
    """*found*, those of one stream together that lie across each other in the order.

    To sort them is then cheaper than to merge them.
    """
    for _, alike in groupby(found, key=lambda unit: unit.bound[:-1]):
        units = [*alike]
        if len(units) > 1 and _is_interleaved(asked, footer, units):
            bound = (max if asked.down else min)(unit.bound for unit in units)
            groups = [unit.groups[0] for unit in units]
            yield attrs.evolve(units[0], bound=bound, groups=groups)
        else:
            yield from units


def _is_whole(asked: Asked, segment: Segment) -> bool:
    """Whether every row of *segment* is asked for, and these are more than one keeps at hand."""
    return (
        segment.rows > NEWEST_ROWS
        and asked.limit is None
        and asked.after is None
        and included(segment.bounds, asked.where)
        and not any(map(segment.may_have, asked.gone))
    )


def _is_interleaved(asked: Asked, footer: Footer, units: Sequence[Unit]) -> bool:
    """Whether each of *units* reaches over many others, in a column of integers."""
    place = len(units[0].bound) - 1
    if place < 0:
        return False
    name, _ = asked.ordering[place]
    spans = list[tuple[int, int]]()
    for unit in units:
        bounds = footer.bounds(asked.collection, unit.groups[0])[name]
        if not isinstance(bounds.least, int) or not isinstance(bounds.greatest, int):
            return False
        spans.append((bounds.least, bounds.greatest))
    whole = max(last for _, last in spans) - min(first for first, _ in spans)
    return sum(last - first for first, last in spans) > 2 * whole > 0


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
