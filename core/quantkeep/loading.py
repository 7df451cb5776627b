"""From a stored row back to its record, once the digest says that it is what was written."""

from collections.abc import Callable
from typing import Any

import attrs

from quantkeep import documents
from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Kind, Row, to_python
from quantkeep.errors import Corrupt, InvalidRecord
from quantkeep.hosts import Hosts
from quantkeep.records import Envelope

Fill = Callable[[Any, list[Any], Envelope], None]


class Loader:
    """Loads the records of one collection."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._digest = collection.digest
        self._readers = tuple(
            (place, read)
            for place, column in enumerate(collection.columns)
            if (read := to_python(column.kind)) is not None
        )
        self._documents = tuple(
            place for place, column in enumerate(collection.columns) if column.kind is Kind.DOCUMENT
        )
        self._width, self._fill = _filling(collection)

    def load(self, stored: StoredRow, hosts: Hosts) -> Any:
        """The record of *stored*.

        The constructor is passed over: the row was validated when it was written, and its digest
        says that it has not changed since.

        Raises:
            Corrupt: the digest does not match.
            InvalidRecord: this program has no class for the collection.
        """
        self.verify(stored)
        record = self._collection.record
        if record is None:
            raise InvalidRecord(
                f"this program has no class for {self._collection.name!r}; "
                "open the keep with records=[...]"
            )
        made = object.__new__(record)
        # columns that other programs added stand at the end, and have no field
        self._fill(made, self.python(stored.values, hosts)[: self._width], _envelope(stored))
        return made

    def verify(self, stored: StoredRow) -> None:
        """Hold what was read against its digest; raises :class:`Corrupt`."""
        try:
            good = self._digest(stored.values) == stored.digest
        except (TypeError, ValueError):
            good = False
        if not good:
            name, key = self._collection.name, self._collection.stored_key(stored)
            raise Corrupt(
                f"{name} {key!r} does not match its digest: the stored bytes were changed outside "
                "quantkeep; run `quantkeep verify`, and restore this record from a backup",
                locator=f"{name}{key!r}",
            )

    def python(self, values: Row, hosts: Hosts, *, strict_types: bool = True) -> list[Any]:
        """The Python values of a row; see :func:`quantkeep.documents.decode` for *strict_types*."""
        out: list[Any] = list(values)
        for place, read in self._readers:
            if out[place] is not None:
                out[place] = read(out[place])
        for place in self._documents:
            if out[place] is not None:
                out[place] = documents.decode(out[place], hosts, strict_types=strict_types)
        return out


def _filling(collection: Collection) -> tuple[int, Fill]:
    """How many columns are the record's own fields, and what fills them and its envelope.

    The slot descriptors of a class are called one by one, in code that is written out for it: a
    loop over them takes twice as long, and every record that is read waits for it.
    """
    if collection.record is None:
        return 0, lambda made, values, envelope: None
    fields = {f.name for f in attrs.fields(collection.record)}
    names = [name for name in collection.names if name in fields]
    known: dict[str, Any] = {
        f"put{place}": getattr(collection.record, name).__set__ for place, name in enumerate(names)
    }
    known["put_envelope"] = collection.record.envelope.__set__
    values = "".join(f"v{place}, " for place in range(len(names)))
    lines = ["def fill(made, values, envelope):", f"{values}= values" if names else "pass"]
    lines += [f"put{place}(made, v{place})" for place in range(len(names))]
    exec("\n ".join([*lines, "put_envelope(made, envelope)"]), known)  # noqa: S102  # of places alone
    fill: Fill = known["fill"]
    return len(names), fill


def _envelope(stored: StoredRow) -> Envelope:
    return Envelope(*stored[1:])
