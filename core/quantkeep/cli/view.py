"""How the records of a collection are asked for and listed, with or without their class."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from quantkeep.cli.listing import Listing, integer, real, text
from quantkeep.cli.stored import Part
from quantkeep.collection import Collection
from quantkeep.columns import Row
from quantkeep.query import (
    ENVELOPE_COLUMNS,
    Condition,
    Measure,
    Query,
    Tally,
    Where,
    where,
)


@attrs.frozen
class View:
    """What a command lists.

    Attributes:
        store: whose collection it is.
        collection: its name.
        time: the column that orders the listing, and that --since and --until speak of.
        shown: columns of a table, beside those that users added.
        figures: what --stats shows of each symbol, by name.
    """

    store: str
    collection: str
    time: str
    shown: tuple[str, ...]
    figures: Mapping[str, Measure] = attrs.field(factory=dict)

    def conditions(
        self, *, since: datetime | None, until: datetime | None, **equal: Any
    ) -> tuple[Condition, ...]:
        """From *since* on and before *until*, columns *equal* to what is given."""
        bounds = (Where(self.time, ">=", since), Where(self.time, "<", until))
        return (*where(**equal), *(bound for bound in bounds if bound.value))

    def records(
        self, part: Part, collection: Collection, asked: tuple[Condition, ...], limit: int
    ) -> Listing:
        """The newest *limit* records (0: all), oldest of them first (Z-38)."""
        newest: dict[str, Any] = {"limit": limit, "take": "last"} if limit else {}
        query = Query(where=asked, order=(self.time,), **newest)
        return Listing(
            title=f"{self._title} of {part.url}",
            columns=(*collection.columns, *ENVELOPE_COLUMNS.values()),
            rows=_rows(part, collection, query),
            shown=(*self.shown, *self._added(collection)),
            caption=f"the newest, {limit} at most; --limit 0 shows all" if limit else None,
        )

    def statistics(
        self, part: Part, collection: Collection, asked: tuple[Condition, ...]
    ) -> Listing:
        """The figures of each symbol, computed where the records are."""
        measures = (Measure("count"), *self.figures.values())
        rows = part.backend.tally(collection, Tally(by=("symbol",), measures=measures, where=asked))
        columns = (text("symbol"), integer("count"), *map(real, self.figures))
        return Listing(title=f"{self._title} of {part.url}, in figures", columns=columns, rows=rows)

    @property
    def _title(self) -> str:
        return self.collection.replace("_", " ").capitalize()

    def _added(self, collection: Collection) -> tuple[str, ...]:
        """Columns that users' own record classes gave this keep (CODEX-5)."""
        from quantkeep.opening import store_classes

        ours = {r.collection.name: r.collection for r in store_classes()[self.store].records}
        known = ours[self.collection].places
        return tuple(name for name in collection.names if name not in known)


def _rows(part: Part, collection: Collection, query: Query) -> Iterator[Row]:
    for stored in part.backend.scan(collection, query):
        collection.verify(stored)
        yield (*stored.values, stored.revision, stored.created_at, stored.updated_at)
