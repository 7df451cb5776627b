"""``sqlite:///path``: the embedded default."""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from quantkeep import schema
from quantkeep.backend import Backdoor, Backend, Capability, Head, Health
from quantkeep.batch import Append, Batch, Receipt
from quantkeep.collection import Collection, Key, SealedRow, StoredRow
from quantkeep.contract import regressed
from quantkeep.errors import Closed, QuantkeepError
from quantkeep.query import Query, Tally
from quantkeep_backends.sqlite import operations, streams, tallies
from quantkeep_backends.sqlite import schema as tables
from quantkeep_backends.sqlite.appending import append_one
from quantkeep_backends.sqlite.backdoor import SqliteBackdoor
from quantkeep_backends.sqlite.blobs import Blobs
from quantkeep_backends.sqlite.complaints import SqliteReferences
from quantkeep_backends.sqlite.database import Database
from quantkeep_backends.sqlite.engine import SqliteEngine
from quantkeep_backends.sqlite.maintenance import Maintenance
from quantkeep_backends.sqlite.prepared import Prepared
from quantkeep_backends.sqlite.reading import Reading
from quantkeep_backends.sqlite.remembered import Misjudged, Remembered
from quantkeep_backends.sqlite.streams import Seen
from quantkeep_backends.sqlite.transaction import Transaction

CAPABILITIES: Final = (
    Capability.PERSISTENT
    | Capability.MULTI_PROCESS
    | Capability.PUSH_DOWN
    | Capability.SNAPSHOT_READS
    | Capability.FAILPOINTS
)


class SqliteBackend(Backend):
    """One database file, opened."""

    name: ClassVar[str] = "sqlite"
    capabilities = CAPABILITIES

    def __init__(self, database: Database, filesystem: str) -> None:
        self._database = database
        self._engine = SqliteEngine()
        self._prepared: dict[Collection, Prepared] = {}
        self._seen = Seen()
        self._remembered = Remembered()
        self._blobs = Blobs(database)
        self._peers: Mapping[str, Collection] | None = None
        self._maintenance = Maintenance(database, filesystem, self._collections)
        self.durability = self._maintenance.durability()

    # -- collections -----------------------------------------------------------------------------

    def description(self) -> str | None:
        with self._database.reading() as reader:
            return tables.described(reader, self._database.path)

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        tables.ensure(self._database, self._engine, collections, description)
        self._peers = None

    def _collections(self) -> Mapping[str, Collection]:
        """Every collection of the keep, this program's or not."""
        if self._peers is None:
            text = self.description()
            self._peers = {c.name: c for c in schema.understand(text)} if text else {}
        return self._peers

    def _prepare(self, collection: Collection) -> Prepared:
        prepared = self._prepared.get(collection)
        if prepared is None:
            prepared = self._prepared[collection] = Prepared.of(collection)
        return prepared

    # -- commits ---------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> Receipt:
        try:
            return self._append_one(batch) or self._commit(batch)
        except QuantkeepError as error:
            error.op_id = error.op_id or batch.op_id
            raise

    def _append_one(self, batch: Batch) -> Receipt | None:
        """The quick way, if the batch is one live entry."""
        row = _only_entry(batch)
        if row is None:
            return None
        prepared = self._prepare(batch.writes[0].collection)
        operation = None if batch.op_id is None else (batch.op_id, batch.digest())
        return append_one(self._database, prepared, self._seen, row, self.now(), operation)

    def _commit(self, batch: Batch) -> Receipt:
        digest = b"" if batch.op_id is None else batch.digest()
        try:
            return self._applied(batch, digest, careful=False)
        except Misjudged:
            return self._applied(batch, digest, careful=True)

    def _applied(self, batch: Batch, digest: bytes, *, careful: bool) -> Receipt:
        transaction: Transaction | None = None

        def work(writer: sqlite3.Connection) -> Receipt:
            nonlocal transaction
            if batch.op_id is not None:
                known = operations.repeated(writer, (batch.op_id, digest))
                if known is not None:
                    return known
            transaction = Transaction(
                writer,
                self._prepare,
                self._seen,
                self._remembered,
                self.now(),
                self._collections,
                careful=careful,
            )
            receipt = transaction.apply(batch)
            if batch.op_id is not None:
                operations.remember(writer, (batch.op_id, digest), receipt)
            return receipt

        def explain() -> QuantkeepError:
            writer, removed = self._database.writer, transaction.removed if transaction else ()
            references = SqliteReferences(writer, self._prepare, self._collections())
            return references.explain(batch, removed)

        receipt = self._database.write("commit", work, explain)
        if transaction is not None:
            transaction.committed()
        return receipt

    def outcome(self, op_id: str) -> Receipt | None:
        with self._database.reading() as reader:
            return operations.find(reader, op_id)

    # -- reads -----------------------------------------------------------------------------------

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        prepared = self._prepare(collection)
        wanted = prepared.key_values(key)
        if wanted is None:
            return None
        with self._database.reading() as reader:
            found = reader.execute(prepared.get.sql, wanted).fetchone()
        return None if found is None else prepared.codec.load(found)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        rows = self._scanned(self._prepare(collection), query)
        next(rows)  # what it sees is decided now, not when the first row is taken
        return rows

    def _scanned(self, prepared: Prepared, query: Query) -> Iterator[Any]:
        readers = self._database.readers
        with self._database.reading() as reader, Reading(reader, prepared) as answer:
            rows = answer.rows(query)
            yield None
            for row in rows:
                yield row
                if readers.closed:
                    raise Closed("the keep was closed while its rows were read")

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        with self._database.reading() as reader:
            return tallies.answer(reader, self._prepare(collection), tally)

    def heads(self, collection: Collection) -> list[Head]:
        prepared = self._prepare(collection)
        seen = self._seen.heads(collection)  # before reading: other threads go on meanwhile
        with self._database.reading() as reader:
            reader.execute("BEGIN")
            last_place = prepared.last_place if collection.log else ""
            found = streams.heads(reader, collection, last_place)
        for stream, _, there in found:
            if there < seen.get(stream, 0):
                raise regressed(collection, stream, seen[stream], there)
        heads = [Head(stream, head) for stream, head, _ in found if head]
        return sorted(heads, key=lambda head: repr(head.stream))

    # -- blobs -----------------------------------------------------------------------------------

    def put_blob(self, digest: str, data: bytes) -> None:
        self._blobs.put(digest, data, self.now())

    def open_blob(self, digest: str) -> bytes | None:
        return self._blobs.get(digest)

    def blob_size(self, digest: str) -> int:
        return self._blobs.size(digest)

    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        self._blobs.delete(digest, staged_before)

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return self._blobs.all()

    # -- housekeeping ----------------------------------------------------------------------------

    def now(self) -> int:
        return time.time_ns() // 1000

    def health(self) -> Health:
        return self._maintenance.health()

    def sizes(self) -> Mapping[str, int]:
        return self._maintenance.sizes()

    def check(self) -> list[str]:
        return self._maintenance.check()

    def compact(self) -> None:
        self._maintenance.compact()

    def backdoor(self) -> Backdoor:
        return SqliteBackdoor(self._database, self._prepare)

    def close(self) -> None:
        self._database.close()


def _only_entry(batch: Batch) -> SealedRow | None:
    """The one row of a batch that does nothing but append it."""
    if len(batch.writes) != 1:
        return None
    write = batch.writes[0]
    if not isinstance(write, Append) or not isinstance(write.rows, list | tuple):
        return None
    return write.rows[0] if len(write.rows) == 1 else None
