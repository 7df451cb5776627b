"""Lines of text: a record as JSON with the names of its fields, a commit as one checked line."""

import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from quantkeep.batch import Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Kind, Row, Scalar, instant, microseconds
from quantkeep.errors import Corrupt
from quantkeep.model import Effect, Removed, Stored

_dumps: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True
).encode
_CHECKED: Final = re.compile(rb"([0-9a-f]{8}) (.*)", re.DOTALL)
_ENVELOPE: Final = ("revision", "created_at", "updated_at", "schema_version", "digest")


class Damaged(ValueError):
    """A line that is not what was written."""


def checked(text: str) -> bytes:
    """*text* as a line that says its own CRC-32."""
    data = text.encode()
    return b"%08x %s\n" % (zlib.crc32(data), data)


def unchecked(line: bytes) -> str:
    """The text of a line (without its line feed); raises :class:`Damaged`."""
    match = _CHECKED.fullmatch(line)
    if match is None or zlib.crc32(match[2]) != int(match[1], 16):
        raise Damaged("its checksum does not match")
    return match[2].decode()


# -- records --------------------------------------------------------------------------------------


class Shape:
    """How the rows of one collection read as JSON: instants in ISO 8601, documents as they are."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self._write = [(column.name, _WRITERS.get(column.kind)) for column in collection.columns]
        self._read = {
            column.name: (place, _READERS.get(column.kind))
            for place, column in enumerate(collection.columns)
        }

    def record(self, row: StoredRow) -> dict[str, Any]:
        """The JSON object of *row*; null fields are left out."""
        return {
            "revision": row.revision,
            "created_at": _stamp(row.created_at),
            "updated_at": _stamp(row.updated_at),
            "schema_version": row.schema_version,
            "digest": row.digest.hex(),
            "record": {
                name: scalar if write is None else write(scalar)
                for (name, write), scalar in zip(self._write, row.values, strict=True)
                if scalar is not None
            },
        }

    def row(self, said: Mapping[str, Any]) -> StoredRow:
        """The row of a JSON object; raises :class:`Damaged`."""
        try:
            return StoredRow(
                self._values(said["record"]),
                said["revision"],
                _from_stamp(said["created_at"]),
                _from_stamp(said["updated_at"]),
                said["schema_version"],
                bytes.fromhex(said["digest"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
            raise Damaged(f"it is no record of {self.collection.name}: {error!r}") from None

    def _values(self, fields: Mapping[str, Any]) -> Row:
        values: list[Scalar] = [None] * len(self._write)
        for name, value in fields.items():
            place, read = self._read[name]
            values[place] = value if read is None or value is None else read(value)
        return tuple(values)


def _iso(scalar: int) -> str:
    return instant(scalar).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _from_iso(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))


# Of one commit, all rows have the same stamps.
_stamp = lru_cache(maxsize=16)(_iso)
_from_stamp = lru_cache(maxsize=16)(_from_iso)


def _write_real(value: float) -> Any:
    return value if math.isfinite(value) else {"$real": struct.pack(">d", value).hex()}


def _read_real(value: Any) -> float:
    if isinstance(value, dict):
        odd: float = struct.unpack(">d", bytes.fromhex(value["$real"]))[0]
        return odd
    return float(value)


# How a scalar is written and read where JSON has no such scalar.
_WRITERS: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.REAL: _write_real,
    Kind.TIMESTAMP: _iso,
    Kind.BINARY: bytes.hex,
    Kind.DOCUMENT: json.loads,
}
_READERS: Final[Mapping[Kind, Callable[[Any], Scalar]]] = {
    Kind.REAL: _read_real,
    Kind.TIMESTAMP: _from_iso,
    Kind.BINARY: bytes.fromhex,
    Kind.DOCUMENT: _dumps,
}


def write_key(key: Key) -> list[Any]:
    """A key, or what a stream is known by, as JSON."""
    return [_write_part(part) for part in key]


def read_key(said: Sequence[Any]) -> Key:
    """The key that :func:`write_key` wrote."""
    return tuple([_read_part(part) for part in said])


def _write_part(part: Scalar) -> Any:
    if isinstance(part, bytes):
        return {"$bytes": part.hex()}
    return _write_real(part) if isinstance(part, float) else part


def _read_part(said: Any) -> Scalar:
    if not isinstance(said, dict):
        return said  # type: ignore[no-any-return]  # JSON's own scalars
    return bytes.fromhex(said["$bytes"]) if "$bytes" in said else _read_real(said)


# -- commits --------------------------------------------------------------------------------------


class Operation(NamedTuple):
    """What is remembered of an operation id."""

    op_id: str
    digest: bytes
    receipt: str


class Entry(NamedTuple):
    """One commit of the journal."""

    number: int
    effects: list[Effect]
    operation: Operation | None


class Language:
    """Writes and reads entries of a journal, given the collections they speak of."""

    def __init__(self, collections: Mapping[str, Collection]) -> None:
        self.shapes = {name: Shape(c) for name, c in collections.items()}

    def line(self, entry: Entry) -> bytes:
        """*entry* as a checked line."""
        said: dict[str, Any] = {"n": entry.number, "effects": [*map(self._effect, entry.effects)]}
        if entry.operation is not None:
            op_id, digest, receipt = entry.operation
            said["operation"] = {"id": op_id, "digest": digest.hex(), "receipt": receipt}
        return checked(_dumps(said))

    def entry(self, line: bytes) -> Entry:
        """The entry of a line; raises :class:`Damaged`."""
        try:
            said = json.loads(unchecked(line))
            effects = [self._understood(effect) for effect in said["effects"]]
            return Entry(said["n"], effects, _operation(said.get("operation")))
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(str(error)) from None

    def _effect(self, effect: Effect) -> list[Any]:
        if isinstance(effect, Stored):
            return [effect.collection, self.shapes[effect.collection].record(effect.row)]
        return [effect.collection, None, write_key(effect.key)]

    def _understood(self, said: list[Any]) -> Effect:
        name, record, *rest = said
        if record is None:
            return Removed(name, read_key(rest[0]))
        return Stored(name, self.shapes[name].row(record))


def _operation(said: Mapping[str, str] | None) -> Operation | None:
    if said is None:
        return None
    return Operation(said["id"], bytes.fromhex(said["digest"]), said["receipt"])


def remembered(operation: Operation) -> tuple[bytes, Receipt]:
    """What a model remembers of *operation*."""
    return operation.digest, Receipt.from_json(operation.receipt, operation.op_id)


def corrupt(path: object, line: int, why: object) -> Corrupt:
    """The error that names a damaged line."""
    return Corrupt(
        f"{path}, line {line}: {why}. It was changed outside quantkeep, or damaged; nothing was "
        "read from it. Restore the file from a backup",
        locator=f"{path}:{line}",
    )


def dumps(said: object) -> str:
    """Canonical JSON text."""
    return _dumps(said)
