"""``memory://``: a dict. The reference model: what it does is what every backend must do.

Nothing survives the process; each opening is a keep of its own.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from quantkeep.backend import Backdoor, Backend, Capability, Durability, Head, Health
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.contract import flipped, require_level
from quantkeep.errors import NotFound
from quantkeep.hookspecs import BackendInfo, Opening, hookimpl
from quantkeep.model import Model
from quantkeep.query import Query, Tally
from quantkeep.url import Url

CAPABILITIES = Capability.SNAPSHOT_READS


class MemoryBackend(Backend):
    """A model under one lock."""

    name: ClassVar[str] = "memory"
    capabilities = CAPABILITIES
    durability = Durability.MEMORY

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._model = Model()
        self._blobs: dict[str, tuple[bytes, int]] = {}
        self._description: str | None = None

    def description(self) -> str | None:
        return self._description

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        with self._lock:
            self._model.ensure(collections)
            self._description = description

    def commit(self, batch: Batch) -> Receipt:
        with self._lock:
            receipt, _ = self._model.apply(batch, self.now())
            self._model.settle()
            return receipt

    def outcome(self, op_id: str) -> Receipt | None:
        with self._lock:
            return self._model.outcome(op_id)

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        with self._lock:
            return self._model.get(collection, key)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        with self._lock:
            return self._model.scan(collection, query)

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._model.tally(collection, tally)

    def heads(self, collection: Collection) -> list[Head]:
        with self._lock:
            return self._model.heads(collection)

    def put_blob(self, digest: str, data: bytes) -> None:
        self._blobs[digest] = (bytes(data), self.now())

    def open_blob(self, digest: str) -> bytes | None:
        found = self._blobs.get(digest)
        return found and found[0]

    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        with self._lock:
            found = self._blobs.get(digest)
            if found and (staged_before is None or found[1] < staged_before):
                del self._blobs[digest]

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return iter([(digest, staged) for digest, (_, staged) in self._blobs.items()])

    def now(self) -> int:
        return self._clock() // 1000

    def health(self) -> Health:
        return Health(True, self.durability, {"keeps": "in this process only"})

    def sizes(self) -> Mapping[str, int]:
        with self._lock:
            return self._model.sizes()

    def compact(self) -> None:
        """There is nothing to give back."""

    def backdoor(self) -> Backdoor:
        return _MemoryBackdoor(self._model)

    def close(self) -> None:
        self._model = Model()


class _MemoryBackdoor(Backdoor):
    def __init__(self, model: Model) -> None:
        self._shelves = model.shelves

    def flip(self, collection: Collection, key: Key, column: str) -> None:
        rows = self._shelves[collection.name].rows
        values = [*rows[key].values]
        place = collection.places[column]
        values[place] = flipped(values[place])
        rows[key] = rows[key]._replace(values=tuple(values))

    def remove(self, collection: Collection, key: Key) -> None:
        self._shelves[collection.name].drop(key)


@hookimpl
def quantkeep_open(url: Url, opening: Opening) -> Backend | None:
    if url.scheme != MemoryBackend.name:
        return None
    url.allow()
    if not opening.create:
        raise NotFound("a keep in memory is never there before it is opened: open it to make one")
    require_level(MemoryBackend.durability, opening.durability, url)
    return MemoryBackend()


@hookimpl
def quantkeep_backend() -> BackendInfo:
    return BackendInfo(
        scheme=MemoryBackend.name,
        summary="a dict: the reference model, for tests; gone with the process",
        example="memory://",
        capabilities=CAPABILITIES,
        durability=MemoryBackend.durability,
    )
