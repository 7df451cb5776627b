"""The interface of every backend: a handful of primitives, on which all five stores are written.

See ``docs/backend-authors.md`` for the contract in words, and run ``quantkeep conformance URL`` for
the contract in tests. A backend may trust what it is given: batches are sealed, queries bound.
"""

import abc
import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import Unsupported
from quantkeep.query import Query, Tally

if TYPE_CHECKING:
    import pyarrow as pa


class Durability(enum.IntEnum):
    """What survives once a commit has returned.

    Attributes:
        MEMORY: nothing.
        PROCESS: kill -9 of the client.
        SERVER: kill -9 of the store's server.
        DISK: a power cut.
        REPLICATED: the loss of a disk or node.
    """

    MEMORY = 0
    PROCESS = 1
    SERVER = 2
    DISK = 3
    REPLICATED = 4

    @classmethod
    def named(cls, name: "str | Durability") -> "Durability":
        """The level called *name*; raises ``ValueError`` with the names there are."""
        try:
            return name if isinstance(name, Durability) else cls[name.upper()]
        except (KeyError, AttributeError):
            levels = ", ".join(level.name.lower() for level in cls)
            raise ValueError(f"durability {name!r}: expected one of {levels}") from None


class Capability(enum.Flag):
    """What a backend promises beyond the contract that all keep.

    The kit asks for what is claimed; some of what is not claimed must be absent or refused.

    Attributes:
        PERSISTENT: what was committed is there when the keep is opened again. Goes with a
            durability above ``MEMORY``.
        MULTI_PROCESS: several processes of one host may have the keep open and write to it at
            once, and each handle sees at once what another has committed; a forked child may open
            it beside its parent. Where this is not claimed, a second process that would write is
            refused, best with :class:`quantkeep.errors.Busy`, and writes nothing.
        MULTI_HOST: as that, from several hosts.
        PUSH_DOWN: queries and tallies run where the rows are; few rows leave the engine for them.
            It tells a user what is cheap: no clause asks for it.
        SNAPSHOT_READS: a scan gives what was there when it was called, whatever is committed
            beside it, by other handles or by its own, until its last row is read. Where this is
            not claimed, later commits may show in it.
        STORE_CLOCK: ``now()`` is the store's clock, and not that of the process; stamps of commits
            and leases go by it.
        FAILPOINTS: write paths call :func:`quantkeep.failpoints.passing`, at the points that
            ``Health.facts["failpoints"]`` names.
    """

    NONE = 0
    PERSISTENT = enum.auto()
    MULTI_PROCESS = enum.auto()
    MULTI_HOST = enum.auto()
    PUSH_DOWN = enum.auto()
    SNAPSHOT_READS = enum.auto()
    STORE_CLOCK = enum.auto()
    FAILPOINTS = enum.auto()


@attrs.frozen
class Head:
    """How far a stream has come."""

    stream: Key
    revision: int


@attrs.frozen
class Health:
    """What a backend says of itself to ``quantkeep doctor`` and ``keep.health()``.

    Attributes:
        ok: whether the keep can be worked with.
        durability: the level that the settings reach, as observed now.
        facts: versions, settings, paths, as plain values; never a secret. Some are for the kit:
            ``"failpoints"``, the names of the points of a backend that claims ``FAILPOINTS``, and
            sentences that say why less than all is promised of files that are damaged.
            ``"unchecked_files"``: why the engine does not notice it. ``"late_checks"``: why it may
            be noticed by :meth:`Backend.check` alone. ``"damage_spreads"``: why more is closed
            than what was in the damaged part. Leave them out where they do not apply.
        warnings: what a person should see to.
    """

    ok: bool
    durability: Durability
    facts: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


@attrs.frozen
class Garbage:
    """Something an engine has stored that no reader needs: ``quantkeep gc`` removes it."""

    name: str  # a path or key, as a person finds it
    size: int  # bytes
    since: int  # it has not been needed, in microseconds since the epoch
    why: str  # "replaced by compaction", "left by a crash", ...


