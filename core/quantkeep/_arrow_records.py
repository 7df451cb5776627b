"""From records to Arrow columns: what a large append costs least in, where an engine keeps columns.

The rules are those of :mod:`quantkeep.sealing`, held against a column at a time. Whatever is not
plainly right is left to it: it takes a record at a time, and names the one that it refuses.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC
from itertools import islice
from operator import attrgetter
from typing import Any, Final

import pyarrow as pa

from quantkeep._arrow_in import CHUNK_ROWS, ArrowRows, check_all
from quantkeep._arrow_schema import scalar_type
from quantkeep.collection import Collection, SealedRow
from quantkeep.columns import Column, Kind, acceptable_types
from quantkeep.errors import QuantkeepError
from quantkeep.hosts import Hosts

_INSTANT: Final = pa.timestamp("us", tz="UTC")
_ABSENT: Final = type(None)
_PART: Final = 131_072  # records that become columns before a backend is given them
_zone: Final = attrgetter("tzinfo")


def of_records(collection: Collection, records: Sequence[Any], hosts: Hosts) -> ArrowRows | None:
    """The rows of *records*, as columns; ``None`` where they must be looked at one by one.

    So it is where they are of several classes, an instant is not in UTC, or a record is refused.
    """
    if len({*map(type, records)}) != 1:
        return None
    try:
        taken = map(collection.sealer.taker(type(records[0])), records)
        table = pa.concat_tables(_tables(collection, taken, hosts))
        check_all(collection, table)
    except (_Unplain, QuantkeepError, pa.ArrowException, ValueError, OverflowError):
        return None
    return ArrowRows(collection, table)


class RecordColumns:
    """Sealed rows of *records*, which become columns while a backend reads them.

    A part is made once, when it is first read, and kept: a commit that is tried again reads the
    same columns. Reading raises what refuses a record, each time. ``len()`` counts all rows.

    Args:
        records: what is to be appended; nobody changes it until the commit has returned.
        seal: the rows of those from one place to another, one by one; it names what it refuses.
    """

    def __init__(
        self,
        collection: Collection,
        records: Sequence[Any],
        hosts: Hosts,
        seal: Callable[[int, int], Sequence[SealedRow]],
    ) -> None:
        self._collection = collection
        self._records = records
        self._hosts = hosts
        self._seal = seal
        self._parts: list[pa.Table] = []

    def __len__(self) -> int:
        return len(self._records)

    def parts(self) -> Iterator[pa.Table]:
        """Tables as of :class:`ArrowRows`, one behind the other."""
        for number, start in enumerate(range(0, len(self._records), _PART)):
            if number == len(self._parts):
                self._parts.append(self._made(start, start + _PART))
            yield self._parts[number]

    def __iter__(self) -> Iterator[SealedRow]:
        for table in self.parts():
            yield from ArrowRows(self._collection, table)

    def _made(self, start: int, stop: int) -> pa.Table:
        made = of_records(self._collection, self._records[start:stop], self._hosts)
        if made is not None:
            return made.table
        rows = self._seal(start, stop)
        return canonical_table(self._collection, (row.values for row in rows))


def canonical_table(collection: Collection, rows: Iterable[Sequence[Any]]) -> pa.Table:
    """The canonical values of *rows* as columns, in the types of :class:`ArrowRows`."""
    columns = [*zip(*rows, strict=True)] or [()] * len(collection.columns)
    arrays = [
        pa.array(values, scalar_type(column.kind))
        for column, values in zip(collection.columns, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=[*collection.names])


class _Unplain(Exception):
    """There is a value in a column that has to be looked at."""


def _tables(
    collection: Collection, rows: Iterator[tuple[Any, ...]], hosts: Hosts
) -> Iterator[pa.Table]:
    """In chunks: turning a million tuples at once is slower by half."""
    while chunk := [*islice(rows, CHUNK_ROWS)]:
        columns = zip(collection.columns, zip(*chunk, strict=True), strict=True)
        arrays = [_array(collection, column, values, hosts) for column, values in columns]
        yield pa.Table.from_arrays(arrays, names=[*collection.names])


def _array(collection: Collection, column: Column, values: tuple[Any, ...], hosts: Hosts) -> Any:
    if values[0] is None and values.count(None) == len(values):  # much is, and this is quick
        types = {_ABSENT}
    else:
        types = {*map(type, values)}
    allowed = acceptable_types(column)
    if allowed is not None and not types <= allowed:
        raise _Unplain
    if types == {_ABSENT}:
        return pa.nulls(len(values), scalar_type(column.kind))
    if column.kind is Kind.TIMESTAMP and not (column.choices or column.between):
        return _instants(values)
    if not _is_plain(column, types - {_ABSENT}):
        seal, place = collection.sealer.scalar, collection.places[column.name]
        values = tuple(None if value is None else seal(place, value, hosts) for value in values)
    return pa.array(values, scalar_type(column.kind))


def _instants(values: tuple[Any, ...]) -> Any:
    if not {*map(_zone, filter(None, values))} <= {UTC}:
        raise _Unplain
    return pa.array(values, _INSTANT).cast(pa.int64())


def _is_plain(column: Column, types: set[type]) -> bool:
    """Whether Arrow does to values of *types* all that has to be done, and :func:`check`."""
    if column.kind is Kind.TEXT:
        return not column.between
    if column.kind in (Kind.REAL, Kind.INTEGER):
        return True
    return column.kind is not Kind.DOCUMENT and not any(map(column.needs_converting, types))
