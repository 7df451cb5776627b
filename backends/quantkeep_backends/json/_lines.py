"""Lines of text: a record as JSON with the names of its fields, a commit as one checked line."""

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Any, Final, NamedTuple

from quantkeep.batch import Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Kind, Row, Scalar, instant, microseconds
from quantkeep.errors import Corrupt
from quantkeep.model import Effect, Removed, Stored

_dumps: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True
).encode
_text: Final = json.encoder.encode_basestring  # with its quotes
_decode: Final = json.JSONDecoder().raw_decode
_BEGIN: Final = '{"effects":['
_END: Final = '],"n":'
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


# -- commits --------------------------------------------------------------------------------------


class Operation(NamedTuple):
    """What is remembered of an operation id."""

    op_id: str
    digest: bytes
    receipt: str


class Entry(NamedTuple):
    """One commit of the journal; of one that is read, the effects are understood one by one."""

    number: int
    effects: Iterable[Effect]
    operation: Operation | None


class Language:
    """Writes and reads entries of a journal, given the collections they speak of."""

    def __init__(self, collections: Mapping[str, Collection]) -> None:
        self.shapes = {name: Shape(c) for name, c in collections.items()}

    def line(self, entry: Entry) -> bytes:
        """*entry* as a checked line."""
        effects = ",".join([*map(self._effect, entry.effects)])
        said: dict[str, Any] = {"n": entry.number}
        if entry.operation is not None:
            op_id, digest, receipt = entry.operation
            said["operation"] = {"id": op_id, "digest": digest.hex(), "receipt": receipt}
        return checked(f"{_BEGIN}{effects}],{_dumps(said)[1:]}")

    def entry(self, line: bytes) -> Entry:
        """The entry of a line; raises :class:`Damaged`, and its effects do when they are asked."""
        text = unchecked(line)
        end = text.rfind(_END)  # only the operation follows, whose values are texts
        if end < 0 or not text.startswith(_BEGIN):
            raise Damaged("it is no commit")
        try:
            said = json.loads("{" + text[end + 2 :])
            return Entry(said["n"], self._effects(text, end), _operation(said.get("operation")))
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(str(error)) from None

    def _effects(self, text: str, end: int) -> Iterator[Effect]:
        """The effects in *text*, up to *end*; so that of a large commit few are held twice."""
        place = len(_BEGIN)
        while place < end:
            try:
                said, place = _decode(text, place)
                effect = self._understood(said)
            except (KeyError, TypeError, ValueError) as error:
                raise Damaged(str(error)) from None
            yield effect
            place += 1  # the comma

    def _effect(self, effect: Effect) -> str:
        if isinstance(effect, Stored):
            record = self.shapes[effect.collection].record(effect.row)
            return f"[{_text(effect.collection)},{record}]"
        return _dumps([effect.collection, None, write_key(effect.key)])

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
        "read from it. Restore it from a backup",
        locator=f"{path}:{line}",
    )


def dumps(said: object) -> str:
    """Canonical JSON text."""
    return _dumps(said)
