"""Blobs: a string each, and a sorted set of when they were staged (Z-7)."""

from collections.abc import Iterator

from quantkeep.errors import Unavailable, scrubbed
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link, Lost
from quantkeep_backends.redis.scripts import script
from quantkeep_backends.redis.steps import step


class Blobs:
    """The blobs of one keep."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names

    def put(self, digest: str, data: bytes) -> None:
        """Stage *data*."""
        step("redis.blob.send", self._link)
        self._told(digest, data, "put")

    def delete(self, digest: str, staged_before: int | None) -> None:
        """Forget it, unless it was staged again since."""
        self._told(digest, b"", "" if staged_before is None else str(staged_before))

    def _told(self, *arguments: object) -> None:
        """Either may be done twice, so a lost answer is asked for again."""
        run = script("blob").run
        try:
            run(self._link, self._names.meta, *arguments)
        except Lost:
            try:
                run(self._link, self._names.meta, *arguments)
            except Lost as error:
                raise Unavailable(
                    f"{self._link.settings.where} was lost while a blob was written: try again"
                ) from scrubbed(error)

    def get(self, digest: str) -> bytes | None:
        """The bytes."""
        found: bytes | None = self._link.ask("GET", self._names.of("blob", digest))
        return found

    def size(self, digest: str) -> int:
        """How many bytes it has."""
        found: int = self._link.ask("STRLEN", self._names.of("blob", digest))
        return found

    def all(self) -> Iterator[tuple[str, int]]:
        """Each digest, and when it was staged."""
        flat = self._link.ask("ZRANGE", self._names.of("blobs"), 0, -1, "WITHSCORES")
        for digest, staged in zip(flat[::2], flat[1::2], strict=True):
            yield digest.decode(), int(float(staged))
