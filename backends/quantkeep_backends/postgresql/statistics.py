"""What the planner knows of a table that has just grown many times over.

Autovacuum tells it within a minute or so. Until then it takes the table for empty, and lists the
newest hundred of a million entries by sorting the million. What it has to know is how many entries
there are, and what is in the columns that indexes are on: that takes a third of the time of all.
"""

import logging
from collections import Counter
from typing import Any, Final

from quantkeep.batch import Append, Batch, Receipt
from quantkeep.collection import Collection
from quantkeep.errors import QuantkeepError
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.database import Database
from quantkeep_backends.postgresql.tools import Tools

_MANY: Final = 10_000  # rows below which a plan made in the dark does no harm
_KNOWN: Final = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = $1::regclass"

logger = logging.getLogger(__name__)


class Statistics:
    """Has logs analysed that have doubled, as far as this handle knows; never fails."""

    def __init__(self, database: Database, tools: Tools) -> None:
        self._database = database
        self._tools = tools
        self._grown: Counter[str] = Counter()
        self._enough: dict[str, int] = {}  # rows by which a log has to grow first

    def after(self, batch: Batch, receipt: Receipt) -> None:
        """*batch* was committed."""
        for write, outcome in zip(batch.writes, receipt.outcomes, strict=True):
            if isinstance(write, Append):
                self._after(write.collection, outcome.added)

    def _after(self, collection: Collection, added: int) -> None:
        self._grown[collection.name] += added
        if self._grown[collection.name] < self._enough.get(collection.name, _MANY):
            return
        try:
            self._database.read(lambda link: self._analysed(link, collection))
        except QuantkeepError as error:  # the commit was made, and this is a kindness
            logger.warning("statistics of %s: %s", collection.name, error)

    def _analysed(self, link: Link, collection: Collection) -> None:
        name, table = collection.name, self._tools.prepare(collection).table
        found: Any = link.run(_KNOWN, [table]).fetchone()
        self._enough[name] = max(_MANY, *found)
        if self._grown[name] >= self._enough[name]:
            link.script(f"ANALYZE (SKIP_LOCKED) {table} ({self._columns(collection)})")
            self._grown[name] = 0

    def _columns(self, collection: Collection) -> str:
        """Those that indexes are on."""
        layout = self._tools.prepare(collection).layout
        names = {layout.stored(name).name for name in {*collection.indexed, "revision"}}
        return ", ".join(map(self._database.engine.quoted, sorted(names)))
