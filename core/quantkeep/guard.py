"""What every use of a backend passes first: not closed, not in a forked child, not read-only."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quantkeep.backend import Backdoor, Backend, Garbage, Head, Health
from quantkeep.batch import Batch, Receipt, check_op_id
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import Closed, QuantkeepError, ReadOnly, UsedAfterFork
from quantkeep.query import Query, Tally

if TYPE_CHECKING:
    import pyarrow as pa


class GuardedBackend(Backend):
    """A backend as a keep uses it. Binds queries, so that engines may trust them."""

    def __init__(self, engine: Backend, *, read_only: bool = False) -> None:
        self.engine = engine
        self.capabilities = engine.capabilities
        self.durability = engine.durability
        self.columns_from = engine.columns_from
        self.streams_appends = engine.streams_appends
        self._read_only = read_only
        self._pid = os.getpid()
        self._closed = False

    @property
    def name(self) -> str:  # type: ignore[override]  # the engine's
        return self.engine.name

    def usable(self) -> Backend:
        """The engine; raises :class:`Closed` or :class:`UsedAfterFork`."""
        if self._closed:
            raise Closed("this keep was closed; open it again")
        if os.getpid() != self._pid:
            raise UsedAfterFork(
                f"this keep was opened by process {self._pid}, before a fork; "
                "open it again in the child"
            )
        return self.engine

    def writable(self) -> Backend:
        """The engine, if it may be written to; raises :class:`ReadOnly` too."""
        if self._read_only:
            raise ReadOnly("this keep was opened with read_only=True")
        return self.usable()

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        self.writable().ensure(collections, description)

    def description(self) -> str | None:
        return self.usable().description()

    def commit(self, batch: Batch) -> Receipt:
        if batch.op_id is not None:
            check_op_id(batch.op_id)
        try:
            return self.writable().commit(batch)
        except QuantkeepError as error:
            error.op_id = error.op_id or batch.op_id  # what Keep.resolve asks for
            raise

    def outcome(self, op_id: str) -> Receipt | None:
        check_op_id(op_id)
        return self.usable().outcome(op_id)

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        return self.usable().get(collection, key)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        return self.usable().scan(collection, query.bound(collection))

    def scan_arrow(
        self, collection: Collection, query: Query, *, batch_rows: int = 10_000
    ) -> "Iterator[pa.RecordBatch] | None":
        bound = query.bound(collection)
        return self.usable().scan_arrow(collection, bound, batch_rows=batch_rows)

    def heads(self, collection: Collection) -> list[Head]:
        return self.usable().heads(collection)

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        return self.usable().tally(collection, tally.bound(collection))

    def put_blob(self, digest: str, data: bytes) -> None:
        self.writable().put_blob(digest, data)

    def open_blob(self, digest: str) -> bytes | None:
        return self.usable().open_blob(digest)

    def blob_size(self, digest: str) -> int:
        return self.usable().blob_size(digest)

    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        self.writable().delete_blob(digest, staged_before=staged_before)

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return self.usable().list_blobs()

    def now(self) -> int:
        return self.usable().now()

    def health(self) -> Health:
        return self.usable().health()

    def sizes(self) -> Mapping[str, int]:
        return self.usable().sizes()

    def check(self) -> list[str] | None:
        return self.usable().check()

    def scrub(self) -> Iterable[str] | None:
        return self.usable().scrub()

    def compact(self) -> None:
        self.writable().compact()

    def garbage(self, before: int) -> Sequence[Garbage]:
        return self.usable().garbage(before)

    def remove_garbage(self, before: int) -> Sequence[Garbage]:
        return self.writable().remove_garbage(before)

    def backdoor(self) -> Backdoor:
        return self.usable().backdoor()

    def close(self) -> None:
        """Close the engine; in a forked child only forget it, for the parent still uses it."""
        if not self._closed and os.getpid() == self._pid:
            self.engine.close()
        self._closed = True
