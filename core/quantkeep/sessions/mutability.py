"""Which values may change without the session seeing it (Z-47).

Immutable values cannot. A mutable one can for as long as anybody beside the session's own tree
holds it, or anything inside it; CPython's reference counts tell when that is over. Where they
cannot be trusted, a mutable value counts as held for ever, which costs time and loses nothing.
"""

import sys
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from types import NoneType
from typing import Any, Final
from uuid import UUID

SCALARS: Final = frozenset(
    {
        *(str, int, float, bool, bytes, NoneType, Decimal, UUID),
        *(datetime, date, time, timedelta, timezone),
    }
)
_PLAIN_CONTAINERS: Final = frozenset({dict, list})
_MAPPINGS: Final = frozenset({dict, OrderedDict, defaultdict})
_SEQUENCES: Final = frozenset({list, tuple, set, frozenset, deque})


def is_immutable(value: Any) -> bool:
    """Whether nothing in *value* can change: text, numbers, frozen objects of such."""
    kind = type(value)
    if kind in SCALARS:
        return True
    if kind in (tuple, frozenset):
        return all(map(is_immutable, value))
    if issubclass(kind, Enum):
        return True
    fields = fields_of(kind)
    return fields is not None and fields.frozen and all(map(is_immutable, fields.take(value)))


def is_private(holder: Mapping[str, Any], key: str, watched: Callable[[int], bool]) -> bool:
    """Whether ``holder[key]`` and all that is mutable in it can be reached only through *holder*.

    Args:
        holder: the mapping in the session's tree.
        key: of the value.
        watched: whether the object with that ``id`` has one tracked view, which holds it too.
    """
    if _ALONE < 0:
        return False
    found: list[Any] = []
    seen: set[int] = set()
    if not _take((holder[key],), seen, found) or not _are_alone(found, watched):
        return False  # at a glance, where the value itself is what somebody holds
    return _gather(seen, found) and _are_alone(found, watched)


def _are_alone(found: list[Any], watched: Callable[[int], bool]) -> bool:
    """Whether what was *found* is held by what it was found in, and its view, alone."""
    counts = map(sys.getrefcount, found)
    return all(
        count == _ALONE + watched(each) for count, each in zip(counts, map(id, found), strict=True)
    )


def _gather(seen: set[int], found: list[Any]) -> bool:
    """Put every mutable object inside those *found* there too; false if that cannot be told.

    What is in the value twice counts as not to be told: of two places in the session, a change
    would be seen at one.
    """
    for each in found:  # which grows meanwhile
        parts = _parts(each)
        if parts is None or not _take(parts, seen, found):
            return False
    return True


def _take(parts: Collection[Any], seen: set[int], found: list[Any]) -> bool:
    if SCALARS.issuperset(map(type, parts)):
        return True
    for part in parts:
        kind = type(part)
        if kind in SCALARS or (kind not in _PLAIN_CONTAINERS and is_immutable(part)):
            continue
        if id(part) in seen:
            return False
        seen.add(id(part))
        found.append(part)
    return True


def _parts(value: Any) -> Collection[Any] | None:
    """What *value* consists of; ``None`` if it may have more than that."""
    kind = type(value)
    if kind in _MAPPINGS:
        return value.values()  # type: ignore[no-any-return]  # a mapping
    if kind in _SEQUENCES:
        return value  # type: ignore[no-any-return]  # iterable
    fields = fields_of(kind)
    if fields is None or fields.open or weakref.getweakrefcount(value):
        return None
    return fields.take(value)


class Fields:
    """The fields of a class of objects.

    Attributes:
        frozen: they cannot be assigned to.
        open: they live in a ``__dict__``, which others may hold without holding the object.
        take: gives their values.
    """

    def __init__(self, names: tuple[str, ...], *, frozen: bool, open: bool) -> None:  # noqa: A002
        self.frozen = frozen
        self.open = open
        self.take = _taker(names)


def fields_of(kind: type) -> Fields | None:
    """The fields of an attrs class, dataclass or named tuple; ``None`` for other classes."""
    return _fields_of(kind)


@lru_cache(maxsize=1024)
def _fields_of(kind: Any) -> Fields | None:
    has_dict = bool(getattr(kind, "__dictoffset__", 1))
    if issubclass(kind, tuple):
        names = getattr(kind, "_fields", None)
        return names and Fields(names, frozen=not has_dict, open=has_dict)
    if "__attrs_attrs__" in kind.__dict__:
        names = tuple(a.name for a in kind.__attrs_attrs__)
        frozen = kind.__setattr__.__name__ == "_frozen_setattrs"
        return Fields(names, frozen=frozen, open=has_dict and not frozen)
    if "__dataclass_fields__" in kind.__dict__:
        names = tuple(kind.__dataclass_fields__)
        frozen = kind.__dataclass_params__.frozen
        return Fields(names, frozen=frozen, open=has_dict and not frozen)
    return None


def _taker(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _references_when_alone() -> int:
    """The references counted of an object that nobody else holds; -1 if counts do not tell."""
    if not hasattr(sys, "getrefcount") or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return -1
    holder: dict[str, Any] = {"k": [{"k": [1]}]}
    alone = _counts(holder)
    held = holder["k"][0]
    kept = _counts(holder)
    trusted = len(set(alone)) == 1 and kept == [alone[0], alone[0] + 1, alone[0]]
    return alone[0] if trusted and held else -1


def _counts(holder: dict[str, Any]) -> list[int]:
    found: list[Any] = []
    seen: set[int] = set()
    _take((holder["k"],), seen, found)
    _gather(seen, found)
    return [*map(sys.getrefcount, found)]


_ALONE: Final = _references_when_alone()
