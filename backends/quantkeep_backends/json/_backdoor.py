"""Damage for the conformance kit: a row that is changed behind all checks."""

from typing import TYPE_CHECKING

from quantkeep.backend import Backdoor
from quantkeep.collection import Collection, Key
from quantkeep.columns import Column, Kind, Scalar
from quantkeep.contract import FlippedReceipt, flipped
from quantkeep.model import Model
from quantkeep_backends.json._lines import dumps

if TYPE_CHECKING:
    from quantkeep_backends.json._backend import JsonBackend


class JsonBackdoor(Backdoor):
    """Changes a record in the model and writes a generation of it: its digest stays behind."""

    def __init__(self, backend: "JsonBackend") -> None:
        self._backend = backend

    def flip(self, collection: Collection, key: Key, column: str) -> None:
        place = collection.places[column]

        def change(model: Model) -> None:
            shelf = model.shelves[collection.name]
            values = [*shelf.rows[key].values]
            values[place] = _flipped(values[place], collection.columns[place])
            shelf.rows[key] = shelf.rows[key]._replace(values=tuple(values))

        self._backend.rewrite(change)

    def remove(self, collection: Collection, key: Key) -> None:
        self._backend.rewrite(lambda model: model.shelves[collection.name].drop(key))

    def flip_receipt(self, op_id: str) -> None:
        def change(model: Model) -> None:
            digest, receipt = model.operations[op_id]
            model.operations[op_id] = digest, FlippedReceipt.of(receipt)

        self._backend.rewrite(change)


def _flipped(scalar: Scalar, column: Column) -> Scalar:
    """As :func:`flipped`; a document stays JSON, for the file could not hold it otherwise."""
    return dumps(scalar) if column.kind is Kind.DOCUMENT else flipped(scalar)
