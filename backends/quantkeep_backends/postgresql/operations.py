"""Operation ids: each batch that carries one is applied once (Z-10)."""

from hashlib import blake2b

from quantkeep.batch import Batch, Receipt
from quantkeep.contract import operation_conflict
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.engine import PostgresqlEngine, moment
from quantkeep_backends.postgresql.exchange import Answer
from quantkeep_backends.postgresql.system import OPERATIONS


class Operations:
    """The statements about operations."""

    def __init__(self, engine: PostgresqlEngine) -> None:
        self._schema = engine.schema
        table = engine.table(OPERATIONS)
        self.known = f"SELECT digest, receipt FROM {table} WHERE op_id = $1"
        self._remember = (
            f"INSERT INTO {table} (op_id, digest, receipt, created_at) VALUES ($1, $2, $3, $4)"
        )

    def find(self, link: Link, op_id: str) -> Receipt | None:
        """The receipt of the batch that was applied under *op_id*."""
        found = link.run(self.known, (op_id,)).fetchone()
        return None if found is None else Receipt.from_json(found[1], op_id)

    def lock(self, link: Link, op_id: str) -> Answer:
        """Queue: let nobody else use *op_id* until the end, and read what it was used for."""
        secret = blake2b(f"{self._schema}\0{op_id}".encode(), digest_size=8).digest()
        number = int.from_bytes(secret, signed=True)
        link.send("SELECT pg_advisory_xact_lock($1)", (str(number),))
        return link.queue(self.known, (op_id,))

    def replayed(self, cursor: Answer, op_id: str, digest: bytes) -> Receipt | None:
        """The receipt, if the batch was applied before; raises ``OperationConflict``."""
        known = cursor.fetchone()
        if known is None:
            return None
        if known[0] != digest:
            raise operation_conflict(op_id)
        return Receipt.from_json(known[1], op_id)

    def remember(self, batch: Batch, digest: bytes, receipt: Receipt) -> tuple[str, list[object]]:
        """The statement that remembers what *batch* was answered."""
        return self._remember, [batch.op_id, digest, receipt.to_json(), moment(receipt.at)]