class Backend(abc.ABC):
    """One opened engine. Shared between threads; not usable in a forked child.

    Who defines what is abstract here has a whole backend. The other methods have a default that
    says so: :meth:`tally` reads all rows and counts, :meth:`scan_arrow` and :meth:`garbage` leave
    it to others, :meth:`check` and :meth:`scrub` check nothing, :meth:`compact` and
    :meth:`backdoor` are ``Unsupported``.

    Attributes:
        name: the scheme it is found by.
        capabilities: what it promises beyond the contract.
        durability: the level that its observed settings reach.
        columns_from: appends of so many rows and more come as columns (:class:`ArrowRows` or, with
            *streams_appends*, :class:`RecordColumns` of
            :mod:`quantkeep.arrow`), where they can, and not as a row each.
        streams_appends: :meth:`commit` sends the rows of a long append as it reads them, unseen by
            anybody. Then core seals them meanwhile: reading them may raise ``InvalidValue``, after
            which nothing of the batch may be applied.
    """

    name: ClassVar[str]
    capabilities: Capability
    durability: Durability
    columns_from: int | None = None
    streams_appends: bool = False

    def __new__(cls, *_: object, **__: object) -> Self:
        """Refuse a class that lacks a part of the contract, by the names of what it lacks."""
        if lacking := ", ".join(sorted(cls.__abstractmethods__)):
            raise Unsupported(
                f"{cls.__module__}.{cls.__qualname__} is no whole backend yet: it lacks {lacking}"
            )
        return super().__new__(cls)

    @abc.abstractmethod
    def description(self) -> str | None:
        """The text the keep remembers of its collections; ``None`` in a keep that is new (Z-3)."""

    @abc.abstractmethod
    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        """Make room for *collections*, and remember *description*.

        Columns and indexes that were added to a collection are added to what is there; nothing is
        dropped. Idempotent, and safe when several processes do it at once.
        """

    @abc.abstractmethod
    def commit(self, batch: Batch) -> Receipt:
        """Apply all of *batch*, or nothing of it.

        A batch whose operation id was applied before changes nothing: its receipt is given again.

        Raises:
            Conflict, StaleOwner, InvalidReference: a precondition or constraint does not hold.
            Regression: a log is behind what this handle has already seen of it.
            OutcomeUnknown: the answer was lost.
        """

    @abc.abstractmethod
    def outcome(self, op_id: str) -> Receipt | None:
        """The receipt of the batch that was applied under *op_id*, if one was."""

    @abc.abstractmethod
    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        """The row known by the canonical *key*."""

    @abc.abstractmethod
    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        """The rows that the bound *query* asks for, in its order, in bounded memory if it can.

        The caller reads on while it does other things: other reads and commits, from any thread.
        """

    @abc.abstractmethod
    def heads(self, collection: Collection) -> list[Head]:
        """The head of each stream of *collection* that has had a revision, by stream."""

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        """Answer the bound *tally*. An engine that can do it in place overrides this."""
        rows = self.scan(collection, Query())
        return tally.run(collection, rows, lambda other: self.scan(other, Query()))

    def scan_arrow(
        self, collection: Collection, query: Query, *, batch_rows: int = 10_000
    ) -> "Iterator[pa.RecordBatch] | None":
        """The same rows as record batches, their digests checked; ``None``: let core convert."""
        return None

    # -- blobs: immutable, content-addressed, invisible until a commit refers to them (Z-7) --------

    @abc.abstractmethod
    def put_blob(self, digest: str, data: bytes) -> None:
        """Stage *data*, at most 4 MiB, under the hexadecimal *digest* of its content.

        Staging what is there already renews the time it was staged at, so that whoever is about to
        refer to it does not lose it to a collection of garbage.
        """

    @abc.abstractmethod
    def open_blob(self, digest: str) -> bytes | None:
        """The bytes staged under *digest*."""

    def blob_size(self, digest: str) -> int:
        """How many bytes are staged under *digest*, told without reading them; 0: none."""
        return len(self.open_blob(digest) or b"")

    @abc.abstractmethod
    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        """Forget the blob, if it is there and was last staged before that time, if one is given."""

    @abc.abstractmethod
    def list_blobs(self) -> Iterator[tuple[str, int]]:
        """Each blob's digest, and when it was last staged, in microseconds since the epoch."""

    # -- housekeeping ------------------------------------------------------------------------------

    @abc.abstractmethod
    def now(self) -> int:
        """The store's clock, in microseconds since the epoch."""

    @abc.abstractmethod
    def health(self) -> Health:
        """What the engine says of itself, observed now."""

    @abc.abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """Rows of each collection, by name, and ``"bytes"`` where the engine knows it."""

    def check(self) -> list[str] | None:
        """The engine's own integrity check; each line names a problem. ``None``: it has none."""
        return None

    def scrub(self) -> Iterable[str] | None:
        """Read every stored byte and hold it against its checksum; each line names a problem.

        For ``quantkeep verify --deep``, which checks the digests of records and blobs itself.
        Goes on behind a problem, and says how far it is (:func:`quantkeep.progress.counted`).
        """
        return self.check()

    def compact(self) -> None:
        """Give space back, and make reading cheaper; beside running readers and writers.

        Says how far it is (:func:`quantkeep.progress.counted`).
        """
        raise Unsupported(f"{self.name} has nothing to compact")

    def garbage(self, before: int) -> Sequence[Garbage]:
        """What the engine itself has no use for since before that time (blobs are not meant).

        Files replaced by a compaction, or left by a crash. Whoever began to read or write before
        then is taken to be done.
        """
        return ()

    def remove_garbage(self, before: int) -> Sequence[Garbage]:
        """Remove what :meth:`garbage` would list now; says what was removed."""
        return ()

    def backdoor(self) -> "Backdoor":
        """Raw access past all checks, for corruption tests alone."""
        raise Unsupported(f"{self.name} offers no backdoor to its stored bytes")

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of everything; idempotent."""


class Backdoor(abc.ABC):
    """How a test damages stored bytes behind a backend's back."""

    @abc.abstractmethod
    def flip(self, collection: Collection, key: Key, column: str) -> None:
        """Change one byte of the stored value of *column*, without touching its digest."""

    @abc.abstractmethod
    def remove(self, collection: Collection, key: Key) -> None:
        """Remove the row without a trace."""

    def flip_receipt(self, op_id: str) -> None:
        """Change one digit of the receipt that is stored under *op_id*, so that it can be read."""
        raise Unsupported(f"{type(self).__name__} does not reach receipts")
