"""``redis://``: one keep on a Redis or Valkey server."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from quantkeep.backend import Backdoor, Backend, Capability, Garbage, Head, Health
from quantkeep.batch import Batch, Delete, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import InvalidRecord
from quantkeep.query import Query, Tally
from quantkeep_backends.redis import operations
from quantkeep_backends.redis.backdoor import RedisBackdoor
from quantkeep_backends.redis.blobs import Blobs
from quantkeep_backends.redis.catalogue import Catalogue, arguments_of
from quantkeep_backends.redis.commits import Commits, Watermark
from quantkeep_backends.redis.compaction import Compaction
from quantkeep_backends.redis.joining import Joining
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.leftovers import Leftovers
from quantkeep_backends.redis.link import Link
from quantkeep_backends.redis.maintenance import Maintenance
from quantkeep_backends.redis.reading import Reading
from quantkeep_backends.redis.scripts import script
from quantkeep_backends.redis.sealing import Sealing
from quantkeep_backends.redis.server import Server
from quantkeep_backends.redis.shapes import Shape

if TYPE_CHECKING:
    import pyarrow as pa

CAPABILITIES: Final = (
    Capability.PERSISTENT
    | Capability.MULTI_PROCESS
    | Capability.MULTI_HOST
    | Capability.STORE_CLOCK
    | Capability.FAILPOINTS
)


class RedisBackend(Backend):
    """One keep, opened."""

    name: ClassVar[str] = "redis"
    capabilities = CAPABILITIES

    def __init__(self, link: Link, names: Names, server: Server) -> None:
        self._link = link
        self._names = names
        self._catalogue = Catalogue(link, names)
        seen = Watermark()
        self._reading = Reading(link, names, self._catalogue, seen)
        self._commits = Commits(link, names, self._catalogue, self._identity, self._reading, seen)
        self._sealing = Sealing(link, names, self._catalogue, self._reading)
        self._commits.crowded = self._sealing.relieve
        self._blobs = Blobs(link, names)
        self._leftovers = Leftovers(link, names)
        self._maintenance = Maintenance(link, names, self._catalogue, self._reading)
        self._compaction = Compaction(
            self._catalogue, self._reading, self._sealing, Joining(link, names)
        )
        self.durability = server.durability

    # -- collections -------------------------------------------------------------------------------

    def description(self) -> str | None:
        self._catalogue.look()
        return self._catalogue.text

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        self._catalogue.ensure(collections, self._reindex)

    def _reindex(self, shape: Shape) -> None:
        """Enter every stored record of a collection into the indexes it has gained."""
        for stored in self._reading.scan(shape.collection, Query()):
            arguments = arguments_of(shape, stored)
            said = script("reindex").run(self._link, self._names.meta, *arguments)[0]
            if said == b"taken":
                key = shape.collection.stored_key(stored)
                raise InvalidRecord(
                    f"{shape.collection.name} {key!r} shares what is now to be unique with another "
                    "record: change one of them before the keep is opened with this record class"
                )

    # -- commits -----------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> Receipt:
        return self._commits.commit(batch)

    def _identity(self, delete: Delete) -> str:
        """The identity of an entry that is to be deleted, which is then free again."""
        shape = self._catalogue.shape(delete.collection.name)
        if not shape.collection.identity:
            return ""
        found = self._reading.get(shape.collection, delete.key)
        return "" if found is None else shape.identity(found.values)

    def outcome(self, op_id: str) -> Receipt | None:
        found = self._link.ask("HGET", self._names.of("ops"), op_id)
        return None if found is None else operations.receipt(found, op_id)

    # -- reads -------------------------------------------------------------------------------------

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        return self._reading.get(collection, key)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        return self._reading.scan(collection, query)

    def scan_arrow(
        self, collection: Collection, query: Query, *, batch_rows: int = 10_000
    ) -> "Iterator[pa.RecordBatch] | None":
        return self._reading.scan_arrow(collection, query, batch_rows)

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        return self._reading.tally(collection, tally)

    def heads(self, collection: Collection) -> list[Head]:
        return self._reading.heads(collection)

    # -- blobs -------------------------------------------------------------------------------------

    def put_blob(self, digest: str, data: bytes) -> None:
        self._blobs.put(digest, data)

    def open_blob(self, digest: str) -> bytes | None:
        return self._blobs.get(digest)

    def blob_size(self, digest: str) -> int:
        return self._blobs.size(digest)

    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        self._blobs.delete(digest, staged_before)

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return self._blobs.all()

    # -- housekeeping ------------------------------------------------------------------------------

    def now(self) -> int:
        return self._reading.clock.now()

    def health(self) -> Health:
        return self._maintenance.health()

    def sizes(self) -> Mapping[str, int]:
        return self._maintenance.sizes()

    def check(self) -> list[str]:
        return self._maintenance.check()

    def compact(self) -> None:
        self._compaction.compact()

    def garbage(self, before: int) -> Sequence[Garbage]:
        return self._leftovers.found(before, self.now())

    def remove_garbage(self, before: int) -> Sequence[Garbage]:
        return self._leftovers.removed(before, self.now())

    def backdoor(self) -> Backdoor:
        return RedisBackdoor(self._link, self._names, self._catalogue, self._reading)

    def close(self) -> None:
        self._link.close()
