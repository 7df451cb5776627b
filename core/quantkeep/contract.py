"""The judgements every backend makes in the same words: preconditions, uniqueness, references."""

import re
from collections.abc import Sequence

from quantkeep.backend import Durability
from quantkeep.batch import Absent, Anything, AtRevision, Expectation, Holding, Present, Receipt
from quantkeep.collection import Collection, Key, Reference, SealedRow, StoredRow
from quantkeep.columns import Scalar
from quantkeep.errors import (
    AlreadyExists,
    Conflict,
    DurabilityNotMet,
    InvalidReference,
    NotFound,
    OperationConflict,
    Regression,
    StaleOwner,
    StillReferenced,
)
from quantkeep.url import Url


def check_expectation(
    collection: Collection, key: Key, known: StoredRow | None, expect: Expectation
) -> None:
    """Hold a precondition against what is stored under *key*.

    Raises:
        AlreadyExists, NotFound, Conflict, StaleOwner: it does not hold.
    """
    match expect:
        case Anything():
            return
        case Absent():
            if known is not None:
                raise AlreadyExists(
                    f"{_named(collection, key)} is stored already: read it, or take another key"
                )
        case Present():
            if known is None:
                raise NotFound(f"{_named(collection, key)} is not stored: store it first")
        case AtRevision(revision):
            if known is None or known.revision != revision:
                raise lost(collection, key, revision, known.revision if known else None)
        case Holding(token):
            current = known.values[collection.places["token"]] if known else None
            if current != token:
                raise stale(collection, key, token, current)


def lost(collection: Collection, key: Key, expected: int, found: int | None) -> Conflict:
    """Another writer was first."""
    now = "it is not stored" if found is None else f"it is at revision {found}"
    return Conflict(
        f"{_named(collection, key)} was expected at revision {expected}; {now}: read it again"
    )


def stale(collection: Collection, key: Key, held: int, current: Scalar) -> StaleOwner:
    """The lease went to another owner."""
    return StaleOwner(
        f"{_named(collection, key)}: fencing token {held} is not the current one ({current!r}); "
        "another owner has taken over, stop writing",
        held=held,
        current=current if isinstance(current, int) else None,
    )


def taken(collection: Collection, value: Key, group: Sequence[str]) -> AlreadyExists:
    """A key, identity or unique group is held by other content."""
    names = [name for name in group if name]
    if len(names) < len(value):  # an identity, which is within its stream
        names = [*collection.stream, *names]
    return AlreadyExists(
        f"{collection.name}: {_grouped(names)} = {_shown(value)} is stored already, with other "
        "content: read it and compare, or store this under another"
    )


def dangling(collection: Collection, reference: Reference, key: Key) -> InvalidReference:
    """A reference to what is not stored."""
    return InvalidReference(
        f"{collection.name}.{_grouped(reference.columns)} refers to {reference.to} {_shown(key)}, "
        "which is not stored: store it first, or in the same batch"
    )


def still_referenced(
    collection: Collection, key: Key, by: Collection, other: Key
) -> StillReferenced:
    """Deletion of what others refer to."""
    return StillReferenced(
        f"{_named(collection, key)} cannot be deleted: {_named(by, other)} refers to it"
    )


def operation_conflict(op_id: str) -> OperationConflict:
    """An operation id used for another batch."""
    return OperationConflict(
        f"operation {op_id!r} was already used for another batch: give each batch its own id",
        op_id=op_id,
    )


def replayed(op_id: str, digest: bytes, known: bytes, text: str) -> Receipt:
    """The receipt of a batch with that *digest*, where *op_id* was used before.

    Args:
        op_id: of the batch.
        digest: of the batch.
        known: the digest that was remembered under it.
        text: the receipt that was, as :meth:`Receipt.to_json` made it with that digest.

    Raises:
        OperationConflict: it was used for another batch.
        Corrupt: what is remembered is not what was written.
    """
    receipt = Receipt.from_json(text, op_id, known)
    if digest != known:
        raise operation_conflict(op_id)
    return receipt


def regressed(collection: Collection, stream: Key, seen: int, found: int) -> Regression:
    """The store is older than what this handle has seen."""
    return Regression(
        f"{collection.name} {stream!r} is at revision {found}, but this handle has already seen "
        f"{seen}: an older backup was put back under it; stop, and compare before going on",
        locator=f"{collection.name}{stream!r}",
    )


def stored_row(
    collection: Collection, row: SealedRow, revision: int, now: int, created_at: int | None = None
) -> StoredRow:
    """*row* as stored: an update keeps ``created_at`` (X-7); import and copy bring their own."""
    created = created_at if created_at is not None else row.created_at
    return StoredRow(
        row.values,
        revision,
        now if created is None else created,
        now if row.updated_at is None else row.updated_at,
        collection.schema_version,
        row.digest,
    )


def require_level(reached: Durability, demanded: Durability | None, url: Url) -> None:
    """Fail at open, not at three in the morning; raises :class:`DurabilityNotMet`."""
    if demanded is not None and reached < demanded:
        raise DurabilityNotMet(
            f"{url} reaches durability {reached.name.lower()!r} as it is set up; "
            f"{demanded.name.lower()!r} was demanded"
        )


def flipped(scalar: Scalar) -> Scalar:
    """*scalar* with one bit changed, of the same type; for backdoors."""
    if isinstance(scalar, bool):
        return not scalar
    if isinstance(scalar, int):
        return scalar ^ 1
    if isinstance(scalar, float):
        return scalar + 1.0
    if isinstance(scalar, bytes):
        return bytes([scalar[0] ^ 1]) + scalar[1:] if scalar else b"\x01"
    if isinstance(scalar, str):
        return chr(ord(scalar[0]) ^ 1) + scalar[1:] if scalar else "!"
    return 1


def flipped_receipt(text: str) -> str:
    """The *text* of a receipt with another time, and its checksum as it was; for backdoors."""
    at = re.search(r'(?<="at":)\d+', text)
    if at is None:
        raise NotFound(f"{text!r} is no receipt")
    return f"{text[: at.start()]}{int(at[0]) ^ 1}{text[at.end() :]}"


class FlippedReceipt(Receipt):
    """A receipt that is damaged where it is stored; for backdoors."""

    def to_json(self, digest: bytes = b"") -> str:
        return flipped_receipt(super().to_json(digest))

    @classmethod
    def of(cls, receipt: Receipt) -> "FlippedReceipt":
        """The same as *receipt*, but damaged once it is stored."""
        return cls(receipt.outcomes, receipt.at, receipt.op_id)


def _named(collection: Collection, key: Key) -> str:
    return f"{collection.name} {_shown(key)}"


def _shown(key: Key) -> str:
    """A key as people say it: the value itself, where there is one."""
    return repr(key[0] if len(key) == 1 else key)


def _grouped(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"({', '.join(names)})"
