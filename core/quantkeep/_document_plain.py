"""Telling at a glance that a value needs nothing but the JSON encoder, which most state does.

The encoder in C takes far more than a document may hold, and writes some of it as if it were
something else. So every type is looked at before; level by level, because a set of all the types
there are on a level is made in C, where walking from container to container is not.
"""

from types import NoneType
from typing import Any, Final

_HOLDERS: Final = frozenset({dict, list})
_PLAIN: Final = frozenset({str, float, bool, NoneType, int, *_HOLDERS})
_INT64: Final = range(-(2**63), 2**63)

# Beyond these, what contains itself is not told from what is large: the careful walk tells.
_DEEPEST: Final = 32
_WIDEST: Final = 1_000_000


def is_plain(value: Any) -> bool:
    """Whether *value* consists of what JSON has words for alone, down to each exact type.

    Dicts with keys that would have to be escaped are not plain. Floats and texts are not looked
    into: the encoder refuses NaN, and a glance at its text shows the rest.
    """
    level: list[Any] = [value]
    keys: list[Any] = []
    for _ in range(_DEEPEST):
        kinds = {*map(type, level)}
        if not kinds <= _PLAIN or (int in kinds and not _are_int64(level)):
            return False
        holders = [each for each in level if type(each) in _HOLDERS]
        if not holders:
            return {*map(type, keys)} <= {str} and "$" not in "".join(keys)
        if sum(map(len, holders)) > _WIDEST:
            return False
        level = []
        for each in holders:
            if type(each) is dict:
                keys += each
                level += each.values()
            else:
                level += each
    return False


def _are_int64(level: list[Any]) -> bool:
    numbers = [each for each in level if type(each) is int]
    return min(numbers) in _INT64 and max(numbers) in _INT64
