"""The backend: commits to the log, reads from segments and memory, compaction."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from quantkeep import schema
from quantkeep.backend import Backdoor, Backend, Capability, Garbage, Head, Health
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import Corrupt, NotFound, WriterPoisoned
from quantkeep.hookspecs import Opening
from quantkeep.query import Query, Tally
from quantkeep_backends._files.medium import Files
from quantkeep_backends.parquet import _blobs, _compaction, _garbage
from quantkeep_backends.parquet._backdoor import ParquetBackdoor
from quantkeep_backends.parquet._bulk import LARGE
from quantkeep_backends.parquet._committing import Committer
from quantkeep_backends.parquet._harms import Harms
from quantkeep_backends.parquet._replica import Replica
from quantkeep_backends.parquet._tables import Tables

if TYPE_CHECKING:
    import pyarrow as pa

LONG_TAIL: Final = 5_000  # commits behind the manifest, after which opening is slow
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
    columns_from = LARGE
    streams_appends = True

    def __init__(
        self,
        files: Files,
        opening: Opening,
        capabilities: Capability,
        *,
        patience: float = 30.0,
        until: int | None = None,
    ) -> None:
        self.capabilities = capabilities
        self.durability = files.durability
        self._files = files
        self._thread = threading.RLock()
        try:
            self._replica = Replica(files, until)
            self._commits = Committer(files, self._replica, self._thread, patience)
            if not self._replica.state.is_made:
                self._make(create=opening.create and not opening.read_only)
        except BaseException:
            files.close()
            raise

    def _make(self, *, create: bool) -> None:
        if create:
            self._commits.insist(self._first_commit)
            return
        self._replica.level()  # others may have made it meanwhile
        if not self._replica.state.is_made:
            raise NotFound(
                f"there is no keep at {self._files.root}: open it with create=True to make one"
            )

    def _first_commit(self, _: Tables) -> Mapping[str, Any] | None:
        return None if self._replica.state.is_made else _compaction.created()

    # -- commits ---------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> Receipt:
        return self._commits.apply(batch, self.now())

    def outcome(self, op_id: str) -> Receipt | None:
        with self._level() as tables:
            found = tables.outcome(op_id)
            if found is None:
                self._harms.check_operation(op_id)
            return found

    # -- collections -----------------------------------------------------------------------------

    def description(self) -> str | None:
        with self._level():
            return self._replica.state.description

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        def described(_: Tables) -> Mapping[str, Any] | None:
            wanted = self._described(description)
            return None if wanted is None else {"at": self.now(), "description": wanted}

        with self._thread:  # who knows less of it than there is asks before anything is written
            if self._described(description) is not None:
                self._commits.insist(described)

    def _described(self, description: str) -> str | None:
        """What the keep is to remember; ``None``: it does already."""
        known, wanted = self._replica.state.description, description
        if known:
            ours, theirs = schema.understand(description), schema.understand(known)
            wanted = schema.describe(schema.merge(ours, theirs))
        return None if schema.is_described(known, wanted) else wanted

    # -- reads -----------------------------------------------------------------------------------

    @contextmanager
    def _level(self) -> Iterator[Tables]:
        with self._thread:
            yield self._replica.level()

    @property
    def _harms(self) -> Harms:
        return self._replica.state.harms

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        with self._level() as tables:
            self._harms.check_key(collection, key)
            return tables.get(collection, key)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        with self._level() as tables:
            self._harms.check_query(collection, query.where)
            return tables.scan(collection, query)

    def scan_arrow(
        self, collection: Collection, query: Query, *, batch_rows: int = 10_000
    ) -> "Iterator[pa.RecordBatch] | None":
        with self._level() as tables:
            self._harms.check_query(collection, query.where)
            return tables.record_batches(collection, query, batch_rows)

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        with self._level() as tables:
            self._harms.check_query(collection, tally.where)
            return tables.tally(collection, tally)

    def heads(self, collection: Collection) -> list[Head]:
        with self._level() as tables:
            self._harms.check_all(collection)
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

    def blob_size(self, digest: str) -> int:
        return _blobs.size(self._files, digest)

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return _blobs.listed(self._files)

    # -- housekeeping ----------------------------------------------------------------------------

    def now(self) -> int:
        return time.time_ns() // 1000

    def health(self) -> Health:
        with self._level():
            base, log = self._replica.state.base, self._replica.state.log
            behind = log.number - (base.commit if base is not None else 0)
            facts = {
                "root": self._files.root,
                "commits": log.number,
                "commits since the last compaction": behind,
                "segments": len(self._replica.state.paths()),
            }
            if Capability.FAILPOINTS in self.capabilities:
                facts["failpoints"] = FAILPOINTS
            warnings = (*self._harms.complaints(), *_warnings(behind))
            return Health(not self._harms, self.durability, facts, warnings)

    def sizes(self) -> Mapping[str, int]:
        with self._level() as tables:
            size = sum(entry.size for entry in self._files.entries(""))
            known = {n: rows for n, rows in tables.sizes().items() if not self._harms.touch(n)}
            return {**known, "bytes": size}

    def check(self) -> list[str]:
        """Read all files anew: what is in memory says nothing of them."""
        with self._thread:
            try:
                self._replica.level()
                return Replica(self._files).state.check()
            except Corrupt as error:
                return [str(error)]

    def scrub(self) -> Iterable[str]:
        with self._thread:
            self._replica.level()
            return _garbage.scrub(self._files, Replica(self._files).state)

    def garbage(self, before: int) -> Sequence[Garbage]:
        with self._level():
            self._harms.check_writable()
            return _garbage.found(self._files, self._replica.state, before)

    def remove_garbage(self, before: int) -> Sequence[Garbage]:
        with self._level():
            self._harms.check_writable()
            return _garbage.remove(self._files, self._replica.state, before)

    def compact(self) -> None:
        self.rewrite(None)

    def rewrite(self, change: Callable[[Tables], object] | None) -> None:
        """Fold the log into segments, with *change* made to the state behind all checks."""
        with self._thread:
            tables = self._replica.level()
            self._harms.check_writable()
            tables.position.number = self._replica.state.log.number
            if change is not None:
                change(tables)
            folding = _compaction.Folding(self._files, self._replica.state)
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
        self._commits.insist(lambda _: manifest.commit_body(self.now()))
        self._replica.state.adopt(manifest.manifest)
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
