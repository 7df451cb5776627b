"""What a handle has seen of streams, so that an older backup put under it is noticed."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from quantkeep.collection import Collection, Key
from quantkeep.contract import regressed

S = TypeVar("S")

_REMEMBERED: Final = 65_536


class Seen(Generic[S]):
    """The streams that a handle has seen.

    Args:
        head_of: how far a stream has come, of what is remembered of it.
    """

    def __init__(self, head_of: Callable[[S], int]) -> None:
        self._head_of = head_of
        self._streams: dict[tuple[str, Key], S] = {}

    def find(self, collection: Collection, stream: Key) -> S | None:
        """What is known of *stream*."""
        return self._streams.get((collection.name, stream))

    def head(self, collection: Collection, stream: Key) -> int:
        """How far *stream* was seen to have come; 0 if it was not."""
        known = self.find(collection, stream)
        return 0 if known is None else self._head_of(known)

    def note(self, collection: Collection, stream: Key, now: S) -> None:
        """Remember that *stream* has come as far as *now*, or further, as was noted before."""
        if self.head(collection, stream) > self._head_of(now):
            return
        if len(self._streams) >= _REMEMBERED:
            self._streams.pop(next(iter(self._streams)), None)
        self._streams[collection.name, stream] = now

    def heads(self, collection: Collection) -> dict[Key, int]:
        """How far each stream of *collection* was seen to have come, by now."""
        streams = [*self._streams.items()]
        return {
            stream: self._head_of(now) for (name, stream), now in streams if name == collection.name
        }

    def check(self, collection: Collection, stream: Key, head: int) -> None:
        """Hold the *head* just read against what was seen before; raises ``Regression``."""
        before = self.head(collection, stream)
        if head < before:
            raise regressed(collection, stream, before, head)
