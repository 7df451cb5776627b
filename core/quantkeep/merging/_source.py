"""The keep that is merged: its collections, its rows by stream, its emptying."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import Any
from uuid import UUID, uuid4

import attrs

from quantkeep import schema
from quantkeep.backend import Backend
from quantkeep.batch import ABSENT, AtRevision, Batch, Delete
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import AlreadyExists, Conflict, NotFound, Unsupported
from quantkeep.guard import GuardedBackend
from quantkeep.hookspecs import Opening
from quantkeep.hosts import Hosts
from quantkeep.merging.records import SOURCE, MergedSource, MergeMark, MergeSource
from quantkeep.query import Query, Where
from quantkeep.records import Record
from quantkeep.table import Table
from quantkeep.url import Url

OWN = frozenset(r.collection.name for r in (MergeSource, MergedSource, MergeMark))
BATCH = 500  # rows of a commit


@attrs.frozen
class Source:
    """An opened fallback.

    Attributes:
        this: what the target knows it by.
        collections: parents before those that refer to them, and the tape first: sessions have
            watermarks of it.
    """

    backend: Backend
    this: MergeSource
    collections: Mapping[str, Collection]

    @classmethod
    @contextmanager
    def opened(cls, url: str, plugins: Sequence[Any]) -> "Iterator[Source]":
        """The keep at *url*; raises :class:`NotFound`."""
        from quantkeep.opening import open_backend, plugin_manager

        parsed = Url.parse(url)
        opening = Opening(create=False)
        backend = GuardedBackend(open_backend(parsed, plugin_manager(plugins), opening))
        try:
            described = backend.description()
            if described is None:
                raise NotFound(f"there is no keep at {parsed}: nothing was ever stored there")
            stored = schema.understand(described)
            name_it(backend)
            this = _table(backend).fetch(SOURCE)
            yield cls(backend, this, {c.name: c for c in _in_order(stored)})
        finally:
            backend.close()

    @property
    def identity(self) -> UUID:
        """The same for ever."""
        return self.this.identity

    def next_epoch(self) -> "Source":
        """The same in a new epoch: copies that were made before can be told from it."""
        after = self.this.replace(epoch=uuid4(), previous=self.this.epoch)
        put = _table(self.backend).put(after, AtRevision(self.this.revision or 0))
        self.backend.commit(Batch((put,)))
        return self.again()

    def again(self) -> "Source":
        """The same as it is now."""
        return attrs.evolve(self, this=_table(self.backend).fetch(SOURCE))

    def table(self, record: type[Record]) -> "Table[Any] | None":
        """The table of *record*, if there is one here."""
        collection = self.collections.get(record.collection.name)
        if collection is None:
            return None
        (merged,) = schema.merge([record.collection], [collection])
        return Table(merged, self.backend, Hosts(()))

    def streams(self, collection: Collection) -> Iterator[tuple[Key, list[StoredRow]]]:
        """The rows of each stream, in the order of their revisions."""
        rows = self.backend.scan(collection, Query())
        stream_of = collection.stream_of
        if not collection.log:
            rows = iter(sorted(rows, key=lambda row: (repr(stream_of(row.values)), row.revision)))
        for stream, of_it in groupby(rows, key=lambda row: stream_of(row.values)):
            yield stream, [*of_it]

    def revisions(self, name: str, **stream: Any) -> list[int]:
        """Those that a stream of the log *name* has."""
        conditions = tuple(Where(column, "==", value) for column, value in stream.items())
        rows = self.backend.scan(self.collections[name], Query(where=conditions))
        return [row.revision for row in rows]

    def remove(self, collection: Collection, rows: Sequence[StoredRow]) -> None:
        """Remove what was merged, unless it was changed since."""
        for start in range(0, len(rows), BATCH):
            deletes = tuple(
                Delete(collection, collection.stored_key(row), AtRevision(row.revision))
                for row in rows[start : start + BATCH]
            )
            try:
                self.backend.commit(Batch(deletes))
            except (Conflict, NotFound):
                for delete in deletes:
                    with suppress(Conflict, NotFound):
                        self.backend.commit(Batch((delete,)))

    def compact(self) -> None:
        """Give back the space of what was removed."""
        with suppress(Unsupported):
            self.backend.compact()


def name_it(backend: Backend) -> None:
    """Give a keep that will be merged some day the name by which it is known then."""
    described = backend.description()
    stored = schema.understand(described) if described else []
    if MergeSource.collection.name not in {c.name for c in stored}:
        merged = [*stored, MergeSource.collection]
        backend.ensure(merged, schema.describe(merged))
    with suppress(AlreadyExists):  # it has one
        backend.commit(Batch((_table(backend).put(MergeSource(), ABSENT),)))


def _table(backend: Backend) -> Table[MergeSource]:
    return Table(MergeSource.collection, backend, Hosts(()))


def _in_order(stored: Iterable[Collection]) -> list[Collection]:
    """Parents first, as far as they are not in a circle; of the free ones, logs of the tape."""
    named = {c.name: c for c in stored if c.name not in OWN}
    first = sorted(named.values(), key=lambda c: (c.stream != ("account", "mode"), c.name))
    met: set[str] = set()
    ordered: list[Collection] = []

    def place(collection: Collection) -> None:
        if collection.name not in met:
            met.add(collection.name)
            for reference in collection.references:
                place(named[reference.to])
            ordered.append(collection)

    for collection in first:
        place(collection)
    return ordered
