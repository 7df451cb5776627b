"""What large commits sent ahead and never took: it vanishes by itself, and sooner if one asks."""

from collections.abc import Iterator, Sequence
from typing import Any

from quantkeep.backend import Garbage
from quantkeep.errors import PermissionDenied
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link
from quantkeep_backends.redis.staging import SECONDS

_WHY = "sent ahead by a commit that was not made"


class Leftovers:
    """The keys of one keep that have a time to live."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names

    def found(self, before: int, now: int) -> Sequence[Garbage]:
        """What was sent before that time, and is there now."""
        every = (self._garbage(name, now) for name in self._staged())
        return [each for each in every if each is not None and each.since < before]

    def removed(self, before: int, now: int) -> Sequence[Garbage]:
        """Remove that."""
        found = self.found(before, now)
        for each in found:
            self._link.ask("UNLINK", each.name)
        return found

    def _garbage(self, name: bytes, now: int) -> Garbage | None:
        left = self._link.ask("PTTL", name)
        if left < 0:  # taken or gone meanwhile
            return None
        since = now - (SECONDS * 1_000 - left) * 1_000
        return Garbage(name.decode(), self._size(name), since, _WHY)

    def _size(self, name: bytes) -> int:
        try:
            return int(self._link.ask("MEMORY", "USAGE", name) or 0)
        except PermissionDenied:
            return 0

    def _staged(self) -> Iterator[bytes]:
        pattern = self._names.pattern.removesuffix("*") + "staged:*"
        cursor: Any = b"0"
        while True:
            cursor, found = self._link.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 1_000)
            yield from found
            if cursor == b"0":
                return
