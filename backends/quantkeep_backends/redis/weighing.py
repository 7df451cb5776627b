"""How much of the server's memory a keep takes, as ``MEMORY USAGE`` estimates it.

Large hashes and sets are weighed by a hundred of their members, records in keys of their own by a
hundred of each collection. Strings, which packed entries and blobs are, are exact.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from redis.exceptions import RedisError

from quantkeep.errors import QuantkeepError
from quantkeep_backends.redis.catalogue import Catalogue
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link
from quantkeep_backends.redis.reading import Reading
from quantkeep_backends.redis.shapes import Shape
from quantkeep_backends.redis.streams import Page

_TOGETHER = 1_000  # keys that are asked about in one round trip
_SOME = 100  # records that stand for all of their collection, and members for all of their hash


class Weighing:
    """Weighs one keep."""

    def __init__(self, link: Link, names: Names, catalogue: Catalogue, reading: Reading) -> None:
        self._link = link
        self._names = names
        self._catalogue = catalogue
        self._reading = reading

    def bytes(self) -> int | None:
        """About so many; ``None`` where this user may not ask."""
        try:
            shapes = self._catalogue.shapes.values()
            records = sum(self._of_records(shape) for shape in shapes if not shape.collection.log)
            return records + self._of([*self._lone(), *self._of_logs(shapes), *self._blobs()])
        except QuantkeepError:
            return None

    def _of(self, names: Iterable[str]) -> int:
        total, rest = 0, iter(names)
        while portion := [*islice(rest, _TOGETHER)]:
            answers = self._link.tell(
                *[("MEMORY", "USAGE", name, "SAMPLES", _SOME) for name in portion]
            )
            total += sum(0 if isinstance(a, RedisError) else a or 0 for a in answers)
        return total

    def _lone(self) -> Iterator[str]:
        for kind in ("columns", "indexes", "ops", "recent", "void", "blobs"):
            yield self._names.of(kind)
        yield self._names.meta.decode()
        for shape in self._catalogue.shapes.values():
            yield self._names.of("heads", shape.collection.name)
            yield self._names.of("book", shape.collection.name)
            yield from map(self._names.of, shape.beside)

    def _of_records(self, shape: Shape) -> int:
        """Keys of their own: some are weighed, with what refers to them."""
        name = shape.collection.name
        book = self._names.of("book", name)
        count = self._link.ask("HLEN", book)
        some = [key.decode() for key in self._link.ask("HRANDFIELD", book, _SOME)]
        kinds = (name, f"refs:{name}")
        weight = self._of(self._names.of(kind, key) for key in some for kind in kinds)
        return int(weight * count // max(len(some), 1))

    def _of_logs(self, shapes: Iterable[Shape]) -> Iterator[str]:
        for shape in shapes:
            if shape.collection.log:
                for head in self._reading.heads(shape.collection):
                    stream = self._reading.stream(shape, shape.collection, head.stream)
                    yield from self._of_stream(stream.name, stream.page())

    def _of_stream(self, name: str, page: Page) -> Iterator[str]:
        for kind in ("tail", "chunks", "gone", "ids", "stream"):
            yield self._names.of(kind, name)
        for place in page.packed.places:
            yield self._names.of("chunk", name, str(place.first))
        for first in page.segments:
            yield self._names.of("ids", name, str(first))

    def _blobs(self) -> Sequence[str]:
        found = self._link.ask("ZRANGE", self._names.of("blobs"), 0, -1)
        return [self._names.of("blob", digest.decode()) for digest in found]
