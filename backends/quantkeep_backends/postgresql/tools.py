"""What a backend has one of, and everything that commits and reads makes use of."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from quantkeep import schema
from quantkeep.collection import Collection
from quantkeep_backends.postgresql.operations import Operations
from quantkeep_backends.postgresql.prepared import Prepared
from quantkeep_backends.postgresql.streams import Heads
from quantkeep_backends.postgresql.system import META

if TYPE_CHECKING:
    from quantkeep_backends.postgresql.connections import Link
    from quantkeep_backends.postgresql.database import Database


class Tools:
    """The statements of a schema, prepared once for each collection."""

    def __init__(self, database: "Database") -> None:
        self.engine = database.engine
        self.operations = Operations(self.engine)
        self.heads = Heads(self.engine)
        self._database = database
        self._prepared: dict[Collection, Prepared] = {}
        self._peers: Mapping[str, Collection] | None = None

    def prepare(self, collection: Collection) -> Prepared:
        """The statements of *collection*."""
        prepared = self._prepared.get(collection)
        if prepared is None:
            prepared = self._prepared[collection] = Prepared(collection, self.engine)
        return prepared

    @cached_property
    def recall(self) -> str:
        """Asks for what the keep remembers under a name."""
        return f"SELECT value FROM {self.engine.table(META)} WHERE name = $1"

    def description(self) -> str | None:
        """The text the keep remembers of its collections."""

        def work(link: "Link") -> str | None:
            found = link.run(self.recall, ("description",)).fetchone()
            return None if found is None else str(found[0])

        return self._database.read(work)

    def peers(self) -> Mapping[str, Collection]:
        """Every collection of the keep, this program's or not, by name."""
        if self._peers is None:
            text = self.description()
            self._peers = {c.name: c for c in schema.understand(text)} if text else {}
        return self._peers

    def forget(self) -> None:
        """The keep's collections may have changed."""
        self._peers = None
