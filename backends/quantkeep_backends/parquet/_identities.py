"""What rows of a log are known by: the columns in which no two are the same."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep import arrow
from quantkeep.collection import Collection
from quantkeep.model import Group
from quantkeep_backends.parquet._columns import INNER, canonical, one
from quantkeep_backends.parquet._hashes import Hashes, of_columns


def groups_of(collection: Collection) -> Iterator[Group]:
    """Each that its rows are known by."""
    yield from collection.unique
    if collection.identity:
        yield ("", *collection.identity)


def columns_of(collection: Collection, group: Group) -> tuple[str, ...]:
    """The columns that are not to repeat in *group*."""
    return (*collection.stream, *group[1:]) if group[0] == "" else group


def hashes_of(group: Group, columns: Sequence[Any]) -> Any:
    """The hash of what each row has in *columns*, those of *group*; null where it has none."""
    return of_columns(columns, optional=len(group) - 1 if group[0] == "" else 0)


def column_of(collection: Collection, table: pa.Table, name: str) -> Any:
    """A canonical column of a file's *table*, of nulls if the file does not have it."""
    column = collection.column(name)
    if name not in table.column_names:
        return pa.nulls(table.num_rows, arrow.scalar_type(column.kind))
    return canonical(column.kind, table.column(name))


def ascends(values: Any) -> bool:
    """Whether each of *values* is greater than the one before."""
    less = pc.less(values.slice(0, max(len(values) - 1, 0)), values.slice(1))
    return bool(pc.all(less, skip_nulls=False).as_py())


def worth_keeping(collection: Collection, table: pa.Table) -> Mapping[Group, Hashes]:
    """The hashes of a file's *table* that are kept with it: bounds do not tell what is new.

    They do where identifiers ascend from row to row, as those of many exchanges.
    """
    found: dict[Group, Hashes] = {}
    groups = [*groups_of(collection)] if collection.log else []  # others are held in memory
    order = pc.sort_indices(table.column(INNER[0])) if groups else None
    for group in groups:
        columns = [column_of(collection, table, name) for name in columns_of(collection, group)]
        if not ascends(one(columns[-1]).take(order).drop_null()):
            found[group] = Hashes(hashes_of(group, columns))
    return found
