"""Operation ids, and the receipts of what was committed under them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from quantkeep.batch import Receipt
from quantkeep.errors import Corrupt
from quantkeep_backends.sqlite.seals import sealed, unsealed

_ADD: Final = (
    "INSERT INTO quantkeep_operations (op_id, digest, receipt, created_at) VALUES (?, ?, ?, ?)"
)
_FIND: Final = "SELECT digest, receipt FROM quantkeep_operations WHERE op_id = ?"
_ALL: Final = "SELECT op_id, digest, receipt FROM quantkeep_operations"

Operation = tuple[str, bytes]  # its id, and the digest of its batch


def remember(writer: sqlite3.Connection, operation: Operation, receipt: Receipt) -> None:
    """Keep the *receipt* of *operation*, in the same transaction."""
    text = sealed(receipt.to_json(), _beside(*operation))
    writer.execute(_ADD, (*operation, text, receipt.at))


def find(reader: sqlite3.Connection, path: Path, op_id: str) -> tuple[bytes, Receipt] | None:
    """The digest and the receipt of what was committed under *op_id*; raises :class:`Corrupt`."""
    found = reader.execute(_FIND, (op_id,)).fetchone()
    return found and (found[0], _receipt(path, op_id, *found))


def complaints(reader: sqlite3.Connection, path: Path) -> Iterator[str]:
    """What of the operations was changed outside quantkeep."""
    for op_id, digest, stored in reader.execute(_ALL):
        try:
            _receipt(path, op_id, digest, stored)
        except Corrupt as error:
            yield str(error)


def _receipt(path: Path, op_id: str, digest: bytes, stored: str) -> Receipt:
    text = unsealed(stored, path, f"the receipt of operation {op_id!r}", _beside(op_id, digest))
    return Receipt.from_json(text, op_id)


def _beside(op_id: str, digest: bytes) -> bytes:
    return digest + op_id.encode()
