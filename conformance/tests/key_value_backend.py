"""A backend on a dictionary of bytes, as :class:`quantkeep.model.KeyValueKeep` keeps it."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from quantkeep.backend import Backdoor, Backend, Capability, Durability, Head, Health
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.contract import require_level
from quantkeep.errors import NotFound
from quantkeep.hookspecs import Opening, hookimpl
from quantkeep.model import KeyValueBackdoor, KeyValueKeep
from quantkeep.query import Query
from quantkeep.url import Url


class Engine(dict[bytes, bytes]):
    """Transactions are copies."""

    def put(self, key: bytes, value: bytes) -> None:
        self[key] = value

    def delete(self, key: bytes) -> None:
        self.pop(key, None)

    def range(self, prefix: bytes, *, backwards: bool = False) -> Iterator[tuple[bytes, bytes]]:
        found = sorted((key for key in self if key.startswith(prefix)), reverse=backwards)
        return ((key, self[key]) for key in found)


class KeyValueBackend(Backend):
    """Sound, and slow."""

    name: ClassVar[str] = "kv"
    capabilities = Capability.SNAPSHOT_READS
    durability = Durability.MEMORY

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._engine = Engine()

    @contextmanager
    def _writing(self) -> Iterator[KeyValueKeep]:
        with self._lock:
            changed = Engine(self._engine)
            yield KeyValueKeep(changed)
            KeyValueKeep(changed).count_write()
            self._engine = changed

    def _reading(self) -> KeyValueKeep:
        return KeyValueKeep(self._engine)

    def description(self) -> str | None:
        return self._reading().description()

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        with self._writing() as keep:
            keep.ensure(description)

    def commit(self, batch: Batch) -> Receipt:
        with self._writing() as keep:
            return keep.commit(batch, self.now())

    def outcome(self, op_id: str) -> Receipt | None:
        return self._reading().outcome(op_id)

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        return self._reading().shelf(collection).row(key)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        return self._reading().scan(collection, query)

    def heads(self, collection: Collection) -> list[Head]:
        return self._reading().heads(collection)

    def put_blob(self, digest: str, data: bytes) -> None:
        with self._writing() as keep:
            keep.put_blob(digest, data, self.now())

    def open_blob(self, digest: str) -> bytes | None:
        return self._reading().open_blob(digest)

    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        with self._writing() as keep:
            keep.delete_blob(digest, staged_before)

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return iter(self._reading().blobs())

    def now(self) -> int:
        return time.time_ns() // 1000

    def health(self) -> Health:
        return Health(True, self.durability, {})

    def sizes(self) -> Mapping[str, int]:
        return self._reading().sizes()

    def check(self) -> list[str]:
        return self._reading().check()

    def backdoor(self) -> Backdoor:
        return KeyValueBackdoor(self._writing)

    def close(self) -> None:
        self._engine = Engine()


@hookimpl
def quantkeep_open(url: Url, opening: Opening) -> Backend | None:
    if url.scheme != KeyValueBackend.name:
        return None
    if not opening.create:
        raise NotFound("it is never there before it is opened")
    require_level(KeyValueBackend.durability, opening.durability, url)
    return KeyValueBackend()
