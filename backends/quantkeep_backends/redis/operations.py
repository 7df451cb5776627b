"""Operation ids, and the receipts of what was committed under them.

The scripts store them: the digest of the batch in hexadecimal, a space, and the receipt.
"""

from collections.abc import Iterator
from typing import Final

from quantkeep import contract
from quantkeep.batch import Receipt
from quantkeep.errors import Corrupt
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link

_AT_ONCE: Final = 1_000


def replayed(known: bytes, op_id: str, digest: bytes) -> Receipt:
    """As :func:`quantkeep.contract.replayed`, of what is stored."""
    return contract.replayed(op_id, digest, *_parts(known))


def receipt(known: bytes, op_id: str) -> Receipt:
    """The receipt of what is stored; raises :class:`Corrupt`."""
    digest, text = _parts(known)
    return Receipt.from_json(text, op_id, digest)


def flipped(known: bytes) -> bytes:
    """What is stored, with another receipt."""
    digest, _, text = known.partition(b" ")
    return digest + b" " + contract.flipped_receipt(text.decode()).encode()


def complaints(link: Link, names: Names) -> Iterator[str]:
    """Which receipts were changed outside quantkeep."""
    cursor = None
    while cursor != b"0":
        cursor, found = link.ask("HSCAN", names.of("ops"), cursor or b"0", "COUNT", _AT_ONCE)
        for op_id, known in zip(found[::2], found[1::2], strict=True):
            try:
                receipt(known, op_id.decode(errors="replace"))
            except Corrupt as error:
                yield str(error)


def _parts(known: bytes) -> tuple[bytes, str]:
    digest, _, text = known.decode(errors="replace").partition(" ")
    try:
        return bytes.fromhex(digest), text
    except ValueError:  # the checksum is of the digest, too
        return b"", text
