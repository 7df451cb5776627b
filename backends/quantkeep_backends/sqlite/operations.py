"""Operation ids, and the receipts of what was committed under them."""

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from quantkeep.batch import Receipt
from quantkeep.contract import replayed
from quantkeep.errors import Corrupt

_ADD: Final = (
    "INSERT INTO quantkeep_operations (op_id, digest, receipt, created_at) VALUES (?, ?, ?, ?)"
)
_FIND: Final = "SELECT digest, receipt FROM quantkeep_operations WHERE op_id = ?"
_ALL: Final = "SELECT op_id, digest, receipt FROM quantkeep_operations"

Operation = tuple[str, bytes]  # its id, and the digest of its batch


def remember(writer: sqlite3.Connection, operation: Operation, receipt: Receipt) -> None:
    """Keep the *receipt* of *operation*, in the same transaction."""
    writer.execute(_ADD, (*operation, receipt.to_json(operation[1]), receipt.at))


def repeated(writer: sqlite3.Connection, operation: Operation) -> Receipt | None:
    """As :func:`quantkeep.contract.replayed`; ``None`` if its id was never used."""
    found = writer.execute(_FIND, (operation[0],)).fetchone()
    return found and replayed(*operation, *_known(*found))


def find(reader: sqlite3.Connection, op_id: str) -> Receipt | None:
    """The receipt of what was committed under *op_id*."""
    found = reader.execute(_FIND, (op_id,)).fetchone()
    return found and _receipt(op_id, *found)


def complaints(reader: sqlite3.Connection) -> Iterator[str]:
    """Which receipts were changed outside quantkeep."""
    for op_id, *found in reader.execute(_ALL):
        try:
            _receipt(str(op_id), *found)
        except Corrupt as error:
            yield str(error)


def _receipt(op_id: str, *found: Any) -> Receipt:
    digest, text = _known(*found)
    return Receipt.from_json(text, op_id, digest)


def _known(digest: Any, text: Any) -> tuple[bytes, str]:
    """What was remembered; of a damaged page, a column may have a value of another type."""
    return digest if isinstance(digest, bytes) else b"", str(text)
