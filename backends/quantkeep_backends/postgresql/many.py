"""Many rows in one statement, as one JSON parameter: far cheaper than a statement for each."""

import json
from collections.abc import Sequence
from typing import Any, Final

from quantkeep.collection import Key
from quantkeep.columns import Kind
from quantkeep_backends.postgresql.prepared import Prepared

LEAST: Final = 16  # rows for which it is worth it

_STAMPED: Final = {
    "revision": "bigint",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "schema_version": "bigint",
    "digest": "bytea",
    "seal": "bigint",
}


def insert_many(prepared: Prepared) -> str:
    """Takes rows, as :func:`as_parameter` gives them."""
    values = ", ".join(_values(prepared))
    return (
        f"INSERT INTO {prepared.table} ({prepared.listed}) SELECT {values} FROM {_rows(prepared)}"
    )


def update_many(prepared: Prepared) -> str:
    """Takes rows likewise, whose keys are stored and have no nulls, each but once."""
    pairs = zip(prepared.quoted_names, _values(prepared), strict=True)
    changes = ", ".join(f"{name} = {value}" for name, value in pairs)
    places = prepared.collection.places
    key = " AND ".join(
        f"t.{prepared.name(name)} = v.c{places[name]}" for name in prepared.collection.key
    )
    return f"UPDATE {prepared.table} AS t SET {changes} FROM {_rows(prepared)} WHERE {key}"


def known_many(prepared: Prepared, lock: str) -> str:
    """As :meth:`Prepared.known` for many keys, none of which has a null; answers with places."""
    names = prepared.collection.key_columns
    types = [prepared.engine.type_name(prepared.layout.described(name)) for name in names]
    columns = ", ".join(f"k{n} {kind}" for n, kind in enumerate(types))
    same = " AND ".join(f"t.{prepared.name(name)} = e.k{n}" for n, name in enumerate(names))
    return (
        f"SELECT e.ordinality, {prepared.known_columns} FROM ROWS FROM "
        f"(json_to_recordset($1::json) AS ({columns})) WITH ORDINALITY AS e "
        f"JOIN {prepared.table} t ON {same} {lock} OF t"
    )


def keys_parameter(prepared: Prepared, keys: Sequence[Key]) -> str | None:
    """*keys* as :func:`known_many` takes them, if it can."""
    if len(keys) < LEAST or any(None in key for key in keys):
        return None
    names = prepared.collection.key_columns
    bound = [[prepared.bound(n, part) for n, part in zip(names, key, strict=True)] for key in keys]
    return as_parameter(bound, "k")


def as_parameter(rows: Sequence[Sequence[Any]], letter: str = "c") -> str | None:
    """*rows* of parameters as one; ``None`` if one of them has a NaN, which JSON has not."""
    names = [f"{letter}{n}" for n in range(len(rows[0]))]
    try:
        return _ENCODE([dict(zip(names, row, strict=True)) for row in rows])
    except ValueError:
        return None


def _plain(value: bytes) -> str:
    return f"\\x{value.hex()}"


_ENCODE: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain
).encode


def _rows(prepared: Prepared) -> str:
    columns = [*map(_type(prepared), prepared.collection.columns)]
    columns += [_STAMPED[name] for name in prepared.stamps]
    listed = ", ".join(f"c{n} {kind}" for n, kind in enumerate(columns))
    return f"json_to_recordset($1::json) AS v({listed})"


def _type(prepared: Prepared) -> Any:
    def of(column: Any) -> str:
        if column.kind is Kind.DOCUMENT:
            return "text"  # a text that json_to_recordset would take for a JSON string
        return prepared.engine.type_name(column)

    return of


def _values(prepared: Prepared) -> list[str]:
    columns = prepared.collection.columns
    values = [
        f"v.c{n}::json" if column.kind is Kind.DOCUMENT else f"v.c{n}"
        for n, column in enumerate(columns)
    ]
    return values + [f"v.c{len(columns) + n}" for n in range(len(prepared.stamps))]
