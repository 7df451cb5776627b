"""What is known of a chunk without reading it: the least and greatest of its indexed columns."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.collection import Collection
from quantkeep.columns import Kind
from quantkeep.query import Condition, Where, column_of
from quantkeep_backends.redis import ordering

_FEW: Final = 24  # distinct values that are noted one by one
_KINDS: Final = (Kind.TEXT, Kind.TIMESTAMP, Kind.INTEGER, Kind.DATE, Kind.UUID)

# Of a column: the least and greatest of its values, if there are any; whether some are null; all
# of them, if they are few.
Summary = tuple[bytes | None, bytes | None, bool, list[bytes] | None]


def indexed(collection: Collection) -> list[str]:
    """The columns that statistics are kept of."""
    names = dict.fromkeys(name for index in collection.indexes for name in index.columns)
    return [
        name
        for name in names
        if name in collection.places and collection.column(name).kind in _KINDS
    ]


def summed_up(collection: Collection, batch: pa.RecordBatch) -> bytes:
    """The statistics of a chunk's rows, as they are remembered."""
    said = {
        name: _summary(collection.column(name).kind, batch.column(name))
        for name in indexed(collection)
    }
    return msgspec.msgpack.encode(said)


def _summary(kind: Kind, column: Any) -> Summary:
    rows, present = len(column), len(column) - column.null_count
    if not present:
        return None, None, True, []
    distinct = None
    if kind in (Kind.TEXT, Kind.UUID):
        column = column.unique().drop_null()  # and those that follow look at less
        values = column.to_pylist() if len(column) <= _FEW else None
        distinct = values and [ordering.encoded(kind, value) for value in values]
    most = pc.min_max(column).as_py()
    low, high = (ordering.encoded(kind, most[end]) for end in ("min", "max"))
    return low, high, present < rows, distinct


def recalled(info: bytes) -> dict[str, Summary]:
    """The statistics that :func:`summed_up` gave."""
    return msgspec.msgpack.decode(info, type=dict[str, Summary])


def may_hold(
    collection: Collection, known: Mapping[str, Summary], conditions: Sequence[Condition]
) -> bool:
    """Whether a chunk may have rows that *conditions* are true of."""
    return all(
        _may_hold(collection, known[c.column], c)
        for c in conditions
        if isinstance(c, Where) and c.column in known
    )


def _may_hold(collection: Collection, summary: Summary, condition: Where) -> bool:
    low, high, nulls, distinct = summary
    kind = column_of(collection, condition.column).kind
    if condition.operator == "in":
        each = (Where(condition.column, "==", value) for value in condition.value)
        return any(_may_hold(collection, summary, one) for one in each)
    if condition.operator in ("!=", "contains") or condition.value is None:
        return nulls or condition.operator != "=="
    if low is None or high is None:
        return False
    if condition.operator == "prefix":
        wanted = ordering.prefix(condition.value)
        return low <= ordering.after(wanted) and high >= wanted
    bound = ordering.encoded(kind, condition.value)
    inside = {"<": low <= bound, "<=": low <= bound, ">": high >= bound, ">=": high >= bound}
    among = low <= bound <= high and (distinct is None or bound in distinct)
    return inside.get(condition.operator, among)
