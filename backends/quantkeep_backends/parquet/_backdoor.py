"""How a test damages what is stored, behind the backend's back."""

import json
from typing import TYPE_CHECKING

from quantkeep.backend import Backdoor
from quantkeep.collection import Collection, Key
from quantkeep.columns import Column, Kind, Scalar
from quantkeep.contract import FlippedReceipt, flipped
from quantkeep_backends.parquet._tables import Tables

if TYPE_CHECKING:
    from quantkeep_backends.parquet.backend import ParquetBackend


class ParquetBackdoor(Backdoor):
    """Changes a row in memory and compacts: its digest stays behind, and is carried along."""

    def __init__(self, backend: "ParquetBackend") -> None:
        self._backend = backend

    def flip(self, collection: Collection, key: Key, column: str) -> None:
        def change(tables: Tables) -> None:
            shelf = tables.shelves[collection.name]
            row = shelf.row(key)
            assert row is not None, f"{collection.name} {key!r} is not there to be damaged"
            place = shelf.collection.places[column]
            values = [*row.values]
            values[place] = _flipped(values[place], collection.column(column))
            damaged = row._replace(values=tuple(values))
            if key in shelf.rows:
                shelf.rows[key] = damaged
            else:
                shelf.drop(key)
                shelf.add(damaged)
            tables.spoiled.add(collection.name)

        self._backend.rewrite(change)

    def remove(self, collection: Collection, key: Key) -> None:
        def change(tables: Tables) -> None:
            tables.shelves[collection.name].drop(key)
            tables.spoiled.add(collection.name)

        self._backend.rewrite(change)

    def flip_receipt(self, op_id: str) -> None:
        def change(tables: Tables) -> None:
            digest, receipt = tables.operations[op_id]
            tables.operations[op_id] = digest, FlippedReceipt.of(receipt)

        self._backend.rewrite(change)


def _flipped(scalar: Scalar, column: Column) -> Scalar:
    """As :func:`flipped`; a document stays JSON, so that what is wrong with it is its digest."""
    return json.dumps(scalar) if column.kind is Kind.DOCUMENT else flipped(scalar)
