"""One record as a JSON file: its fields as people write them, numbers digit for digit."""

import json
from collections.abc import Callable, Mapping
from collections.abc import Collection as Names
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from quantkeep import documents
from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Column, Kind, Scalar, instant
from quantkeep.errors import Corrupt, InvalidValue
from quantkeep.hosts import Hosts

_STAMPS: Final = ("created_at", "updated_at")


def rendered(
    collection: Collection,
    stored: StoredRow,
    *,
    without: Names[str] = (),
    extra: Mapping[str, str] | None = None,
    stamps: bool = True,
) -> str:
    """The text of a record's file: its columns, but those *without*, then *extra*, then stamps."""
    values = zip(collection.columns, stored.values, strict=True)
    members = [(c.name, _literal(c, scalar)) for c, scalar in values if c.name not in without]
    members += [(name, json.dumps(value)) for name, value in (extra or {}).items()]
    if stamps:
        members += [(n, json.dumps(instant(getattr(stored, n)).isoformat())) for n in _STAMPS]
    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {text}" for name, text in members) + "\n}\n"


def _literal(column: Column, scalar: Scalar) -> str:
    return "null" if scalar is None else _LITERALS.get(column.kind, _text)(scalar)


def _text(scalar: Any) -> str:
    return json.dumps(scalar, ensure_ascii=False)


def _document(scalar: Any) -> str:
    text = json.dumps(json.loads(scalar), indent=2, ensure_ascii=False)
    return text.replace("\n", "\n  ")


_LITERALS: Final[Mapping[Kind, Callable[[Any], str]]] = {
    Kind.DOCUMENT: _document,
    Kind.DECIMAL: str,  # a JSON number; a float on the way would change its digits
    Kind.REAL: lambda scalar: documents.encode(scalar, Hosts()),
    Kind.TIMESTAMP: lambda scalar: _text(instant(scalar).isoformat()),
    Kind.BINARY: lambda scalar: _text(scalar.hex()),
}


def parsed(
    collection: Collection, path: Path, hosts: Hosts
) -> tuple[dict[str, Any], dict[str, datetime], dict[str, Any]]:
    """The fields, stamps and further members of a record's file.

    Raises:
        Corrupt: it is no JSON object, or a value cannot be what its column holds.
    """
    try:
        said = json.loads(path.read_bytes(), parse_float=Decimal)
        if not isinstance(said, dict):
            raise TypeError(f"a {type(said).__name__}")
        fields = {
            column.name: _value(column, said.pop(column.name), hosts)
            for column in collection.columns
            if column.name in said
        }
        stamps = {name: datetime.fromisoformat(said.pop(name)) for name in _STAMPS if name in said}
    except (ValueError, TypeError, ArithmeticError) as error:
        if isinstance(error, InvalidValue):
            raise
        raise Corrupt(
            f"{path} is no file of {collection.name}: {error}", locator=str(path)
        ) from None
    return fields, stamps, said


def _value(column: Column, value: Any, hosts: Hosts) -> Any:
    if value is None:
        return None
    if column.kind in (Kind.DOCUMENT, Kind.REAL):
        return documents.decode(json.dumps(_with_floats(value)), hosts)
    convert: Callable[[Any], Any] = _VALUES.get(column.kind, column.python)
    return convert(value)


_VALUES: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.DECIMAL: Decimal,
    Kind.TIMESTAMP: datetime.fromisoformat,
    Kind.BINARY: bytes.fromhex,
}


def _with_floats(value: Any) -> Any:
    """The numbers with a point, which were read as Decimals for exactness, as floats again."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    return value
