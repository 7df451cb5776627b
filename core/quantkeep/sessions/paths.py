"""Paths: the keys that lead to a value of a session's state, its section first."""

from typing import Any

from quantkeep._document_refusals import key_step
from quantkeep._document_writer import dumps
from quantkeep.columns import KEY_BYTES

Path = tuple[str, ...]


def divisible(path: Path, value: Any) -> bool:
    """Whether each entry of *value* could be a row: it is a dict, with keys that fit."""
    return (
        type(value) is dict
        and bool(value)
        and all(type(key) is str and fits((*path, key)) for key in [*value])
    )


def fits(path: Path) -> bool:
    """Whether the path is short enough for every engine to index."""
    characters = sum(map(len, path)) + 3 * len(path)
    return characters * 6 <= KEY_BYTES or len(path_text(path).encode()) <= KEY_BYTES


def path_text(path: Path) -> str:
    """The keys below the section, as they are stored."""
    return "[]" if len(path) == 1 else dumps(path[1:])


def label(path: Path) -> str:
    """The path as a trader would write it: ``positions.active_orders['BTC']``."""
    return "".join(map(key_step, path)).removeprefix(".")
