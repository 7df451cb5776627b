"""Operation ids: each batch that carries one is applied once (Z-10)."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from quantkeep.batch import Batch, Receipt
from quantkeep.checksums import DIGITS
from quantkeep.contract import replayed
from quantkeep.errors import Corrupt
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.engine import PostgresqlEngine, moment
from quantkeep_backends.postgresql.exchange import Answer
from quantkeep_backends.postgresql.system import OPERATIONS

_AT_ONCE: Final = 10_000  # receipts in memory


def receipt_sql(receipt: str, op_id: str, digest: str) -> str:
    """The SQL of what :meth:`quantkeep.batch.Receipt.to_json` says, with a checksum of SQL's own.

    Args:
        receipt: the SQL of the text without it.
        op_id: of the operation's id.
        digest: of the batch's digest.
    """
    beside = f"{receipt} || {op_id} || encode({digest}, 'hex')"
    check = f"left(encode(sha256(convert_to({beside}, 'UTF8')), 'hex'), {DIGITS})"
    return f"""'{{"check": "sha256:' || {check} || '", ' || substr({receipt}, 2)"""


class Operations:
    """The statements about operations."""

    def __init__(self, engine: PostgresqlEngine) -> None:
        self._schema = engine.schema
        table = engine.table(OPERATIONS)
        self.known = f"SELECT digest, receipt FROM {table} WHERE op_id = $1"
        self._behind = (
            f"SELECT op_id, digest, receipt FROM {table} WHERE op_id > $1 "
            f"ORDER BY op_id LIMIT {_AT_ONCE}"
        )
        self._remember = (
            f"INSERT INTO {table} (op_id, digest, receipt, created_at) VALUES ($1, $2, $3, $4)"
        )

    def find(self, link: Link, op_id: str) -> Receipt | None:
        """The receipt of the batch that was applied under *op_id*."""
        found = link.run(self.known, (op_id,)).fetchone()
        return None if found is None else Receipt.from_json(found[1], op_id, found[0])

    def complaints(self, link: Link) -> Iterator[str]:
        """Which receipts were changed outside quantkeep."""
        op_id = ""
        while found := link.run(self._behind, (op_id,)).fetchall():
            for op_id, digest, text in found:  # the last one is asked for next
                try:
                    Receipt.from_json(text, op_id, digest)
                except Corrupt as error:
                    yield str(error)

    def lock(self, link: Link, op_id: str) -> Answer:
        """Queue: let nobody else use *op_id* until the end, and read what it was used for."""
        secret = blake2b(f"{self._schema}\0{op_id}".encode(), digest_size=8).digest()
        number = int.from_bytes(secret, signed=True)
        link.send("SELECT pg_advisory_xact_lock($1)", (str(number),))
        return link.queue(self.known, (op_id,))

    def replayed(self, cursor: Answer, op_id: str, digest: bytes) -> Receipt | None:
        """The receipt, if the batch was applied before; raises ``OperationConflict``."""
        known = cursor.fetchone()
        return None if known is None else replayed(op_id, digest, *known)

    def remember(self, batch: Batch, digest: bytes, receipt: Receipt) -> tuple[str, list[object]]:
        """The statement that remembers what *batch* was answered."""
        return self._remember, [batch.op_id, digest, receipt.to_json(digest), moment(receipt.at)]
