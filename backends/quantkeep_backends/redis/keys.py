"""Where everything of a keep stands: ``quantkeep:{name}:…``, as ``docs/redis-keys.md`` lists it.

The braces are a hash tag: all keys of a keep are in one slot of a cluster, so that one script can
change them together. Ids are percent-encoded, each to a text of its own and back.
"""

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from quantkeep.collection import Collection, Key
from quantkeep.columns import Column, Kind, Scalar
from quantkeep_backends.redis import texts

_NULL: Final = "%null"  # no percent-encoding of anything: n is no hexadecimal digit
_SAFE: Final = "/@+,;=!$'()&"  # what redis-cli shows and takes as it is; never : or |
PLAIN: Final = r"[A-Za-z0-9_.~/@+,;=!$'()&-]*"  # what stands in a key as it is
_is_plain: Final = re.compile(PLAIN).fullmatch


def escaped(text: str) -> str:
    """*text* with everything percent-encoded that could mean something in a key."""
    return text if _is_plain(text) else _quoted(text)


@lru_cache(4_096)  # the parts of a state are saved again and again
def _quoted(text: str) -> str:
    return quote(text, safe=_SAFE)


def part(column: Column, scalar: Scalar) -> str:
    """One part of a key."""
    if type(scalar) is str:
        return escaped(scalar)
    if scalar is None:
        return _NULL
    if isinstance(scalar, bytes):
        return quote(scalar, safe=_SAFE)
    if column.kind is Kind.REAL and scalar == 0:
        return "0.0"  # and -0.0 is the same key
    return escaped(texts.of(column.kind, scalar))


def joined(columns: Sequence[Column], scalars: Sequence[Scalar]) -> str:
    """The text that stands for *scalars* in a key; other scalars have another."""
    return ":".join(map(part, columns, scalars))


def taken_apart(columns: Sequence[Column], text: str) -> Key:
    """The scalars that :func:`joined` made *text* of."""
    parts = text.split(":") if columns else ()
    return tuple(_scalar(column, said) for column, said in zip(columns, parts, strict=True))


def _scalar(column: Column, said: str) -> Scalar:
    return None if said == _NULL else texts.scalar(column.kind, unquote_to_bytes(said))


class Names:
    """The names of a keep's keys."""

    def __init__(self, keep: str) -> None:
        self.prefix: Final = f"quantkeep:{{{escaped(keep)}}}:"

    @cached_property
    def meta(self) -> bytes:
        """What the keep knows of itself. Scripts derive all other names from this one."""
        return f"{self.prefix}meta".encode()

    def record(self, collection: Collection, key: str) -> str:
        """A record."""
        return f"{self.prefix}{collection.name}:{key}"

    def of(self, kind: str, *more: str) -> str:
        """Any other key: ``of("heads", "trades")``."""
        return self.prefix + ":".join((kind, *more))

    @property
    def pattern(self) -> str:
        """What ``SCAN`` matches of this keep, and of no other."""
        return re.sub(r"([*?\[\]\\^-])", r"\\\1", self.prefix) + "*"
