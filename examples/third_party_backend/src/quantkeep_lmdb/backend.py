"""The backend: one LMDB transaction is one commit, or one reader's snapshot."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from quantkeep.backend import Backdoor, Backend, Capability, Durability, Head, Health
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import Regression
from quantkeep.failpoints import passing
from quantkeep.model import KeyValueBackdoor, KeyValueKeep
from quantkeep.query import Query
from quantkeep_lmdb.environment import Environment, Transaction, told

CLAIMS = Capability.PERSISTENT | Capability.MULTI_PROCESS | Capability.SNAPSHOT_READS
UNCHECKED = "LMDB has no checksums of its pages; records and receipts have, and are checked"
FACTS = {"unchecked_files": UNCHECKED, "failpoints": ("lmdb.begun", "lmdb.written")}


class LmdbBackend(Backend):
    """A keep in one file; what stands in it is :class:`quantkeep.model.KeyValueKeep`'s."""

    name: ClassVar[str] = "lmdb"
    capabilities = CLAIMS | Capability.FAILPOINTS
    durability = Durability.DISK  # LMDB syncs each commit, unless it is told otherwise

    def __init__(self, path: Path, map_size: int) -> None:
        self._path, self._shared = path, Environment.shared(path, map_size)
        self._seen = ("", 0)

    @contextmanager
    def _reading(self) -> Iterator[KeyValueKeep]:
        """A snapshot of what is committed now."""
        seen = self._seen  # before it begins: another thread may be ahead of it
        with told(self._path), self._shared.lmdb.begin() as txn:
            keep = KeyValueKeep(Transaction(txn))
            self._check(keep, seen)
            yield keep

    @contextmanager
    def _writing(self) -> Iterator[KeyValueKeep]:
        """Committed at the end of the block, rolled back if it raises; one at a time."""
        with told(self._path), self._shared.lmdb.begin(write=True) as txn:
            passing("lmdb.begun")
            keep = KeyValueKeep(Transaction(txn))
            self._check(keep, self._seen)  # nobody is ahead of the one writer
            yield keep
            keep.count_write()
            written = keep.state()
            passing("lmdb.written")
        self._seen = max(self._seen, written)

    def _check(self, keep: KeyValueKeep, seen: tuple[str, int]) -> None:
        """A handle never goes back; raises :class:`Regression`."""
        identity, writes = keep.state()
        if seen[0] and (identity != seen[0] or writes < seen[1]):
            raise Regression(f"{self._path} went back: an older backup was put under it")
        self._seen = max(self._seen, (identity, writes))

    def description(self) -> str | None:
        with self._reading() as keep:
            return keep.description()

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        with self._writing() as keep:
            keep.ensure(description)

    def commit(self, batch: Batch) -> Receipt:
        with self._writing() as keep:
            return keep.commit(batch, self.now())

    def outcome(self, op_id: str) -> Receipt | None:
        with self._reading() as keep:
            return keep.outcome(op_id)

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        with self._reading() as keep:
            return keep.shelf(collection).row(key)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        rows = self._scanned(collection, query)
        next(rows)  # the snapshot is taken now, and not when the first row is asked for
        return rows  # type: ignore[return-value]  # only the first one was None

    def _scanned(self, collection: Collection, query: Query) -> Iterator[StoredRow | None]:
        with self._reading() as keep:
            yield None
            yield from keep.scan(collection, query)

    def heads(self, collection: Collection) -> list[Head]:
        with self._reading() as keep:
            return keep.heads(collection)

    def put_blob(self, digest: str, data: bytes) -> None:
        with self._writing() as keep:
            keep.put_blob(digest, data, self.now())

    def open_blob(self, digest: str) -> bytes | None:
        with self._reading() as keep:
            return keep.open_blob(digest)

    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        with self._writing() as keep:
            keep.delete_blob(digest, staged_before)

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        with self._reading() as keep:
            return iter(keep.blobs())

    def now(self) -> int:
        return time.time_ns() // 1000

    def health(self) -> Health:
        size = self._shared.lmdb.info()["map_size"]
        return Health(True, self.durability, {"path": str(self._path), "map_size": size, **FACTS})

    def sizes(self) -> Mapping[str, int]:
        with self._reading() as keep:
            return {**keep.sizes(), "bytes": self._path.stat().st_size}

    def check(self) -> list[str]:
        with self._reading() as keep:
            return keep.check()

    def backdoor(self) -> Backdoor:
        return KeyValueBackdoor(self._writing)

    def close(self) -> None:
        self._shared.release()
