"""Operation ids in an ordered key-value store, and what was answered under them."""

from collections.abc import Iterator

from quantkeep.batch import Receipt
from quantkeep.contract import flipped_receipt, replayed
from quantkeep.errors import Corrupt
from quantkeep.model._keyvalue import KeyValue
from quantkeep.model._packing import hashed, pack, unpack

_OPERATION = b"o"


class KeyValueOperations:
    """The operations of one keep, as one transaction sees them."""

    def __init__(self, engine: KeyValue) -> None:
        self._engine = engine

    def replayed(self, op_id: str, digest: bytes) -> Receipt | None:
        """As :func:`quantkeep.contract.replayed`; ``None`` if *op_id* was never used."""
        known = self._engine.get(_place(op_id))
        return None if known is None else replayed(op_id, digest, *_unpacked(known, op_id)[1:])

    def remember(self, op_id: str, digest: bytes, receipt: Receipt) -> None:
        """Remember what a batch was answered."""
        self._put(op_id, digest, receipt.to_json(digest))

    def outcome(self, op_id: str) -> Receipt | None:
        """As :meth:`Backend.outcome`."""
        known = self._engine.get(_place(op_id))
        return None if known is None else _receipt(known, op_id)

    def complaints(self) -> Iterator[str]:
        """What was changed behind the keep's back."""
        for place, known in self._engine.range(_OPERATION):
            try:
                op_id, *_ = _unpacked(known, place.hex())
                _receipt(known, op_id)
            except Corrupt as error:
                yield str(error)
            else:
                if op_id != place.hex() and _place(op_id) != place:
                    yield f"the receipt of operation {op_id!r} is in the place of another"

    def flip(self, op_id: str) -> None:
        """As :meth:`Backdoor.flip_receipt`."""
        _, digest, text = _unpacked(self._engine.get(_place(op_id)) or b"", op_id)
        self._put(op_id, digest, flipped_receipt(text))

    def _put(self, op_id: str, digest: bytes, text: str) -> None:
        self._engine.put(_place(op_id), pack(digest, text, op_id))


def _place(op_id: str) -> bytes:
    return _OPERATION + hashed(op_id)


def _receipt(known: bytes, op_id: str) -> Receipt:
    _, digest, text = _unpacked(known, op_id)
    return Receipt.from_json(text, op_id, digest)


def _unpacked(known: bytes, op_id: str) -> tuple[str, bytes, str]:
    """The id (*op_id*, where none is stored: once it was not), the digest, and the receipt."""
    try:
        match unpack(known):
            case (bytes() as digest, str() as text):
                return op_id, digest, text
            case (bytes() as digest, str() as text, str() as own):
                return own, digest, text
            case _:
                raise ValueError("it has other parts")
    except (ValueError, TypeError, KeyError) as error:
        raise Corrupt(
            f"the receipt of operation {op_id!r} cannot be read: {error}; restore the keep from a "
            "backup",
            locator=f"operations {op_id!r}",
        ) from None
