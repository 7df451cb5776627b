"""A second place to write to, for when the first cannot be reached (Z-39).

Chosen in the configuration, never silent: ``keep.health()``, a log record of the level WARNING, and
the hook ``quantkeep_fallback`` say so. History forks there. So a fallback begins empty, and its
sessions are new ones, with fencing tokens of their own; :func:`quantkeep.merge` brings it back, and
until then a keep that can reach its first place again refuses to open.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import attrs

from quantkeep.backend import Backdoor, Backend, Garbage, Head, Health
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import Unavailable, Unmerged
from quantkeep.query import Query, Tally

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

# Opens the other engine, with room for what was described, because of an error.
Replace = Callable[[Unavailable, "str | None"], "tuple[Backend, FallbackUse]"]
When = Literal["open", "loss"]
WHEN: Final = ("open", "loss")
OWN: Final = ("merge_source",)  # collections that say what a fallback is, and are nobody's data

log = logging.getLogger("quantkeep.fallback")


@attrs.frozen
class FallbackUse:
    """That a keep goes on at its fallback.

    Attributes:
        stores: which stores; an empty name stands for records of no store.
        primary: the URL that could not be reached, without its password.
        fallback: the URL that is used.
        reason: what the first one's backend said.
        since: by this machine's clock.
    """

    stores: tuple[str, ...]
    primary: str
    fallback: str
    reason: str
    since: datetime = attrs.field(factory=lambda: datetime.now(UTC))

    def __str__(self) -> str:
        reason = self.reason.removeprefix(self.primary).lstrip(": ")
        return (
            f"{self.primary} cannot be reached ({reason}), so {self.fallback} is used since "
            f"{self.since:%Y-%m-%d %H:%M:%S} UTC; once it is back, run "
            f"`quantkeep merge {self.fallback} --into {self.primary}`"
        )


def cannot_be_reached(error: Unavailable) -> bool:
    """Whether *error* says that the engine is not there; a refusal is an answer."""
    return error.retryable


def check_merged(fallback: Backend, url: str, primary: str) -> None:
    """Raise :class:`Unmerged` if rows are left at *fallback*."""
    left = sum(size for name, size in fallback.sizes().items() if name not in (*OWN, "bytes"))
    if left:
        raise Unmerged(
            f"{url} holds {left:,} records that were written while {primary} could not be reached: "
            f"run `quantkeep merge {url} --into {primary}` first, or state would be resumed that "
            "is out of date"
        )


class FallbackBackend(Backend):
    """An engine, and another that takes its place for good once it cannot be reached any more."""

    def __init__(
        self,
        engine: Backend,
        *uses: FallbackUse,
        replace: Replace | None = None,
    ) -> None:
        self.engine = engine
        self.uses = [*uses]  # none: the first one is still there
        self._replace = replace  # None: there is no other
        self._described: str | None = None
        self._lost: Backend | None = None  # whose rows may still be read
        self.capabilities = engine.capabilities
        self.durability = engine.durability
        self.columns_from = engine.columns_from

    @property
    def name(self) -> str:  # type: ignore[override]  # the engine's
        return self.engine.name

    def _do(self, act: Callable[[Backend], T]) -> T:
        try:
            return act(self.engine)
        except Unavailable as error:
            self._switch(error)
        return act(self.engine)

    def _switch(self, error: Unavailable) -> None:
        """Go on at the other engine; raises *error* if there is none, or it is no loss."""
        if self._replace is None or not cannot_be_reached(error):
            raise error
        self._lost = self.engine
        self.engine, use = self._replace(error, self._described)
        self._replace = None
        self.uses.append(use)

    # -- what is stored ----------------------------------------------------------------------------

    def description(self) -> str | None:
        self._described = self._do(lambda engine: engine.description())
        return self._described

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        self._do(lambda engine: engine.ensure(collections, description))
        self._described = description

    def commit(self, batch: Batch) -> Receipt:
        return self._do(lambda engine: engine.commit(batch))

    def outcome(self, op_id: str) -> Receipt | None:
        return self._do(lambda engine: engine.outcome(op_id))

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        return self._do(lambda engine: engine.get(collection, key))

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        return self._read(lambda engine: engine.scan(collection, query))

    def scan_arrow(
        self, collection: Collection, query: Query, *, batch_rows: int = 10_000
    ) -> "Iterator[pa.RecordBatch] | None":
        return self._do(lambda e: e.scan_arrow(collection, query, batch_rows=batch_rows))

    def _read(self, act: Callable[[Backend], Iterator[T]]) -> Iterator[T]:
        """Rows of one engine, as of now: what was begun is not gone on with at another."""
        return self._followed(self._do(act), act)

    def _followed(self, rows: Iterator[T], act: Callable[[Backend], Iterator[T]]) -> Iterator[T]:
        begun = False
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except Unavailable as error:
                self._switch(error)
                if begun:
                    raise
                rows = act(self.engine)
                continue
            begun = True
            yield row

    def heads(self, collection: Collection) -> list[Head]:
        return self._do(lambda engine: engine.heads(collection))

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        return self._do(lambda engine: engine.tally(collection, tally))

    # -- blobs -------------------------------------------------------------------------------------

    def put_blob(self, digest: str, data: bytes) -> None:
        self._do(lambda engine: engine.put_blob(digest, data))

    def open_blob(self, digest: str) -> bytes | None:
        return self._do(lambda engine: engine.open_blob(digest))

    def blob_size(self, digest: str) -> int:
        return self._do(lambda engine: engine.blob_size(digest))

    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        self._do(lambda engine: engine.delete_blob(digest, staged_before=staged_before))

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return self._read(lambda engine: engine.list_blobs())

    # -- housekeeping ------------------------------------------------------------------------------

    def now(self) -> int:
        return self._do(lambda engine: engine.now())

    def health(self) -> Health:
        """The engine's own, and that it is the second one."""
        health = self._do(lambda engine: engine.health())
        said = {"fallback_for": ", ".join(use.primary for use in self.uses)} if self.uses else {}
        warnings = (*map(str, self.uses), *health.warnings)
        return attrs.evolve(health, facts={**health.facts, **said}, warnings=warnings)

    def sizes(self) -> Mapping[str, int]:
        return self._do(lambda engine: engine.sizes())

    def check(self) -> list[str] | None:
        return self.engine.check()

    def scrub(self) -> Iterable[str] | None:
        return self.engine.scrub()

    def compact(self) -> None:
        self.engine.compact()

    def garbage(self, before: int) -> Sequence[Garbage]:
        return self.engine.garbage(before)

    def remove_garbage(self, before: int) -> Sequence[Garbage]:
        return self.engine.remove_garbage(before)

    def backdoor(self) -> Backdoor:
        return self.engine.backdoor()

    def close(self) -> None:
        self.engine.close()
        if self._lost is not None:
            self._lost.close()
