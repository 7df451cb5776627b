"""Reading files that other programs wrote; what cannot be read is named by file and line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import attrs

from quantkeep import InvalidValue, NotFound


def json_file(path: Path) -> dict[str, Any]:
    """The object in a JSON file; NaN and infinities are read as Python writes them."""
    return _object(_text(path), str(path))


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one on each line."""
    lines = enumerate(_text(path).splitlines(), start=1)
    return [_object(line, f"{path}:{number}") for number, line in lines if line.strip()]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{path} cannot be read: {error}", expected="text in UTF-8") from None


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidValue(f"{place} is no JSON: {error}", expected="one JSON object") from None
    if not isinstance(found, dict):
        raise InvalidValue(f"{place} is a {type(found).__name__}", expected="one JSON object")
    return found


def need(row: dict[str, Any], field: str, record: str) -> Any:
    """The value of *field*; raises :class:`InvalidValue` where it is missing."""
    if field not in row:
        raise InvalidValue(
            "is missing from the source", record=record, field=field, expected="a value, or null"
        )
    return row[field]


@contextmanager
def about(key: object) -> Iterator[None]:
    """What is wrong with one of many records is said of *key*, by which it is found."""
    try:
        yield
    except InvalidValue as error:
        raise error.of(key) from None


@attrs.define
class Instants:
    """Reads instants; those without a zone are taken in *zone*, and counted."""

    zone: tzinfo = UTC
    naive: int = 0

    def read(self, text: str | None, record: str, field: str) -> datetime | None:
        """The instant of an ISO text, in UTC; ``None`` of ``None``."""
        if text is None:
            return None
        try:
            found = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            raise InvalidValue(
                "is no instant", record=record, field=field, value=text, expected="an ISO 8601 text"
            ) from None
        if found.tzinfo is None:
            self.naive += 1
            found = found.replace(tzinfo=self.zone)
        return found.astimezone(UTC)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken where the source said no zone."""
        if not self.naive:
            return ()
        said = "1 time" if self.naive == 1 else f"{self.naive:,} times"
        return (f"{said} without a zone, taken as {self.zone}",)
