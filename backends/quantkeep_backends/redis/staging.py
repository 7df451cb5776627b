"""What is too much for one command is sent ahead, under keys that vanish unless a commit takes it.

These are the only keys of a keep that have a time to live.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Self

import attrs
import pyarrow as pa
import pyarrow.compute as pc
from redis.exceptions import NoScriptError

from quantkeep.errors import QuantkeepError, Unavailable, scrubbed
from quantkeep_backends.redis import packets
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link, Lost
from quantkeep_backends.redis.pipe import Parts, Pipe, Then
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
        known: identities that are stored already: the revision of their entries, and the digest,
            which is empty where a large append left it to be asked for.
        freed: how often identities of a stream had become free before those were looked up.
        careful: rows of the batch may have the identity of another.
    """

    known: dict[tuple[str, str], tuple[int, bytes]] = attrs.field(factory=dict)
    freed: dict[str, int] = attrs.field(factory=dict)
    careful: bool = False

    def learn(self, stream: str, identity: str, found: bytes) -> None:
        """The keep knows *identity*, as *found* says."""
        revision, _, digest = found.partition(b" ")
        self.known[stream, identity] = (int(revision), digest)

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
        self._pipe = Pipe(link)

    def put(self, blob: bytes) -> Sequence[Any]:
        """The script's arguments for *blob*, which may be staged first."""
        if not blob or self._inline + len(blob) <= _INLINE:
            self._inline += len(blob)
            return ("", blob)
        key = self._names.of("staged", self._id, str(len(self._staged)))
        self._staged.append(key)
        self._told([packets.around(("SET", key), blob, ("EX", SECONDS))], lambda answers: None)
        return (key,)

    def _told(self, commands: Sequence[Parts], then: Then) -> None:
        step("redis.stage.send", self._link)
        try:
            self._pipe.send(commands, then)
        except Lost as error:
            raise _interrupted(self._link) from scrubbed(error)

    def settle(self) -> None:
        """Wait until the server has all that was sent."""
        try:
            self._pipe.settle()
        except Lost as error:
            raise _interrupted(self._link) from scrubbed(error)

    # -- identities --------------------------------------------------------------------------------

    def reserve(self, stream: str, offset: int, part: Slice) -> bool:
        """Send the identities of a slice; whether none is known not to be new.

        They stand in a hash that becomes part of the stream's with the commit. From the first on,
        whoever else appends looks into it too; so it is enough to look each of them up once, after
        it was sent, for the commit to find that nobody was first.
        """
        present = part.identities.is_valid()
        found, values = part.identities.filter(present), _values(offset, part).filter(present)
        if not len(found):
            return True
        reserved = self._reserved.get(stream) or self._begun(stream)
        for start in range(0, len(found), _PIECE):
            self._sent(reserved, found.slice(start, _PIECE), values.slice(start, _PIECE))
        return reserved.new

    def _begun(self, stream: str) -> "_Reserved":
        key = self._names.of("staged", self._id, "ids", stream)
        self._staged.append(key)
        self.settle()
        step("redis.stage.send", self._link)
        arguments = (stream, self._id, SECONDS)
        try:
            answer = script("reserve").run(self._link, self._names.meta, *arguments)[0]
        except Lost as error:
            raise _interrupted(self._link) from scrubbed(error)
        freed, others = answer
        self._learnt.freed.setdefault(stream, int(freed))
        self._reserved[stream] = _Reserved(stream, key, beside=bool(others))
        return self._reserved[stream]

    def _sent(self, reserved: "_Reserved", identities: pa.Array, values: pa.Array) -> None:
        """One piece, and the question whether somebody else has any identity at all.

        A fold moves what is in segments to the stream's hash, so that is looked at after them.
        """
        stream = reserved.stream
        store = packets.of_columns(("HSET", reserved.key), (identities, values))
        if reserved.beside:
            self._told([store, self._look(stream, identities)], partial(
                self._heard, reserved, identities))  # fmt: skip
            return
        segments = ("HGET", self._names.of("stream", stream), "segments")
        others = ("EXISTS", self._names.of("ids", stream))
        asked = [store, [packets.packed(segments)], [packets.packed(others)]]
        self._told(asked, partial(self._heard_of_others, reserved, identities))

    def _heard_of_others(
        self, reserved: "_Reserved", identities: pa.Array, answers: list[Any]
    ) -> None:
        added, segments, others = answers
        self._heard(reserved, identities, [added, []])
        if segments or others:
            reserved.beside = True
            self._look_up(reserved, identities)

    def _heard(self, reserved: "_Reserved", identities: pa.Array, answers: list[Any]) -> None:
        added, found = answers
        if added != len(identities):
            self._learnt.careful, reserved.new = True, False
        if isinstance(found, NoScriptError):
            self._look_up(reserved, identities, whole=True)
            return
        for identity, known in zip(found[::2], found[1::2], strict=True):
            reserved.new = False
            self._learnt.learn(reserved.stream, identity.decode(), known)

    def _look_up(self, reserved: "_Reserved", identities: pa.Array, *, whole: bool = False) -> None:
        def then(answers: list[Any]) -> None:
            self._heard(reserved, identities, [len(identities), *answers])

        self._told([self._look(reserved.stream, identities, whole=whole)], then)

    def _look(self, stream: str, identities: pa.Array, *, whole: bool = False) -> Parts:
        look = script("look")
        run = ("EVAL", look.text) if whole else ("EVALSHA", look.digest)
        return packets.of_columns((*run, 1, self._names.meta, stream), (identities,))

    def reserved(self, stream: str) -> bool:
        """Whether identities of *stream* were sent."""
        return stream in self._reserved

    def all_new(self, stream: str) -> bool:
        """Whether all that were sent of it are new; asked when everything has settled."""
        return stream not in self._reserved or self._reserved[stream].new

    def freed(self, stream: str) -> int:
        """How often identities of *stream* had become free before any was looked up."""
        return self._learnt.freed.get(stream, 0)

    # -- afterwards --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._staged:
            with suppress(QuantkeepError, Lost):
                self._pipe.settle()  # or what is still under way would come to stand behind it
            with suppress(QuantkeepError, Lost):
                self._link.tell(("UNLINK", *self._staged))


@attrs.define
class _Reserved:
    """Identities of a stream that were sent ahead.

    Attributes:
        new: as far as the server has answered, nobody else has one of them.
        beside: others of that stream are stored, so each has to be looked up.
    """

    stream: str
    key: str
    new: bool = True
    beside: bool = False


def _values(offset: int, part: Slice) -> pa.Array:
    """What stands under an identity: the offset of its row, and the digest if it is there."""
    numbers = pa.array(range(offset, offset + len(part.identities)), pa.int64())
    texts = numbers.cast(pa.string()).cast(pa.binary())
    if not part.digests:
        return texts
    return pc.binary_join_element_wise(texts, pa.array(part.digests, pa.binary()), b" ")


def _interrupted(link: Link) -> Unavailable:
    return Unavailable(f"{link.settings.where} was lost while a batch was sent ahead: try again")
