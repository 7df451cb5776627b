"""How far a stream of a log is contained in a session's state, and how a batch moves that (Z-8).

A watermark is a promise about the *state*: it holds the effect of every entry up to that revision.
When entries and the state that they led to are in one commit, the revisions are not known before
the store has given them. So they are worked out, and the commit requires that they came true: the
stream ends exactly there, or nothing is applied.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from quantkeep.backend import Backend
from quantkeep.batch import ABSENT, Append, AtRevision, Require, Write
from quantkeep.collection import Collection, Key, SealedRow
from quantkeep.contract import regressed
from quantkeep.errors import Conflict, InvalidQuery, InvalidValue
from quantkeep.query import Query, Where

# Revisions by the name of a log's stream: {"trades/live/default": 4711}.
Watermarks = Mapping[str, int]

_STREAM: Final = ("account", "mode")


@attrs.frozen
class Stream:
    """The part of a log that belongs to one account and mode."""

    account: str
    mode: str

    @property
    def key(self) -> tuple[str, str]:
        """As heads and keys name it."""
        return (self.account, self.mode)

    def of(self, collection: str) -> str:
        """The name under which watermarks hold the revision of *collection* here."""
        return f"{collection}/{self.mode}/{self.account}"  # last, for it may hold a slash

    @classmethod
    def named(cls, name: str) -> "tuple[str, Stream]":
        """The collection and stream that watermarks call *name*; raises InvalidQuery."""
        try:
            collection, mode, account = name.split("/", 2)
        except ValueError:
            raise InvalidQuery(
                f"{name!r} names no stream of the tape: expected such as trades/live/default"
            ) from None
        return collection, cls(account, mode)

    def meets(self, account: str | None, mode: str | None) -> bool:
        """Whether it is of *account* and *mode*; ``None`` stands for any."""
        return account in (None, self.account) and mode in (None, self.mode)


def check_stream(name: object) -> None:
    """Refuse a watermark of what can be no stream; raises :class:`quantkeep.InvalidValue`."""
    if not isinstance(name, str) or name.count("/") < 2:
        raise InvalidValue(
            f"{name!r} names no stream", field="watermarks", value=name,
            expected="a log, its mode and account, such as trades/live/default",
        )  # fmt: skip


def checked(marks: object) -> dict[str, int]:
    """*marks* as a dict of their own; raises :class:`quantkeep.InvalidValue`."""
    if not isinstance(marks, Mapping):
        raise InvalidValue(
            f"are a {type(marks).__name__}", field="watermarks", value=marks,
            expected="revisions by stream: {'trades/live/default': 4711}",
        )  # fmt: skip
    for name, revision in marks.items():
        check_stream(name)
        if type(revision) is not int or revision < 0:
            raise InvalidValue(
                f"the watermark of {name!r} cannot be {revision!r}",
                field="watermarks", value=revision, expected="a revision from 0 on",
            )  # fmt: skip
    return dict(marks)


@attrs.frozen
class Growth:
    """What a batch appends to one stream.

    Attributes:
        name: of the stream, as watermarks have it.
        before: the revision up to which the state holds the stream.
        rows: what is appended.
        repeated: how many of those are on the log already, and add nothing.
    """

    name: str
    collection: Collection
    key: Key
    before: int
    rows: Sequence[SealedRow]
    repeated: int = 0

    @property
    def after(self) -> int:
        """The revision up to which the state holds the stream once the batch is applied."""
        return self.before + len(self.rows) - self.repeated

    def requirements(self) -> list[Require]:
        """That the stream ends at :attr:`after`; to be judged behind the appends."""
        at, behind = (*self.key, self.after), (*self.key, self.after + 1)
        ends = Require(self.collection, behind, ABSENT)
        if self.after == self.before:
            return [ends]  # its last entry may have been pruned
        return [Require(self.collection, at, AtRevision(self.after)), ends]

    def revised(self, backend: Backend) -> "Growth":
        """The same as the log is now, after the commit has failed.

        Raises:
            Conflict: the log holds entries that the state does not.
            Regression: the log ends before what the state holds.
        """
        heads = {head.stream: head.revision for head in backend.heads(self.collection)}
        head = heads.get(self.key, 0)
        if head > self.before:
            raise Conflict(
                f"{self.name} is at revision {head}, but the state holds it to {self.before} only: "
                "another writer appended to it. Take that in (session.replay(keep.tape, reducer)), "
                "or say that it is in the state (session.watermark); then make the batch anew"
            )
        if head < self.before:
            raise regressed(self.collection, self.key, self.before, head)
        return attrs.evolve(self, repeated=self._repeated(backend))

    def _repeated(self, backend: Backend) -> int:
        """How many of the rows are on the log, or stand earlier among them."""
        met: set[Key] = set()
        repeated = 0
        for row in self.rows:
            identity = self.collection.identity_of(row.values)
            if identity and None not in identity:
                repeated += identity in met or self._is_there(backend, identity)
                met.add(identity)
        return repeated

    def _is_there(self, backend: Backend, identity: Key) -> bool:
        names = (*self.collection.stream, *self.collection.identity)
        same = tuple(
            Where(name, "==", self.collection.column(name).python(scalar))
            for name, scalar in zip(names, (*self.key, *identity), strict=True)
        )
        query = Query(where=same, limit=1)
        return next(backend.scan(self.collection, query), None) is not None


def growths(writes: Iterable[Write], marks: Watermarks) -> list[Growth]:
    """What *writes* append to the streams that have a watermark."""
    found: dict[str, tuple[Collection, Key, list[SealedRow]]] = {}
    for write in writes:
        if isinstance(write, Append) and write.collection.stream == _STREAM:
            for row in write.rows:
                account, mode = key = write.collection.stream_of(row.values)
                name = Stream(str(account), str(mode)).of(write.collection.name)
                if name in marks:
                    found.setdefault(name, (write.collection, key, []))[2].append(row)
    return [Growth(name, of, key, marks[name], rows) for name, (of, key, rows) in found.items()]
