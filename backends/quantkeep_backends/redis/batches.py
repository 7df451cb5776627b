"""A batch as the arguments of the commit script."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from quantkeep.batch import (
    Absent,
    Append,
    AtRevision,
    Batch,
    Delete,
    Expectation,
    Holding,
    Present,
    Put,
    Require,
)
from quantkeep.collection import SealedRow
from quantkeep.errors import TooLarge
from quantkeep_backends.redis import entries, ordering
from quantkeep_backends.redis.shapes import Shape, arranged

# The arguments of an append, by its number; none where it has to be looked at anew.
Appended = Callable[[Shape, Append, int], list[Any] | None]
Identities = Callable[[Delete], str]  # of the entries that are to be deleted

MOST: Final = 50_000  # records of a commit, or entries that cannot be packed

_EXPECTED: Final[dict[type, str]] = {Absent: "absent", Present: "present"}


def rows_of(write: Put | Append, shape: Shape) -> Sequence[SealedRow]:
    """The rows with the columns of the keep: another program may have added some (Z-3)."""
    rows = (write.row,) if isinstance(write, Put) else write.rows
    arrange = arranged(write.collection, shape.collection)
    if arrange is not None:
        return [row._replace(values=arrange(row.values)) for row in rows]
    return rows if isinstance(rows, Sequence) else [*rows]


def put(shape: Shape, write: Put) -> list[Any]:
    """The arguments of a put."""
    (row,) = rows_of(write, shape)
    collection = shape.collection
    key = shape.key(shape.take_key(row.values))
    fields = _fields(shape, row)
    note = shape.note(row.values, key)
    holds = [] if note else [
        *shape.members(row.values, key), *shape.groups(row.values), *shape.references(row.values)
    ]  # fmt: skip
    nulls = [n for n, scalar in zip(collection.names, row.values, strict=True) if scalar is None]
    return [
        "P", collection.name, key, shape.stream(shape.take_stream(row.values)),
        "1" if collection.immutable else "", *expected(write.expect),
        row.digest.hex(), collection.schema_version, _stamp(row.created_at),
        _stamp(row.updated_at), _token(shape, row), note, *holds,
        len(fields) // 2, *fields, len(nulls), *nulls,
    ]  # fmt: skip


def _fields(shape: Shape, row: SealedRow) -> list[Any]:
    fields: list[Any] = []
    for name, write, scalar in zip(shape.collection.names, shape.writers, row.values, strict=True):
        if scalar is not None:
            fields += (name, write(scalar))
    return fields


def _token(shape: Shape, row: SealedRow) -> str:
    place = shape.collection.places.get("token")
    token = None if place is None else row.values[place]
    return "" if token is None else str(token)


def _stamp(microseconds: int | None) -> str:
    return "" if microseconds is None else str(microseconds)


def append(shape: Shape, write: Append, *, plain: bool) -> list[Any]:
    """The arguments of an append, row by row; *plain* ones refer to nothing."""
    rows = rows_of(write, shape)
    check_size(len(rows))
    said: list[Any] = ["A", shape.collection.name, "1" if plain else "", len(shape.timely)]
    said += [name for name, _, _ in shape.timely]
    said.append(len(rows))
    for row in rows:
        said += _entry(shape, row)
        if not plain:
            said += (0, *shape.groups(row.values), *shape.references(row.values))
    return said


def _entry(shape: Shape, row: SealedRow) -> list[Any]:
    values = row.values
    return [
        shape.stream(shape.take_stream(values)), row.digest,
        _stamp(row.created_at), _stamp(row.updated_at),
        entries.body(shape, row), shape.identity(values),
        *[ordering.encoded(kind, values[place]) for _, place, kind in shape.timely],
    ]  # fmt: skip


def only_entry(batch: Batch, shape: Shape) -> SealedRow | None:
    """The one row of a batch that does nothing but append it to a log that refers to nothing."""
    if len(batch.writes) != 1 or shape.has_book:
        return None
    write = batch.writes[0]
    if not isinstance(write, Append) or not isinstance(write.rows, list | tuple):
        return None
    return rows_of(write, shape)[0] if len(write.rows) == 1 else None


def entry(shape: Shape, row: SealedRow) -> list[Any]:
    """The arguments of the script for one entry."""
    values = row.values
    said = [
        shape.collection.name, shape.stream(shape.take_stream(values)), row.digest,
        _stamp(row.created_at), _stamp(row.updated_at),
        entries.body(shape, row), shape.identity(values),
    ]  # fmt: skip
    for name, place, kind in shape.timely:
        said += (name, ordering.encoded(kind, values[place]))
    return said


def target(shape: Shape, write: Delete | Require, identity: str) -> list[Any]:
    """The arguments of a deletion, or of a requirement."""
    kind = "D" if isinstance(write, Delete) else "R"
    log = "1" if shape.collection.log else ""
    key = shape.key(write.key)
    return [kind, shape.collection.name, key, log, identity, *expected(write.expect)]


def expected(expect: Expectation) -> tuple[str, str]:
    """A precondition as the script understands it."""
    if isinstance(expect, AtRevision):
        return "at", str(expect.revision)
    if isinstance(expect, Holding):
        return "holding", str(expect.token)
    return _EXPECTED.get(type(expect), ""), ""


def arguments(
    batch: Batch, shapes: Callable[[str], Shape], appended: Appended, identity: Identities
) -> list[Any] | None:
    """The arguments of every write, in order; ``None`` if one of them has none yet."""
    check_size(sum(not isinstance(write, Append) for write in batch.writes))
    said: list[Any] = [len(batch.writes)]
    for number, write in enumerate(batch.writes):
        shape = shapes(write.collection.name)
        if isinstance(write, Put):
            said += put(shape, write)
        elif isinstance(write, Append):
            more = appended(shape, write, number)
            if more is None:
                return None
            said += more
        else:
            gone = identity(write) if isinstance(write, Delete) else ""
            said += target(shape, write, gone)
    return said


def check_size(count: int) -> None:
    """Refuse so many rows, looked at one by one, that all others would wait for seconds."""
    if count > MOST:
        raise TooLarge(
            f"a commit of {count:,} records, or entries of a log with references, unique groups or "
            f"several writes in it: Redis looks at at most {MOST:,} in one; commit them in portions"
        )


def appends(batch: Batch) -> dict[str, list[Append]]:
    """The appends to each log that *batch* does nothing else to."""
    found: dict[str, list[Append]] = {}
    others = set[str]()
    for write in batch.writes:
        if isinstance(write, Append):
            found.setdefault(write.collection.name, []).append(write)
        else:
            others.add(write.collection.name)
    return {name: writes for name, writes in found.items() if name not in others}


__all__ = ["Identities", "append", "appends", "arguments", "expected", "put", "rows_of", "target"]
