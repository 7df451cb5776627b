"""What a commit says in the log: rows as JSON, large appends by the names of their segments."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from quantkeep.batch import Receipt
from quantkeep.collection import Collection
from quantkeep.model import Effect, Removed, Stored
from quantkeep_backends.parquet._scalars import read_key, read_row, write_key, write_row
from quantkeep_backends.parquet._segments import Segment


class Operation(NamedTuple):
    """What is remembered of an operation id."""

    op_id: str
    digest: bytes
    receipt: Receipt

    def said(self) -> dict[str, str]:
        """As JSON."""
        return {"id": self.op_id, "digest": self.digest.hex(), "receipt": self.receipt.to_json()}

    @classmethod
    def heard(cls, said: Mapping[str, str]) -> "Operation":
        """What :meth:`said` said."""
        receipt = Receipt.from_json(said["receipt"], said["id"])
        return cls(said["id"], bytes.fromhex(said["digest"]), receipt)


def entry(
    collections: Mapping[str, Collection],
    at: int,
    effects: Iterable[Effect],
    segments: Sequence[tuple[str, Segment]] = (),
    operation: Operation | None = None,
) -> dict[str, Any]:
    """The body of a commit."""
    said: dict[str, Any] = {"at": at, "effects": [_effect(collections, e) for e in effects]}
    if segments:
        said["segments"] = [{"collection": name, **s.said()} for name, s in segments]
    if operation is not None:
        said["operation"] = operation.said()
    return said


def _effect(collections: Mapping[str, Collection], effect: Effect) -> dict[str, Any]:
    if isinstance(effect, Stored):
        return write_row(collections[effect.collection], effect.row)
    return {"collection": effect.collection, "removed": write_key(effect.key)}


def effects_of(collections: Mapping[str, Collection], said: Mapping[str, Any]) -> Iterable[Effect]:
    """The effects that a commit says."""
    for effect in said.get("effects", ()):
        name = effect["collection"]
        if "removed" in effect:
            yield Removed(name, read_key(effect["removed"]))
        else:
            yield Stored(name, read_row(collections[name], effect))


def segments_of(said: Mapping[str, Any]) -> Iterable[tuple[str, Segment]]:
    """The segments that a commit names, by their collection."""
    for segment in said.get("segments", ()):
        yield segment["collection"], Segment.heard(segment)
