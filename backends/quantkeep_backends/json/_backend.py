"""The backend: a model in memory, kept level with the folder."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from quantkeep import schema
from quantkeep.backend import Backdoor, Backend, Capability, Durability, Garbage, Head, Health
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import Corrupt, NotFound, QuantkeepError, WriterPoisoned
from quantkeep.failpoints import passing
from quantkeep.hookspecs import Opening
from quantkeep.model import Model
from quantkeep.query import Query, Tally
from quantkeep_backends._files import durable
from quantkeep_backends._files.lock import FolderLock
from quantkeep_backends.json import _maintenance
from quantkeep_backends.json._backdoor import JsonBackdoor
from quantkeep_backends.json._entries import Operation
from quantkeep_backends.json._folder import Folder, check
from quantkeep_backends.json._replica import Replica

CAPABILITIES = (
    Capability.PERSISTENT
    | Capability.MULTI_PROCESS
    | Capability.SNAPSHOT_READS
    | Capability.FAILPOINTS
)
FAILPOINTS = (
    "json.commit.locked",
    "json.commit.write",
    "json.commit.written",
    "files.sync",
    "json.commit.synced",
    "files.create.write",
    "files.replace.write",
    "files.replace.rename",
    "files.replace.renamed",
    "json.compact.collection",
    "json.compact.journal",
    "json.compact.heading",
    "json.compact.done",
)
log = logging.getLogger("quantkeep.json")


class JsonBackend(Backend):
    """A model in memory, kept level with the folder."""

    name: ClassVar[str] = "json"
    capabilities = CAPABILITIES
    durability = Durability.DISK

    def __init__(
        self, path: Path, opening: Opening, patience: float, compact_above: int = 16 * 2**20
    ) -> None:
        self._folder = Folder(path)
        self._thread = threading.RLock()
        self._guard: FolderLock | None = None
        writable = not opening.read_only
        self._there(create=opening.create and writable)
        try:
            if writable:
                self._guard = FolderLock(path / "lock", patience)
                self._begin()
            self._replica = Replica(self._folder, writable=writable, limit=compact_above)
            for complaint in self._replica.harms.complaints() if writable else ():
                log.warning("%s", complaint)
        except BaseException:  # a lock that nobody can give back would shut others out
            self._let_go()
            raise

    def _there(self, *, create: bool) -> None:
        check(self._folder.path)
        if self._folder.stamp() is None:
            if not create:
                raise NotFound(
                    f"there is no keep at {self._folder.path}: open it with create=True to make one"
                )
            durable.make_folder(self._folder.path)

    def _begin(self) -> None:
        """Make the keep, if it is still to be made once others cannot be making it too."""
        if self._folder.stamp() is None:
            with self._writing():
                if self._folder.stamp() is None:
                    self._folder.create()

    def _let_go(self) -> None:
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time, of all threads and processes."""
        with self._thread:
            assert self._guard is not None
            with self._guard.held():
                yield

    # -- commits ---------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> Receipt:
        with self._writing():
            with durable.told(str(self._folder.path)):
                passing("json.commit.locked")
            model = self._level()
            self._replica.mend()
            receipt, effects = model.apply(batch, self.now())
            if effects or (batch.op_id is not None and not receipt.replayed):
                self._replica.add(effects, _operation(model, batch.op_id))
                self._tidy_up()
            return receipt

    def _level(self) -> Model:
        """What is level with the folder, and may be changed: nothing of it is unknown."""
        model = self._replica.level()
        self._replica.harms.check_writable()
        return model

    def _tidy_up(self) -> None:
        """Fold a journal that has grown long; a commit that was applied does not fail for it."""
        if self._replica.has_outgrown:
            try:
                self._replica.turn_over(self._replica.heading.description)
            except QuantkeepError as error:
                log.warning("%s: the journal is not compacted: %s", self._folder.path, error)
                self._replica.leave_it()

    def outcome(self, op_id: str) -> Receipt | None:
        with self._thread:
            return self._replica.level().outcome(op_id)

    # -- collections -----------------------------------------------------------------------------

    def description(self) -> str | None:
        with self._thread:
            self._replica.level()
            return self._replica.heading.description

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        with self._writing():
            self._replica.level()
            known = self._replica.heading.description
            if known:
                ours, theirs = schema.understand(description), schema.understand(known)
                description = schema.describe(schema.merge(ours, theirs))
            if not schema.is_described(known, description):
                self._replica.harms.check_writable()
                self._replica.turn_over(description)

    def compact(self) -> None:
        self.rewrite(None)

    def rewrite(self, change: Callable[[Model], object] | None) -> None:
        """Begin a new generation, with *change* made to the model behind all checks."""
        with self._writing():
            self._level()
            self._replica.turn_over(self._replica.heading.description, change)

    # -- reads -----------------------------------------------------------------------------------

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        with self._thread:
            return self._replica.level().get(collection, key)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        with self._thread:
            return self._replica.level().scan(collection, query)

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        with self._thread:
            return self._replica.level().tally(collection, tally)

    def heads(self, collection: Collection) -> list[Head]:
        with self._thread:
            return self._replica.level().heads(collection)

    # -- blobs -----------------------------------------------------------------------------------

    def put_blob(self, digest: str, data: bytes) -> None:
        with self._writing():
            self._replica.harms.check_writable()
            path = self._folder.blob(digest)
            try:
                durable.make_folder(path.parent)
                durable.replace(path, data)
            except WriterPoisoned as error:
                self._replica.poison(error)
                raise

    def open_blob(self, digest: str) -> bytes | None:
        return durable.read(self._folder.blob(digest))

    def blob_size(self, digest: str) -> int:
        with durable.told(digest), suppress(FileNotFoundError):
            return self._folder.blob(digest).lstat().st_size
        return 0

    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        with self._writing(), durable.told(digest), suppress(FileNotFoundError):
            self._level()  # where records are not known, it is not known who refers to it
            path = self._folder.blob(digest)
            if staged_before is None or path.stat().st_mtime_ns // 1_000 < staged_before:
                path.unlink()

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return self._folder.blobs()

    # -- housekeeping ----------------------------------------------------------------------------

    def now(self) -> int:
        return time.time_ns() // 1000

    def health(self) -> Health:
        with self._thread:
            self._replica.level()
            facts = {
                "path": str(self._folder.path),
                "format": self._replica.heading.format,
                "generation": self._replica.heading.generation,
                "commits": self._replica.journal.number,
                "failpoints": FAILPOINTS,
            }
            harms = self._replica.harms
            return Health(not harms, self.durability, facts, harms.complaints())

    def sizes(self) -> Mapping[str, int]:
        with self._thread:
            return {**self._replica.level().sizes(), "bytes": self._folder.size()}

    def check(self) -> list[str]:
        """Read all files anew: what is in memory says nothing of them."""
        with self._thread:
            try:
                self._replica.level()
                fresh = Replica(self._folder, writable=False)
            except Corrupt as error:
                return [str(error)]
            fresh.close()
            return [*fresh.harms.complaints()]

    def scrub(self) -> Iterable[str]:
        yield from self.check()
        yield from _maintenance.scrub(self._folder, self._replica.heading.generation)

    def garbage(self, before: int) -> Sequence[Garbage]:
        """The generation before the last compaction, and what crashes have left."""
        with self._thread:
            self._replica.level()
            generation = self._replica.heading.generation
            return [found for _, found in _maintenance.garbage(self._folder, generation, before)]

    def remove_garbage(self, before: int) -> Sequence[Garbage]:
        with self._writing():
            self._level()
            return _maintenance.remove(self._folder, self._replica.heading.generation, before)

    def backdoor(self) -> Backdoor:
        return JsonBackdoor(self)

    def close(self) -> None:
        with self._thread:
            self._replica.close()
            self._let_go()


def _operation(model: Model, op_id: str | None) -> Operation | None:
    if op_id is None:
        return None
    digest, receipt = model.operations[op_id]
    return Operation(op_id, digest, receipt.to_json())
