"""Many rows in one statement, each column as one array: far cheaper than a statement for each."""

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from quantkeep.collection import Key
from quantkeep.columns import Column
from quantkeep_backends.postgresql.exchange import Packed
from quantkeep_backends.postgresql.prepared import Prepared

LEAST: Final = 8  # rows for which it is worth it

_STAMPED: Final = {
    "revision": "bigint",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "schema_version": "bigint",
    "digest": "bytea",
    "seal": "bigint",
}
_ELEMENTS: Final = {"text": 25, "bytea": 17}  # type numbers, fixed for ever
_HEAD: Final = struct.Struct(">iiiii").pack
_LENGTH: Final = struct.Struct(">i").pack
_NULL: Final = _LENGTH(-1)


class Many(NamedTuple):
    """A statement for many rows.

    Attributes:
        sql: takes an array for each column.
        elements: what each of the arrays consists of: texts, or bytes.
    """

    sql: str
    elements: tuple[str, ...]


def insert_many(prepared: Prepared) -> Many:
    """Takes rows, as :meth:`Prepared.insert` does."""
    types = _types(prepared)
    values = ", ".join(f"v.c{n}" for n in range(len(types)))
    into = f"INSERT INTO {prepared.table} ({prepared.listed})"
    return Many(f"{into} SELECT {values} FROM {_rows(types)}", _elements(types))


def update_many(prepared: Prepared) -> Many:
    """Takes rows likewise, whose keys are stored and have no nulls, each but once."""
    types, places = _types(prepared), prepared.collection.places
    changes = ", ".join(f"{name} = v.c{n}" for n, name in enumerate(prepared.quoted_names))
    key = " AND ".join(
        f"t.{prepared.name(name)} = v.c{places[name]}" for name in prepared.collection.key
    )
    update = f"UPDATE {prepared.table} AS t SET {changes} FROM {_rows(types)} WHERE {key}"
    return Many(update, _elements(types))


def known_many(prepared: Prepared, lock: str) -> Many:
    """As :meth:`Prepared.known` for many keys, none of which has a null; answers with places."""
    names = prepared.collection.key_columns
    types = [prepared.engine.type_name(prepared.layout.described(name)) for name in names]
    same = " AND ".join(f"t.{prepared.name(name)} = v.c{n}" for n, name in enumerate(names))
    sql = (
        f"SELECT v.place, {prepared.known_columns} FROM {_rows(types)} "
        f"JOIN {prepared.table} t ON {same} {lock} OF t"
    )
    return Many(sql, _elements(types))


def packed_keys(prepared: Prepared, many: Many, keys: Sequence[Key]) -> Packed | None:
    """*keys* as :func:`known_many` takes them, if it can."""
    if len(keys) < LEAST or any(None in key for key in keys):
        return None
    names = prepared.collection.key_columns
    bound = [[prepared.bound(n, part) for n, part in zip(names, key, strict=True)] for key in keys]
    return packed(many, bound)


def packed(many: Many, rows: Sequence[Sequence[Any]]) -> Packed | None:
    """*rows* of parameters as *many* takes them; ``None`` if one has a NaN, which text has not.

    What stands in a row behind the columns of *many* is left out.
    """
    columns = zip(*rows, strict=True)
    try:
        arrays = [_array(_ELEMENTS[of], column) for of, column in zip(many.elements, columns)]  # noqa: B905
    except TypeError:
        return None
    return Packed([*arrays], [1] * len(arrays))


def _array(element: int, values: Sequence[Any]) -> bytes:
    """The binary form of an array, some of whose elements may be null."""
    parts = [_HEAD(1, 1, element, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            data = value.encode() if value.__class__ is str else value
            parts += (_LENGTH(len(data)), data)
    return b"".join(parts)


def _rows(types: Sequence[str]) -> str:
    """The arrays as rows ``v``, in columns of *types*, each with its place."""
    arrays = ", ".join(f"${n}::{of}[]" for n, of in enumerate(_elements(types), 1))
    names = ", ".join(f"c{n}" for n in range(len(types)))
    values = ", ".join(f"c{n}::{of} AS c{n}" for n, of in enumerate(types))
    rows = f"unnest({arrays}) WITH ORDINALITY AS u({names}, place)"
    return f"(SELECT {values}, place FROM {rows}) AS v"


def _elements(types: Iterable[str]) -> tuple[str, ...]:
    return tuple("bytea" if of.lower() == "bytea" else "text" for of in types)


def _types(prepared: Prepared) -> list[str]:
    def of(column: Column) -> str:
        return prepared.engine.type_name(column)

    return [*map(of, prepared.collection.columns), *(_STAMPED[name] for name in prepared.stamps)]
