"""The backend: commits to the log, reads from segments and memory, compaction."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from quantkeep import schema
from quantkeep.backend import Backdoor, Backend, Capability, Garbage, Head, Health
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import (
    Busy,
    Corrupt,
    NotFound,
    OutcomeUnknown,
    QuantkeepError,
    WriterPoisoned,
)
from quantkeep.failpoints import passing
from quantkeep.hookspecs import Opening
from quantkeep.model import Effect
from quantkeep.query import Query, Tally
from quantkeep_backends._files import durable
from quantkeep_backends._files.medium import Files
from quantkeep_backends.parquet import _blobs, _compaction, _entries, _garbage
from quantkeep_backends.parquet._backdoor import ParquetBackdoor
from quantkeep_backends.parquet._replica import Replica
from quantkeep_backends.parquet._tables import Tables

if TYPE_CHECKING:
    import pyarrow as pa

LONG_TAIL: Final = 5_000  # commits behind the manifest, after which opening is slow
_TURN: Final = 2.0  # seconds to wait for other writers of this host before trying beside them
FAILPOINTS: Final = (
    "parquet.commit.begin",
    "log.commit.create",
    "files.create.write",
    "files.sync",
    "files.create.link",
    "files.create.linked",
    "log.commit.created",
    "files.replace.write",
    "files.replace.rename",
    "files.replace.renamed",
    "parquet.compact.collection",
    "parquet.compact.manifest",
    "parquet.compact.commit",
    "parquet.compact.publish",
    "parquet.compact.done",
    "parquet.garbage.remove",
)


class ParquetBackend(Backend):
    """A replica under one lock, over files of any kind."""

    name: ClassVar[str] = "parquet"

    def __init__(
        self,
        files: Files,
        opening: Opening,
        capabilities: Capability,
        *,
        patience: float = 30.0,
    ) -> None:
        self.capabilities = capabilities
        self.durability = files.durability
        self._files = files
        self._patience = patience
        self._thread = threading.RLock()
        try:
            self._replica = Replica(files)
            if not self._replica.is_made:
                self._make(create=opening.create and not opening.read_only)
        except BaseException:
            files.close()
            raise

    def _make(self, *, create: bool) -> None:
        if not create:
            raise NotFound(
                f"there is no keep at {self._files.root}: open it with create=True to make one"
            )
        self._insist(lambda _: _compaction.created())

    # -- commits ---------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> Receipt:
        receipts = list[Receipt]()
        now = self.now()

        def applied(tables: Tables) -> Mapping[str, Any] | None:
            receipt, effects = tables.apply(batch, now)
            receipts.append(receipt)
            return self._entry(tables, batch, receipt, effects)

        self._insist(applied)
        return receipts[-1]

    def _entry(
        self, tables: Tables, batch: Batch, receipt: Receipt, effects: Sequence[Effect]
    ) -> Mapping[str, Any] | None:
        """What the log is to say of the batch that was applied; ``None``: nothing has changed."""
        segments, operation = tables.segments, None
        if batch.op_id is not None and not receipt.replayed:
            operation = _entries.Operation(batch.op_id, *tables.operations[batch.op_id])
        if not effects and not segments and operation is None:
            return None
        collections = self._replica.collections
        return _entries.entry(collections, receipt.at, effects, segments, operation)

    def _insist(self, change: Callable[[Tables], Mapping[str, Any] | None]) -> None:
        """Make *change* to the level state and write what it says, until nobody is in between.

        Raises:
            Busy: others were in between for longer than the time allowed.
        """
        with self._thread, self._files.turn(min(_TURN, self._patience)):
            with durable.told(self._files.root):
                passing("parquet.commit.begin")
            for _ in self._tries():
                tables = self._replica.level()
                tables.position.number = self._replica.log.number + 1
                if self._changed(tables, change):
                    return
        raise Busy(
            f"other writers of {self._files.root} were first for {self._patience:g} s; nothing was "
            "written"
        )

    def _changed(
        self, tables: Tables, change: Callable[[Tables], Mapping[str, Any] | None]
    ) -> bool:
        keep_files = False
        try:
            said = change(tables)
            if said is not None and not self._replica.add(said):
                keep_files = True  # the next try needs them again
                return False
        except (OutcomeUnknown, WriterPoisoned) as error:
            keep_files = True
            if isinstance(error, WriterPoisoned):
                self._replica.poison(error)
            raise
        except QuantkeepError:
            raise
        except BaseException:
            keep_files = True
            self._replica.doubt()
            raise
        finally:
            if not keep_files:
                tables.settle()
        return True

    def _tries(self) -> Iterator[int]:
        """Tries, with longer and longer pauses between them, as long as there is time."""
        deadline, pause = time.monotonic() + self._patience, 0.002
        yield 0
        number = 0
        while time.monotonic() < deadline:
            time.sleep(random.uniform(0, pause))  # noqa: S311  # so that writers do not keep step
            pause = min(pause * 1.6, 0.25)
            number += 1
            yield number

    def outcome(self, op_id: str) -> Receipt | None:
        with self._level() as tables:
            return tables.outcome(op_id)

    # -- collections -----------------------------------------------------------------------------

    def description(self) -> str | None:
        with self._level():
            return self._replica.description

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        def described(tables: Tables) -> Mapping[str, Any] | None:
            known = self._replica.description
            wanted = description
            if known:
                ours, theirs = schema.understand(description), schema.understand(known)
                wanted = schema.describe(schema.merge(ours, theirs))
            return None if wanted == known else {"at": self.now(), "description": wanted}

        with self._thread:
            self._insist(described)
            self._replica.level()

    # -- reads -----------------------------------------------------------------------------------

    @contextmanager
    def _level(self) -> Iterator[Tables]:
        with self._thread:
            yield self._replica.level()

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        with self._level() as tables:
            return tables.get(collection, key)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        with self._level() as tables:
            return tables.scan(collection, query)

    def scan_arrow(
        self, collection: Collection, query: Query, *, batch_rows: int = 10_000
    ) -> "Iterator[pa.RecordBatch] | None":
        with self._level() as tables:
            return tables.record_batches(collection, query, batch_rows)

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        with self._level() as tables:
            return tables.tally(collection, tally)

    def heads(self, collection: Collection) -> list[Head]:
        with self._level() as tables:
            return tables.heads(collection)

    # -- blobs -----------------------------------------------------------------------------------

    def put_blob(self, digest: str, data: bytes) -> None:
        try:
            _blobs.put(self._files, digest, data)
        except WriterPoisoned as error:
            self._replica.poison(error)
            raise

    def open_blob(self, digest: str) -> bytes | None:
        return _blobs.read(self._files, digest)

    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        _blobs.delete(self._files, digest, staged_before)

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return _blobs.listed(self._files)

    # -- housekeeping ----------------------------------------------------------------------------

    def now(self) -> int:
        return time.time_ns() // 1000

    def health(self) -> Health:
        with self._level():
            base, log = self._replica.base, self._replica.log
            behind = log.number - (base.commit if base is not None else 0)
            facts = {
                "root": self._files.root,
                "commits": log.number,
                "commits since the last compaction": behind,
                "segments": len(self._replica.paths()),
            }
            if Capability.FAILPOINTS in self.capabilities:
                facts["failpoints"] = FAILPOINTS
            return Health(True, self.durability, facts, _warnings(behind))

    def sizes(self) -> Mapping[str, int]:
        with self._level() as tables:
            size = sum(entry.size for entry in self._files.entries(""))
            return {**tables.sizes(), "bytes": size}

    def check(self) -> list[str]:
        """Read all files anew: what is in memory says nothing of them."""
        with self._thread:
            try:
                self._replica.level()
                return Replica(self._files).check()
            except Corrupt as error:
                return [str(error)]

    def scrub(self) -> Iterable[str]:
        with self._thread:
            self._replica.level()
            return _garbage.scrub(self._files, Replica(self._files))

    def garbage(self, before: int) -> Sequence[Garbage]:
        with self._level():
            return _garbage.found(self._files, self._replica, before)

    def remove_garbage(self, before: int) -> Sequence[Garbage]:
        with self._level():
            return _garbage.remove(self._files, self._replica, before)

    def compact(self) -> None:
        self.rewrite(None)

    def rewrite(self, change: Callable[[Tables], object] | None) -> None:
        """Fold the log into segments, with *change* made to the state behind all checks."""
        with self._thread:
            tables = self._replica.level()
            tables.position.number = self._replica.log.number
            if change is not None:
                change(tables)
            folding = _compaction.Folding(self._files, self._replica)
        try:
            manifest = folding.written()
            with self._thread:
                self._publish(manifest)
        except WriterPoisoned as error:
            self._replica.poison(error)
            raise
        except BaseException:
            if change is not None:
                self._replica.doubt()
            raise

    def _publish(self, manifest: "_compaction.Written") -> None:
        self._insist(lambda _: manifest.commit_body(self.now()))
        self._replica.adopt(manifest.manifest)
        manifest.publish(self._files)

    def backdoor(self) -> Backdoor:
        return ParquetBackdoor(self)

    def close(self) -> None:
        with self._thread:
            self._files.close()


def _warnings(behind: int) -> tuple[str, ...]:
    if behind <= LONG_TAIL:
        return ()
    return (
        f"{behind:,} commits are in no segment yet: run `quantkeep compact`, and it opens faster",
    )
