"""Records and keys as JSON, with the names of their fields."""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Any, Final

from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Kind, Row, Scalar, instant, microseconds
from quantkeep.errors import Corrupt

_dumps: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True
).encode
_text: Final = json.encoder.encode_basestring  # with its quotes


class Damaged(ValueError):
    """A line that is not what was written."""


def corrupt(path: object, line: int, why: object) -> Corrupt:
    """The error that names a damaged line."""
    return Corrupt(
        f"{path}, line {line}: {why}. It was changed outside quantkeep, or damaged; nothing was "
        "read from it. Restore it from a backup",
        locator=f"{path}:{line}",
    )


def dumps(said: object) -> str:
    """Canonical JSON text."""
    return _dumps(said)


# -- records --------------------------------------------------------------------------------------


class Shape:
    """How the rows of one collection read as JSON: instants in ISO 8601, documents as they are."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self._write = [
            (place, f"{_text(column.name)}:", _WRITERS.get(column.kind, _dumps))
            for place, column in sorted(
                enumerate(collection.columns), key=lambda placed: placed[1].name
            )
        ]
        self._read = {
            column.name: (place, _READERS.get(column.kind))
            for place, column in enumerate(collection.columns)
        }

    def record(self, row: StoredRow) -> str:
        """The JSON object of *row*, its fields in order of their names; null ones are left out."""
        values, revision, created, updated, version, digest = row
        fields = [
            name + write(scalar)
            for place, name, write in self._write
            if (scalar := values[place]) is not None
        ]
        return (
            f'{{"created_at":{_stamp(created)},"digest":"{digest.hex()}",'
            f'"record":{{{",".join(fields)}}},"revision":{revision},'
            f'"schema_version":{version},"updated_at":{_stamp(updated)}}}'
        )

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
        except KeyError as error:
            raise Damaged(f"the field {error} is missing, or none of its collection's") from None
        except (TypeError, ValueError, AttributeError, struct.error) as error:
            raise Damaged(f"it is no record of {self.collection.name}: {error}") from None

    def _values(self, fields: Mapping[str, Any]) -> Row:
        values: list[Scalar] = [None] * len(self._write)
        for name, value in fields.items():
            place, read = self._read[name]
            values[place] = value if read is None or value is None else read(value)
        return tuple(values)


def _iso(scalar: int) -> str:
    return f'"{instant(scalar).isoformat(timespec="microseconds")[:-6]}Z"'


def _from_iso(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))


# Of one commit, all rows have the same stamps.
_stamp = lru_cache(maxsize=16)(_iso)
_from_stamp = lru_cache(maxsize=16)(_from_iso)


def _real(value: float) -> str:
    # the shortest text that is read as the same float; JSON has no word for the others
    return float.__repr__(value) if isfinite(value) else _dumps(_write_real(value))


def _write_real(value: float) -> Any:
    return value if isfinite(value) else {"$real": struct.pack(">d", value).hex()}


def _hex(value: bytes) -> str:
    return f'"{value.hex()}"'


def _read_real(value: Any) -> float:
    if isinstance(value, dict):
        odd: float = struct.unpack(">d", bytes.fromhex(value["$real"]))[0]
        return odd
    return float(value)


# How a scalar is written and read, where that is not as JSON has it. A document is JSON already.
_WRITERS: Final[Mapping[Kind, Callable[[Any], str]]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: int.__repr__,
    Kind.REAL: _real,
    Kind.DECIMAL: _text,
    Kind.TIMESTAMP: _iso,
    Kind.DATE: _text,
    Kind.UUID: _text,
    Kind.BINARY: _hex,
    Kind.DOCUMENT: str,
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
