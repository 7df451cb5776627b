"""Results in the shape of this store's design: JSON files (Z-50), and directories of Parquet."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from quantkeep import InvalidValue, NotFound
from quantkeep_plugins.importers.backtests.storing import Result

_METADATA: Final = "metadata.json"
_LISTS: Final = ("results", "backtests")  # keys under which programs keep several


def recognises(place: Path) -> bool:
    """A JSON file, a directory of the layout, or one that holds such directories."""
    if place.is_dir():
        return bool(_folders(place)) and not (place / "run.json").exists()
    return place.suffix == ".json" and _symbols_in(place)


def _symbols_in(place: Path) -> bool:
    """Whether the file begins like a result; the whole is read once, later."""
    try:
        found = _several(json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False
    return bool(found) and isinstance(found[0], dict) and "symbols" in found[0]


def results(place: Path) -> Iterator[Result]:
    """The results at *place*.

    Raises:
        NotFound: there is nothing.
        InvalidValue: it is no JSON, or no result.
    """
    if place.is_dir():
        folders = _folders(place)
        if not folders:
            raise NotFound(f"there is no {_METADATA} in {place} or in its folders")
        yield from (Result(folder=folder) for folder in folders)
        return
    for original in _read(place):
        yield Result(original=original)


def _folders(place: Path) -> list[Path]:
    if (place / _METADATA).exists():
        return [place]
    return sorted(
        p.parent for pattern in ("*", "*/*") for p in place.glob(f"{pattern}/{_METADATA}")
    )


def check_readable(place: Path) -> None:
    """Raises :class:`NotFound`, or :class:`InvalidValue` where it is no JSON."""
    _said(place)


def _said(place: Path) -> Any:
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no {place}") from None
    except (OSError, ValueError) as error:
        raise InvalidValue(f"{place} cannot be read: {error}", expected="JSON in UTF-8") from None


def _read(place: Path) -> list[dict[str, Any]]:
    found = _several(_said(place))
    for each in found:
        if not isinstance(each, dict) or "task_id" not in each:
            raise InvalidValue(
                f"{place} has a result without an id", field="task_id",
                expected="a UUID in each: importing twice must not store it twice",
            )  # fmt: skip
    return found


def _several(said: Any) -> list[Any]:
    """One result, a list of them, or an object with such a list."""
    if isinstance(said, list):
        return said
    if isinstance(said, dict):
        for key in _LISTS:
            if isinstance(said.get(key), list):
                found: list[Any] = said[key]
                return found
    return [said]
