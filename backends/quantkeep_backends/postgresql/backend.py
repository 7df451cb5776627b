"""``postgresql://``: what several processes and hosts share."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from quantkeep.backend import Backdoor, Backend, Capability, Head, Health
from quantkeep.batch import Batch, Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.contract import regressed
from quantkeep.errors import (
    Busy,
    Closed,
    OutcomeUnknown,
    PermissionDenied,
    QuantkeepError,
    Unavailable,
)
from quantkeep.query import Query, Tally
from quantkeep_backends._sql.engine import Inexact
from quantkeep_backends.postgresql import schema as tables
from quantkeep_backends.postgresql.backdoor import PostgresqlBackdoor
from quantkeep_backends.postgresql.blobs import Blobs
from quantkeep_backends.postgresql.bulk import Bulk
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.database import Database
from quantkeep_backends.postgresql.maintenance import Maintenance
from quantkeep_backends.postgresql.reading import Reading
from quantkeep_backends.postgresql.rows import microseconds_sql
from quantkeep_backends.postgresql.single import Single
from quantkeep_backends.postgresql.statistics import Statistics
from quantkeep_backends.postgresql.streams import Seen
from quantkeep_backends.postgresql.tools import Tools
from quantkeep_backends.postgresql.transaction import Duplicates, Transaction

CAPABILITIES: Final = (
    Capability.PERSISTENT
    | Capability.MULTI_PROCESS
    | Capability.MULTI_HOST
    | Capability.PUSH_DOWN
    | Capability.SNAPSHOT_READS
    | Capability.STORE_CLOCK
    | Capability.FAILPOINTS
)

_NOW: Final = f"SELECT {microseconds_sql('clock_timestamp()')}"
_RESOLVING: Final = 10.0  # seconds to find out what became of a commit, at most


class PostgresqlBackend(Backend):
    """One schema, opened."""

    name: ClassVar[str] = "postgresql"
    capabilities = CAPABILITIES
    streams_appends = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tools = Tools(database)
        self._seen = Seen()
        self._single = Single(database, self._tools, self._seen)
        self._bulk = Bulk(database, self._tools, self._seen)
        self._statistics = Statistics(database, self._tools)
        self._blobs = Blobs(database)
        self._maintenance = Maintenance(database, self._tools)
        self.durability = self._maintenance.durability()

    # -- collections -----------------------------------------------------------------------------

    def description(self) -> str | None:
        return self._tools.description()

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        tables.ensure(self._database, collections, description)
        self._tools.forget()

    # -- commits ---------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> Receipt:
        try:
            return self._committed(batch)
        except OutcomeUnknown as error:
            error.op_id = batch.op_id
            if batch.op_id is None:
                raise
            return self._resolved(batch, error)
        except QuantkeepError as error:
            error.op_id = error.op_id or batch.op_id
            raise

    def _committed(self, batch: Batch) -> Receipt:
        digest = b"" if batch.op_id is None else batch.digest()
        receipt = self._single.commit(batch, digest)
        if receipt is not None:
            return receipt
        self._tools.peers()  # known before a connection is held: there may be no second one
        try:
            receipt = self._bulk.commit(batch, digest)
            receipt = receipt or self._transacted(batch, digest, careful=False)
        except Duplicates:
            receipt = self._transacted(batch, digest, careful=True)
        self._statistics.after(batch, receipt)
        return receipt

    def _transacted(self, batch: Batch, digest: bytes, *, careful: bool) -> Receipt:
        def work(link: Link) -> Receipt:
            transaction = Transaction(link, self._tools, self._seen, careful=careful)
            return transaction.run(self._database, batch, digest)

        return self._database.write(work)

    def _resolved(self, batch: Batch, unknown: OutcomeUnknown) -> Receipt:
        """The same batch again, which its operation id makes safe, until somebody answers."""
        until = time.monotonic() + min(_RESOLVING, self._database.settings.timeout)
        while time.monotonic() < until:
            try:
                return self._committed(batch)
            except (Unavailable, Busy, OutcomeUnknown, PermissionDenied) as error:
                if not (error.retryable or isinstance(error, OutcomeUnknown)):
                    raise unknown from unknown.__cause__
                time.sleep(0.1)
        raise unknown from unknown.__cause__

    def outcome(self, op_id: str) -> Receipt | None:
        return self._database.read(lambda link: self._tools.operations.find(link, op_id))

    # -- reads -----------------------------------------------------------------------------------

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        prepared = self._tools.prepare(collection)
        asked = prepared.get(key)
        found = self._database.read(lambda link: link.run(*asked).fetchone())
        return None if found is None else prepared.codec.load(found)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        rows = self._scanned(collection, query)
        next(rows)  # what it sees is decided now, not when the first row is taken
        return rows

    def _scanned(self, collection: Collection, query: Query) -> Iterator[Any]:
        pool = self._database.pool
        with self._database.reading() as link:
            rows = Reading(link, self._tools.prepare(collection)).rows(query)
            yield None
            for row in rows:
                yield row
                if pool.closed:
                    raise Closed("the keep was closed while its rows were read")

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        prepared = self._tools.prepare(collection)
        try:
            figures = self._database.read(lambda link: Reading(link, prepared).figures(tally))
        except Inexact:
            return super().tally(collection, tally)
        return tally.ranked(figures)

    def heads(self, collection: Collection) -> list[Head]:
        seen = self._seen.heads(collection)  # before reading: other threads go on meanwhile
        all_of = self._tools.heads.all_of
        found = dict(self._database.read(lambda link: all_of(link, collection)))
        for stream, head in seen.items():
            if found.get(stream, 0) < head:
                raise regressed(collection, stream, head, found.get(stream, 0))
        heads = [Head(stream, head) for stream, head in found.items() if head]
        return sorted(heads, key=lambda head: repr(head.stream))

    # -- blobs -----------------------------------------------------------------------------------

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

    # -- housekeeping ----------------------------------------------------------------------------

    def now(self) -> int:
        found: Any = self._database.read(lambda link: link.run(_NOW).fetchone())
        return int(found[0])

    def health(self) -> Health:
        return self._maintenance.health()

    def sizes(self) -> Mapping[str, int]:
        return self._maintenance.sizes()

    def check(self) -> list[str]:
        return self._maintenance.check()

    def compact(self) -> None:
        self._maintenance.compact()

    def backdoor(self) -> Backdoor:
        return PostgresqlBackdoor(self._database, self._tools)

    def close(self) -> None:
        self._database.close()
