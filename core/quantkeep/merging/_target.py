"""The keep that is merged into: where each collection lives, and how far merging has come."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from uuid import UUID

import attrs

from quantkeep import schema
from quantkeep.backend import Backend
from quantkeep.batch import ABSENT, AtRevision, Batch, Put
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.configuration import Configuration, find
from quantkeep.errors import Conflict, Regression
from quantkeep.hosts import Hosts
from quantkeep.keep import Keep
from quantkeep.merging._source import Source
from quantkeep.merging.records import MergedSource, MergeMark
from quantkeep.model import pack
from quantkeep.query import Query, where
from quantkeep.table import Table

_TRIES: Final = 8


@attrs.frozen
class Place:
    """One collection where it is merged into."""

    backend: Backend
    collection: Collection

    @property
    def marks(self) -> Table[MergeMark]:
        """How far merging has come, in the same backend."""
        return Table(MergeMark.collection, self.backend, Hosts(()))

    def row(self, key: Key) -> StoredRow | None:
        """What is stored under *key*."""
        return self.backend.get(self.collection, key)

    def head(self, stream: Key) -> int:
        """The highest revision ever given in *stream*."""
        heads = {head.stream: head.revision for head in self.backend.heads(self.collection)}
        return heads.get(stream, 0)

    def identified(self, values: Sequence[Any]) -> StoredRow | None:
        """The log entry with the same identity as *values*, if they have one."""
        collection = self.collection
        identity = collection.identity_of(tuple(values))
        if not identity or None in identity:
            return None
        names = (*collection.stream, *collection.identity)
        scalars = (*collection.stream_of(tuple(values)), *identity)
        wanted = {
            name: collection.column(name).python(scalar)
            for name, scalar in zip(names, scalars, strict=True)
        }
        return next(self.backend.scan(collection, Query(where=where(**wanted), limit=1)), None)

    def mark(self, source: UUID, of: str, stream: Key) -> MergeMark:
        """How far *stream* of the collection *of* has come."""
        text = pack(*stream).decode()
        known = self.marks.get(source, of, text)
        return known or MergeMark(source=source, of=of, stream=text, merged=0)

    def marked(self, before: MergeMark, after: MergeMark) -> Put:
        """The write that moves a mark on, if nobody else did."""
        expect = AtRevision(before.revision) if before.revision else ABSENT
        return self.marks.put(after, expect)


@attrs.frozen
class Target:
    """All parts of the keep."""

    keep: Keep
    places: dict[str, Place] = attrs.field(factory=dict)

    @classmethod
    @contextmanager
    def opened(cls, into: Any, plugins: Sequence[Any]) -> "Iterator[Target]":
        """The keep that *into* names, without a fallback of its own."""
        import quantkeep

        configuration = find(into)
        with quantkeep.open(
            _urls(configuration),
            durability=configuration.durability,
            plugins=(*configuration.plugins, *plugins),
        ) as keep:
            yield cls(keep)

    def confirm(self, source: Source) -> Source:
        """Remember that *source* is being merged; it is in an epoch of its own from now on.

        Raises:
            Regression: it is an older copy of what was merged already.
        """
        backend = self.keep.homes[""].backend
        self._hold(backend, [MergedSource.collection])
        table: Table[MergedSource] = Table(MergedSource.collection, backend, Hosts(()))
        for _ in range(_TRIES):  # another merge may be under way
            last = table.get(source.identity)
            with suppress(Conflict):
                current = _in_turn(source.again(), last)
                if current is not None:
                    merged = MergedSource(source=current.identity, epoch=current.this.epoch)
                    expect = AtRevision(last.revision or 0) if last else ABSENT
                    backend.commit(Batch((table.put(merged, expect),)))
                    return current
        raise Regression(
            "this is an older copy of a fallback that was merged: what is in it and was not merged "
            "cannot be told from what was. Merge it into a new keep, and compare",
            locator=str(source.identity),
        )

    def make_room(self, collections: Mapping[str, Collection]) -> None:
        """Let the keep hold *collections*, each where its store lives."""
        by_backend: dict[int, tuple[Backend, list[Collection]]] = {}
        for collection in collections.values():
            backend = self._backend_of(collection.name)
            by_backend.setdefault(id(backend), (backend, []))[1].append(collection)
        for backend, theirs in by_backend.values():
            merged = self._hold(backend, [*theirs, MergeMark.collection])
            self.places.update({c.name: Place(backend, c) for c in merged})

    @staticmethod
    def _hold(backend: Backend, collections: Sequence[Collection]) -> list[Collection]:
        described = backend.description()
        merged = schema.merge(collections, schema.understand(described) if described else [])
        if not schema.is_described(described, wanted := schema.describe(merged)):
            backend.ensure(merged, wanted)
        return merged

    def _backend_of(self, collection: str) -> Backend:
        homes = self.keep.homes
        found = (home for home in homes.values() if collection in home.collections)
        return next(found, homes[""]).backend


def _in_turn(source: Source, last: MergedSource | None) -> Source | None:
    """*source* in the epoch that follows the *last* one; ``None``: it is behind."""
    confirmed = last.epoch if last else None
    never_merged = confirmed is None and source.this.previous is None
    if never_merged or source.this.epoch == confirmed:
        return source.next_epoch()
    return source if confirmed in (None, source.this.previous) else None


def _urls(configuration: Configuration) -> Mapping[str, str]:
    return {store or "default": url for store, url in configuration.urls.items()}


def spans_of(mark: MergeMark) -> list[list[int]]:
    """Where entries of the source are now; a copy."""
    return json.loads(json.dumps(mark.spans))  # type: ignore[no-any-return]  # as it was stored
