"""What the commit script refused, as the error that every backend raises."""

from collections.abc import Callable
from typing import Any, Final

from quantkeep.batch import Append, AtRevision, Batch, Delete, Holding, Put, Require
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.contract import (
    check_expectation,
    dangling,
    lost,
    stale,
    still_referenced,
    taken,
)
from quantkeep.errors import Conflict, Corrupt, InvalidReference, QuantkeepError, StillReferenced
from quantkeep_backends.redis.batches import rows_of
from quantkeep_backends.redis.shapes import Shape

Shapes = Callable[[str], Shape]

_SOMETHING: Final = StoredRow((), 0, 0, 0, 0, b"")


def refused(batch: Batch, shapes: Shapes, answer: list[Any]) -> QuantkeepError:
    """The error for *answer*, whose first word is not ``ok``."""
    said, *more = (part.decode() if isinstance(part, bytes) else part for part in answer)
    if said == "referred":
        return _referred(shapes, *more)
    if said == "dangling":
        return _dangling(shapes, *more)
    number, why, *details = more
    write = batch.writes[int(number) - 1]
    shape = shapes(write.collection.name)
    return _REFUSALS[why](shape, write, details)


def _key(shape: Shape, write: Any) -> Key:
    if isinstance(write, Put):
        return shape.take_key(rows_of(write, shape)[0].values)
    key: Key = write.key
    return key


def _unexpected(shape: Shape, write: Any, details: list[str]) -> QuantkeepError:
    known = None if details == ["absent"] else _SOMETHING
    try:
        check_expectation(shape.collection, _key(shape, write), known, write.expect)
    except QuantkeepError as error:
        return error
    return Conflict(f"{shape.collection.name}: the precondition does not hold")


def _revision(shape: Shape, write: Put | Delete | Require, details: list[str]) -> QuantkeepError:
    assert isinstance(write.expect, AtRevision)
    found = int(details[0]) if details[0] else None
    return lost(shape.collection, _key(shape, write), write.expect.revision, found)


def _token(shape: Shape, write: Put | Delete | Require, details: list[str]) -> QuantkeepError:
    assert isinstance(write.expect, Holding)
    current = int(details[0]) if details[0] else None
    return stale(shape.collection, _key(shape, write), write.expect.token, current)


def _content(shape: Shape, write: Put, details: list[str]) -> QuantkeepError:
    return taken(shape.collection, _key(shape, write), shape.collection.key)


def _taken(shape: Shape, write: Put | Append, details: list[str]) -> QuantkeepError:
    collection = shape.collection
    group = int(details[0])
    row = rows_of(write, shape)[int(details[1]) - 1 if len(details) > 1 else 0].values
    if group:
        columns = collection.unique[group - 1]
        return taken(collection, collection.pick(columns)(row), columns)
    value = (*collection.stream_of(row), *collection.identity_of(row))
    return taken(collection, value, ("", *collection.identity))


_REFUSALS: Final[dict[str, Callable[[Shape, Any, list[str]], QuantkeepError]]] = {
    "exists": lambda shape, write, _: _unexpected(shape, write, ["exists"]),
    "absent": lambda shape, write, _: _unexpected(shape, write, ["absent"]),
    "revision": _revision,
    "token": _token,
    "content": _content,
    "taken": _taken,
}


def _referred(
    shapes: Shapes, name: str, key: str, by: str, other: str
) -> StillReferenced | Corrupt:
    ours, theirs = shapes(name), shapes(by)
    return still_referenced(
        ours.collection, ours.key_of_text(key), theirs.collection, theirs.key_of_text(other)
    )


def _dangling(shapes: Shapes, name: str, field: str, to: str, key: str) -> InvalidReference:
    collection: Collection = shapes(name).collection
    columns = tuple(field.split("|")[1].split(","))
    found = next(r for r in collection.references if r.columns == columns and r.to == to)
    return dangling(collection, found, shapes(to).key_of_text(key))
