"""Canonical scalars, keys and rows as JSON."""

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Scalar


def write(scalar: Scalar) -> Any:
    """*scalar* as JSON; what JSON has no word for is an object."""
    if isinstance(scalar, float) and not math.isfinite(scalar):
        return {"$real": struct.pack(">d", scalar).hex()}
    return {"$bytes": scalar.hex()} if isinstance(scalar, bytes) else scalar


def read(said: Any) -> Scalar:
    """The scalar that :func:`write` wrote."""
    if not isinstance(said, dict):
        return said  # type: ignore[no-any-return]  # JSON's own scalars
    if "$bytes" in said:
        return bytes.fromhex(said["$bytes"])
    odd: float = struct.unpack(">d", bytes.fromhex(said["$real"]))[0]
    return odd


def write_key(key: Iterable[Scalar]) -> list[Any]:
    """A key, or what a stream is known by."""
    return [write(part) for part in key]


def read_key(said: Iterable[Any]) -> Key:
    """The key that :func:`write_key` wrote."""
    return tuple([read(part) for part in said])


def write_row(collection: Collection, row: StoredRow) -> dict[str, Any]:
    """*row* with the names of its columns; nulls are left out."""
    record = {
        name: write(scalar)
        for name, scalar in zip(collection.names, row.values, strict=True)
        if scalar is not None
    }
    return {
        "collection": collection.name,
        "revision": row.revision,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "schema_version": row.schema_version,
        "digest": row.digest.hex(),
        "record": record,
    }


def read_row(collection: Collection, said: Mapping[str, Any]) -> StoredRow:
    """The row that :func:`write_row` wrote, when *collection* had fewer columns perhaps."""
    record = said["record"]
    return StoredRow(
        tuple([read(record.get(name)) for name in collection.names]),
        said["revision"],
        said["created_at"],
        said["updated_at"],
        said["schema_version"],
        bytes.fromhex(said["digest"]),
    )
