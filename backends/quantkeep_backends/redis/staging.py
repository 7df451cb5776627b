"""What is too much for one command is sent ahead, under keys that vanish unless a commit takes it.

These are the only keys of a keep that have a time to live.
"""

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final, Self

import attrs
from redis.exceptions import RedisError

from quantkeep.errors import QuantkeepError, Unavailable, scrubbed
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link, Lost, alike
from quantkeep_backends.redis.scripts import script
from quantkeep_backends.redis.sources import Slice
from quantkeep_backends.redis.steps import step

_INLINE: Final = 2**20  # bytes that go with the commit itself
SECONDS: Final = 3_600
_PIECE: Final = 2_048  # identities that one command looks up: some milliseconds of the server's


@attrs.define
class Learnt:
    """What was learnt of the store while a batch was tried.

    Attributes:
        known: identities that are stored already: the revision and digest of their entries.
        freed: how often identities of a stream had become free before those were looked up.
        careful: rows of the batch may have the identity of another.
    """

    known: dict[tuple[str, str], tuple[int, bytes]] = attrs.field(factory=dict)
    freed: dict[str, int] = attrs.field(factory=dict)
    careful: bool = False

    def learn(self, stream: str, identity: str, found: bytes, first: int = 0) -> None:
        """The entry of *identity* is at a revision, counted from *first*."""
        revision, digest = found.split(b" ", 1)
        self.known[stream, identity] = (first + int(revision), digest)

    def forget(self) -> None:
        """Look everything up anew."""
        self.known.clear()
        self.freed.clear()


class Staging:
    """What one commit has sent ahead."""

    def __init__(self, link: Link, names: Names, commit_id: str, learnt: Learnt) -> None:
        self._link = link
        self._names = names
        self._id = commit_id
        self._learnt = learnt
        self._inline = 0
        self._staged: list[str] = []
        self._reserved: dict[str, _Reserved] = {}

    def put(self, blob: bytes) -> Sequence[Any]:
        """The script's arguments for *blob*, which may be staged first."""
        if not blob or self._inline + len(blob) <= _INLINE:
            self._inline += len(blob)
            return ("", blob)
        key = self._names.of("staged", self._id, str(len(self._staged)))
        self._staged.append(key)
        self._told(("SET", key, blob, "EX", SECONDS))
        return (key,)

    def _told(self, *commands: Sequence[Any]) -> list[Any]:
        step("redis.stage.send", self._link)
        try:
            answers = self._link.tell(*commands)
        except Lost as error:
            raise _interrupted(self._link, error) from scrubbed(error)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise self._link.meaning(answer) from scrubbed(answer)
        return answers

    # -- identities --------------------------------------------------------------------------------

    def reserve(self, stream: str, offset: int, part: Slice) -> bool:
        """Send the identities of a slice; whether all of them are new.

        They stand in a hash that becomes part of the stream's with the commit. From the first on,
        whoever else appends looks into it too; so it is enough to look each of them up once, after
        it was sent, for the commit to find that nobody was first.
        """
        rows = [
            (identity, b"%d %b" % (offset + n, digest))
            for n, (identity, digest) in enumerate(zip(part.identities, part.digests, strict=True))
            if identity
        ]
        if not rows:
            return True
        reserved = self._reserved.get(stream) or self._begun(stream)
        new = True
        for start in range(0, len(rows), _PIECE):
            new = self._sent(reserved, rows[start : start + _PIECE]) and new
        return new

    def _begun(self, stream: str) -> "_Reserved":
        key = self._names.of("staged", self._id, "ids", stream)
        self._staged.append(key)
        step("redis.stage.send", self._link)
        try:
            answer = script("reserve").run(self._link, self._names.meta, stream, self._id, SECONDS)[
                0
            ]
        except Lost as error:
            raise _interrupted(self._link, error) from scrubbed(error)
        self._learnt.freed.setdefault(stream, int(answer[1]))
        segments = [int(first) for first in answer[0].split()]
        self._reserved[stream] = _Reserved(stream, key, segments)
        return self._reserved[stream]

    def _sent(self, reserved: "_Reserved", rows: Sequence[tuple[str, bytes]]) -> bool:
        """One piece. What a fold moves while this is looked up is found in the one or the other."""
        identities = [identity for identity, _ in rows]
        ids = self._names.of("ids", reserved.stream)
        keys = [*(f"{ids}:{first}" for first in reserved.segments), ids]
        looks = alike([("HMGET", key) for key in keys], identities)
        added, *found = self._told(("HSET", reserved.key, *chain.from_iterable(rows)), *looks)
        new = bool(added == len(rows))
        self._learnt.careful |= not new
        for first, values in zip([*reserved.segments, 0], found, strict=True):
            if values.count(None) == len(values):
                continue
            new = False
            for identity, value in zip(identities, values, strict=True):
                if value is not None:
                    self._learnt.learn(reserved.stream, identity, value, first)
        return new

    def reserved(self, stream: str) -> bool:
        """Whether identities of *stream* were sent."""
        return stream in self._reserved

    def freed(self, stream: str) -> int:
        """How often identities of *stream* had become free before any was looked up."""
        return self._learnt.freed.get(stream, 0)

    # -- afterwards --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if self._staged:
            with suppress(QuantkeepError, Lost):
                self._link.tell(("UNLINK", *self._staged))


@attrs.frozen
class _Reserved:
    """Identities of a stream that were sent ahead, and the segments in which others stand."""

    stream: str
    key: str
    segments: list[int]


def _interrupted(link: Link, error: BaseException) -> Unavailable:
    return Unavailable(f"{link.settings.where} was lost while a batch was sent ahead: try again")
