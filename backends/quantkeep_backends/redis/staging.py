"""What is too much for one command is sent ahead, under keys that vanish unless a commit takes it.

These are the only keys of a keep that have a time to live.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Self

from quantkeep.errors import QuantkeepError, Unavailable, scrubbed
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link, Lost
from quantkeep_backends.redis.steps import step

_INLINE: Final = 4 * 2**20  # bytes that go with the commit itself
_SECONDS: Final = 3_600


class Staging:
    """The blobs of one commit."""

    def __init__(self, link: Link, names: Names, commit_id: str) -> None:
        self._link = link
        self._prefix = names.of("staged", commit_id)
        self._inline = 0
        self._staged: list[str] = []

    def put(self, blob: bytes) -> Sequence[Any]:
        """The script's arguments for *blob*, which may be staged first."""
        if not blob or self._inline + len(blob) <= _INLINE:
            self._inline += len(blob)
            return ("", blob)
        key = f"{self._prefix}:{len(self._staged)}"
        step("redis.stage.send", self._link)
        self._staged.append(key)
        try:
            self._link.tell(("SET", key, blob, "EX", _SECONDS))
        except Lost as error:
            raise Unavailable(
                f"{self._link.settings.where} was lost while a batch was sent ahead: try again"
            ) from scrubbed(error)
        return (key,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._staged:
            with suppress(QuantkeepError, Lost):
                self._link.tell(("UNLINK", *self._staged))
