"""What a commit consists of: writes and preconditions as plain values, and the receipt it gives.

A batch applies wholly or not at all. References and uniqueness are judged by the state after the
whole batch; its writes are applied in order.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import attrs

from quantkeep.checksums import checked, understood
from quantkeep.collection import Collection, Key, SealedRow
from quantkeep.errors import Corrupt, Invalid

# -- preconditions -------------------------------------------------------------------------------


@attrs.frozen
class Anything:
    """No precondition: insert, or replace what is there."""


@attrs.frozen
class Absent:
    """The key must not be stored yet."""


@attrs.frozen
class Present:
    """The key must be stored."""


@attrs.frozen
class AtRevision:
    """The record must be at this revision: of two writers that expect the same one, one wins."""

    revision: int


@attrs.frozen
class Holding:
    """The record's ``token`` column must be this fencing token, else ``StaleOwner``."""

    token: int


Expectation = Anything | Absent | Present | AtRevision | Holding

ANYTHING: Final = Anything()
ABSENT: Final = Absent()
PRESENT: Final = Present()


# -- writes --------------------------------------------------------------------------------------


@attrs.frozen
class Put:
    """Write the keyed *row*, replacing what is there.

    An equal row is written again, with a new revision, unless the collection is immutable: there
    an equal row changes nothing and another is ``AlreadyExists``.
    """

    collection: Collection
    row: SealedRow
    expect: Expectation = ANYTHING


@attrs.frozen
class Append:
    """Add *rows* to a log, in order.

    A row whose identity is there already, with the same digest, adds nothing; with another digest
    it is ``AlreadyExists``, and nothing of the batch is applied. *rows* is iterated more than once.
    Only for a backend that says so (``streams_appends``) may iterating it raise ``InvalidValue``.
    """

    collection: Collection
    rows: Iterable[SealedRow]


@attrs.frozen
class Delete:
    """Delete the record known by the canonical *key* (of a log: stream and revision).

    What is not there is not deleted, and that is no error unless *expect* says so.
    """

    collection: Collection
    key: Key
    expect: Expectation = ANYTHING


@attrs.frozen
class Require:
    """Write nothing; the batch applies only if *expect* holds of the record known by *key*."""

    collection: Collection
    key: Key
    expect: Expectation


Write = Put | Append | Delete | Require


@attrs.frozen
class Batch:
    """Writes that become visible together.

    Attributes:
        op_id: remembered by the store: the same batch again gives the first receipt, another batch
            under the same id is ``OperationConflict`` (Z-10).
    """

    writes: tuple[Write, ...]
    op_id: str | None = None

    def digest(self) -> bytes:
        """Digest of the caller's input, that an operation id is bound to."""
        sink = blake2b(digest_size=16)
        for write in self.writes:
            for part in _described(write):
                sink.update(part)
        return sink.digest()


def _described(write: Write) -> Iterator[bytes]:
    expect, name = getattr(write, "expect", ANYTHING), write.collection.name
    key = (repr(write.key),) if isinstance(write, Delete | Require) else ()
    yield _head(type(write).__name__, name, repr(expect), *key)
    if isinstance(write, Put):
        yield write.row.digest
    elif isinstance(write, Append):
        for row in write.rows:
            yield row.digest


@lru_cache(maxsize=256)
def _head(*parts: str) -> bytes:
    return json.dumps(parts).encode()


# -- receipts ------------------------------------------------------------------------------------


_COMPACT: Final = json.JSONEncoder(separators=(",", ":")).encode
_MEMBERS: Final = frozenset({"at", "outcomes"})


def _folded(revisions: Sequence[int]) -> Sequence[int]:
    """Revisions as a range where they are dense, so that equal ones compare equal."""
    if isinstance(revisions, range):
        return revisions
    if not revisions or revisions[-1] - revisions[0] + 1 != len(revisions):
        return tuple(revisions)
    run = range(revisions[0], revisions[-1] + 1)
    return run if all(map(int.__eq__, run, revisions)) else tuple(revisions)


@attrs.frozen
class Outcome:
    """What one write did.

    Attributes:
        revisions: of a put, the one it was given; of an append, each row's in order, an old one
            where the row was there already; otherwise empty.
        added: rows that are new; of a delete, rows deleted.
    """

    revisions: Sequence[int] = attrs.field(default=(), converter=_folded)
    added: int = 0


@attrs.frozen
class Receipt:
    """Proof that a batch was applied.

    Attributes:
        outcomes: one for each write, in order.
        at: when, by the store's clock, in microseconds since the epoch.
        replayed: the operation id was known: the batch had been applied before, not now.
    """

    outcomes: tuple[Outcome, ...] = ()
    at: int = 0
    op_id: str | None = None
    replayed: bool = False

    @property
    def revision(self) -> int:
        """The last revision given by the batch; 0 if it gave none."""
        return next((o.revisions[-1] for o in reversed(self.outcomes) if len(o.revisions)), 0)

    @property
    def revisions(self) -> tuple[int, ...]:
        """All revisions, in order of writes and rows."""
        return tuple(itertools.chain.from_iterable(o.revisions for o in self.outcomes))

    @property
    def added(self) -> int:
        """Rows that are new."""
        return sum(outcome.added for outcome in self.outcomes)

    def to_json(self, digest: bytes = b"") -> str:
        """Text to remember under the operation id, with a checksum; runs of revisions are folded.

        With the *digest* of the batch, which is stored beside it, the checksum is of that as well.
        """
        outcomes = [[o.added, _runs(o.revisions)] for o in self.outcomes]
        text = _COMPACT({"at": self.at, "outcomes": outcomes})
        return checked(text, f"{self.op_id or ''}{digest.hex()}")

    @classmethod
    def from_json(cls, text: str, op_id: str, digest: bytes = b"") -> "Receipt":
        """The receipt remembered under *op_id*, marked as replayed.

        Raises:
            Corrupt: it is not the *text* that :meth:`to_json` made, or not of *op_id* and *digest*.
        """
        what, locator = f"the receipt of operation {op_id!r}", f"operations {op_id!r}"
        said = understood(text, _MEMBERS, what, locator, f"{op_id}{digest.hex()}")
        try:
            outcomes = tuple(Outcome(_unrolled(runs), added) for added, runs in said["outcomes"])
        except (TypeError, ValueError) as error:  # it has no checksum
            raise Corrupt(f"{what} cannot be read: {error}", locator=locator) from None
        return cls(outcomes, said["at"], op_id, replayed=True)


def _runs(revisions: Sequence[int]) -> list[list[int]]:
    if isinstance(revisions, range):
        return [[revisions.start, len(revisions)]] if len(revisions) else []
    runs: list[list[int]] = []
    for revision in revisions:
        if runs and revision == runs[-1][0] + runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([revision, 1])
    return runs


def _unrolled(runs: list[list[int]]) -> Sequence[int]:
    if len(runs) == 1:
        ((first, count),) = runs
        return range(first, first + count)
    return [n for first, count in runs for n in range(first, first + count)]


def check_op_id(op_id: str | None) -> None:
    """Refuse an operation id that no engine could hold."""
    from quantkeep.columns import KEY_BYTES, check_text

    if op_id is None:
        return
    fits = type(op_id) is str and 0 < len(op_id.encode(errors="replace")) <= KEY_BYTES
    if not fits:
        raise Invalid(f"op_id {op_id!r:.80}: expected text of 1 to {KEY_BYTES} bytes")
    check_text(op_id, "batch", "op_id")


def one(write: Write, op_id: str | None = None) -> Batch:
    """A batch of a single write."""
    return Batch((write,), op_id)
