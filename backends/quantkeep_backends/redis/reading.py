"""Answering gets, queries and tallies."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.backend import Head
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.query import Query, Tally
from quantkeep_backends.redis import columns, keyed, logs
from quantkeep_backends.redis.catalogue import Catalogue
from quantkeep_backends.redis.clock import Clock
from quantkeep_backends.redis.commits import Watermark
from quantkeep_backends.redis.entries import Reader
from quantkeep_backends.redis.keyed import Range, Records
from quantkeep_backends.redis.keys import Names, taken_apart
from quantkeep_backends.redis.link import Link, Lost
from quantkeep_backends.redis.logs import Plan
from quantkeep_backends.redis.scripts import Script, script
from quantkeep_backends.redis.shapes import Shape
from quantkeep_backends.redis.streams import Cache, Start, Stream

Rows = Iterator[StoredRow]
_NEAR: Final = 1_000  # revisions that are read together although only some were asked for


class Reading:
    """Reads one keep."""

    def __init__(self, link: Link, names: Names, catalogue: Catalogue, seen: Watermark) -> None:
        self._link = link
        self._names = names
        self._catalogue = catalogue
        self._seen = seen
        self.cache = Cache()
        self.clock = Clock(link)

    def ask(self, script: Script, *arguments: Any) -> list[Any]:
        """What a reading script says; raises ``Regression`` where the store has gone back."""
        try:
            answer = script.run(self._link, self._names.meta, *self._seen.arguments, *arguments)[0]
        except Lost:  # it changes nothing, so it is asked once more
            answer = script.run(self._link, self._names.meta, *self._seen.arguments, *arguments)[0]
        if answer[0] == b"regressed":
            raise self._seen.regressed(answer[1].decode(), self._link.settings.where)
        self._seen.note(int(answer[1]))
        self.clock.note(int(answer[2]))
        rest: list[Any] = answer[3:]
        return rest

    # -- one row -----------------------------------------------------------------------------------

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        """The row known by *key*."""
        shape = self._catalogue.shape(collection.name)
        if collection.log:
            return self._entry(shape, collection, key)
        records = Records(shape, collection)
        _, text = self.ask(
            script("rows"), collection.name, "", "", shape.key(key), "", 1, 0,
            len(records.fields), *records.fields,
        )  # fmt: skip
        return records.one(text, key)

    def _entry(self, shape: Shape, collection: Collection, key: Key) -> StoredRow | None:
        stream, revision = self.stream(shape, collection, key[:-1]), key[-1]
        assert isinstance(revision, int)
        page = stream.page(revision, revision, 1)
        for row in stream.rows(page):
            if row.revision != revision:
                raise stream.misplaced(row.revision)
            return row
        if not page.packed.over(revision, revision):
            return None
        found = stream.ascending(revision, revision, (), page.packed)
        return next(chain.from_iterable(found), None)

    def digests(self, shape: Shape, key: Key, revisions: Sequence[int]) -> dict[int, bytes]:
        """Of those ascending *revisions* of a stream that are there, the digests."""
        stream, wanted = self.stream(shape, shape.collection, key), {*revisions}
        packed = stream.page().packed
        return {
            row.revision: row.digest
            for low, high in _spans(revisions)
            for rows in stream.ascending(low, high, (), packed)
            for row in rows
            if row.revision in wanted
        }

    def contents(
        self, shape: Shape, key: Key, revisions: Sequence[int]
    ) -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
        """The columns of those that are packed, a chunk at a time, and which revisions they are."""
        stream, low = self.stream(shape, shape.collection, key), revisions[0]
        wanted, packed = pa.array(revisions, pa.int64()), stream.page().packed
        while places := packed.over(low, revisions[-1]):
            chunk = stream.chunk(places[0], packed)
            if chunk is None:
                packed = stream.page().packed  # pruned or joined meanwhile
                continue
            batch, found = chunk.arrow(shape.collection, low, revisions[-1], ())
            asked = pc.is_in(found, wanted)
            yield batch.filter(asked), found.filter(asked)
            at = bisect_right(revisions, places[0].last)
            if at == len(revisions):
                return
            low = revisions[at]

    # -- many --------------------------------------------------------------------------------------

    def scan(self, collection: Collection, query: Query) -> Rows:
        """The rows that *query* asks for; what it sees of a log is decided now."""
        shape = self._catalogue.shape(collection.name)
        if query.limit == 0:
            return iter(())
        if collection.log:
            return self._scan_log(shape, collection, query)
        return self._scan_keyed(shape, collection, query)

    def everything(self, collection: Collection) -> Rows:
        """All rows."""
        return self.scan(collection, Query())

    def _scan_keyed(self, shape: Shape, collection: Collection, query: Query) -> Rows:
        ready = self._catalogue.ready(shape)
        found = keyed.best(shape, ready, collection, query)
        records = Records(shape, collection)
        most = keyed.PAGE_ROWS
        if not query.where and query.after is None and query.limit is not None:
            most = min(most, query.limit)

        def pages(part: Range, backwards: bool) -> Rows:
            return started(self._pages(records, part, most, backwards=backwards))

        return keyed.answer(collection, query, found, pages, self.everything)

    def _pages(
        self, records: Records, part: Range, most: int, *, backwards: bool
    ) -> Iterator[Rows]:
        low, high = part.low, part.high
        while True:
            last, text = self.ask(
                script("rows"), records.collection.name, part.index.name,
                "1" if backwards else "", low, high, most, keyed.PAGE_BYTES,
                len(records.fields), *records.fields,
            )  # fmt: skip
            yield records.page(text)
            if not last:
                return
            low, high = (low, b"(" + last) if backwards else (b"(" + last, high)

    def _scan_log(self, shape: Shape, collection: Collection, query: Query) -> Rows:
        plan = Plan(shape, collection, query)
        return plan.answer(self._starts(plan, shape, collection, query), self.everything)

    def scan_arrow(
        self, collection: Collection, query: Query, batch_rows: int
    ) -> Iterator[pa.RecordBatch] | None:
        """The same as record batches; ``None`` where rows have to be looked at one by one."""
        if not collection.log:
            return None
        shape = self._catalogue.shape(collection.name)
        plan = Plan(shape, collection, query)
        starts = self._starts(plan, shape, collection, query)
        if not columns.suits(plan, query, collection, starts):
            return None
        return columns.batches(collection, query, plan.in_order(starts), batch_rows)

    def _starts(
        self, plan: Plan, shape: Shape, collection: Collection, query: Query
    ) -> list[Start]:
        key = logs.pinned(collection, query)
        if key is not None:
            return [self._start(plan, shape, collection, key)]
        heads = self.heads(collection)
        return [
            Start(head.stream, self.stream(shape, collection, head.stream), head.revision)
            for head in heads
            if logs.wanted(collection, query, head.stream)
        ]

    def _start(self, plan: Plan, shape: Shape, collection: Collection, key: Key) -> Start:
        stream = self.stream(shape, collection, key)
        if not plan.backwards:
            page = stream.page()
            return Start(key, stream, page.head, page)
        page = stream.page(many=plan.many, backwards=True)
        return Start(key, stream, page.head, page, newest=page)

    def stream(self, shape: Shape, collection: Collection, key: Key) -> Stream:
        """One stream of a log, read in the columns of *collection*."""
        reader = Reader(collection, self._catalogue.layout)
        return Stream(
            self._link, self._names, self.cache, self.ask, shape, collection,
            shape.stream(key), reader,
        )  # fmt: skip

    def heads(self, collection: Collection) -> list[Head]:
        """The head of each stream."""
        shape = self._catalogue.shape(collection.name)
        (flat,) = self.ask(script("heads"), collection.name)
        found = [
            Head(taken_apart(shape.stream_columns, stream.decode()), int(revision))
            for stream, revision in zip(flat[::2], flat[1::2], strict=True)
        ]
        return sorted(found, key=lambda head: repr(head.stream))

    # -- figures -----------------------------------------------------------------------------------

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        """Answer *tally*, over the rows that its conditions leave."""
        if not tally.by and not tally.where and all(m.column is None for m in tally.measures):
            return tally.ranked([(self.count(collection),) * len(tally.measures)])
        rows = self.scan(collection, Query(where=tally.where))
        return tally.run(collection, rows, self.everything)

    def count(self, collection: Collection) -> int:
        """How many rows there are."""
        if not collection.log:
            return int(self._link.ask("HLEN", self._names.of("book", collection.name)))
        shape = self._catalogue.shape(collection.name)
        facts = [
            self.stream(shape, collection, head.stream).page().facts
            for head in self.heads(collection)
        ]
        return sum(int(known.get(b"rows", 0)) for known in facts)


def _spans(revisions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of those that are near each other."""
    low = revisions[0]
    for before, revision in pairwise(revisions):
        if revision - before > _NEAR:
            yield low, before
            low = revision
    yield low, revisions[-1]


def started(pages: Iterator[Rows]) -> Rows:
    """The rows of *pages*, of which the first is read now."""
    first = next(pages, iter(()))
    return chain(first, chain.from_iterable(pages))
