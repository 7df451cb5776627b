"""Small chunks of a log become large ones: what many middling appends and prunings leave behind."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import attrs
import pyarrow as pa

from quantkeep.collection import StoredRow
from quantkeep_backends.redis import chunks, statistics
from quantkeep_backends.redis.chunks import Place
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link
from quantkeep_backends.redis.scripts import script
from quantkeep_backends.redis.steps import step
from quantkeep_backends.redis.streams import Page, Stream

_TRIES: Final = 20  # times that others may change what was to be joined
_GAP: Final = 1_024  # revisions between chunks that may come with them


@attrs.frozen
class _Joint:
    """Chunks that are to be one, with what stands alone between them."""

    places: Sequence[Place]
    page: Page

    @property
    def low(self) -> int:
        return self.places[0].first

    @property
    def high(self) -> int:
        return self.places[-1].last


class Joining:
    """Joins the chunks of one keep's streams, beside readers and writers."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names

    def join(self, stream: Stream) -> int:
        """Join what is small; how many chunks that made."""
        made, low = 0, 0
        for _ in range(_TRIES):
            places = [place for place in stream.page().packed.places if place.first > low]
            for run in _runs(places):
                page = stream.page()
                as_it_was = {*run} <= {*page.packed.places}
                if not (as_it_was and self._joined(stream, _Joint(run, page))):
                    break  # something was deleted or packed: look again, from here
                low, made = run[-1].last, made + 1
            else:
                break
        return made

    def _joined(self, stream: Stream, joint: _Joint) -> bool:
        made = self._made(stream, joint)
        if made is None:
            return False
        revisions, batch, singles = made
        first, last = revisions[0], revisions[-1]
        gaps = {*range(first, last + 1)}.difference(revisions)
        known = {r for r in joint.page.packed.gone if joint.low <= r <= joint.high}
        tops = [n for n in joint.page.tops if first <= int(n.rpartition(b":")[2]) <= last]
        step("redis.seal.send", self._link)
        answer = script("join").run(
            self._link, self._names.meta, stream.name, joint.page.epoch, first, last,
            len(revisions), statistics.summed_up(stream.collection, batch), chunks.packed(batch),
            *_listed([place.first for place in joint.places]), *_listed(singles), *_listed(tops),
            *_listed(sorted(known - gaps)), *_listed(sorted(gaps - known)),
        )[0]  # fmt: skip
        return bool(answer == b"ok")

    def _made(
        self, stream: Stream, joint: _Joint
    ) -> tuple[list[int], pa.RecordBatch, list[int]] | None:
        """The revisions and rows of all of *joint*, and which of them stood alone."""
        tables, alone = list[pa.Table](), list[int]()
        for place, following in pairwise([*joint.places, None]):
            assert place is not None
            chunk = stream.chunk(place, joint.page.packed)
            if chunk is None:
                return None
            tables.append(chunk.whole(stream.collection))
            rows = self._between(stream, place, following)
            if rows:
                alone += [row.revision for row in rows]
                tables.append(chunks.whole(stream.collection, rows))
        revisions, batch = chunks.joined(tables)
        return revisions, batch, alone

    @staticmethod
    def _between(stream: Stream, place: Place, following: Place | None) -> list[StoredRow]:
        if following is None or following.first == place.last + 1:
            return []
        rows = stream.rows(stream.page(place.last + 1, following.first - 1, _GAP))
        for row in rows:
            stream.collection.verify(row)
        return rows


def _runs(places: Sequence[Place]) -> Iterator[list[Place]]:
    """Small chunks that follow each other, as many as one chunk holds."""
    run: list[Place] = []
    for place in [*places, None]:
        if run and (place is None or not _fits(run, place)):
            if _is_worth_it(run):
                yield run
            run = []
        if place is not None and _is_small(place):
            run.append(place)


def _is_small(place: Place) -> bool:
    return 0 < place.live < chunks.ROWS // 2


def _fits(run: Sequence[Place], place: Place) -> bool:
    near = place.first - run[-1].last <= _GAP
    singles = sum(after.first - before.last - 1 for before, after in pairwise([*run, place]))
    rows = sum(each.live for each in run) + singles + place.live
    long = place.last - run[0].first < chunks.LONGEST
    return near and long and _is_small(place) and rows <= chunks.ROWS


def _is_worth_it(run: Sequence[Place]) -> bool:
    """Two, or one that is mostly gone."""
    return len(run) > 1 or 2 * run[0].live < run[0].last - run[0].first + 1


def _listed(values: Sequence[Any]) -> list[Any]:
    return [len(values), *values]
