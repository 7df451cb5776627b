"""Health, sizes and integrity of one keep."""

from collections.abc import Iterator, Mapping

from quantkeep.backend import Health
from quantkeep.errors import Corrupt, QuantkeepError
from quantkeep.query import Query
from quantkeep_backends.redis import operations
from quantkeep_backends.redis.catalogue import Catalogue
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link
from quantkeep_backends.redis.reading import Reading
from quantkeep_backends.redis.server import Server
from quantkeep_backends.redis.shapes import Shape
from quantkeep_backends.redis.steps import FAILPOINTS
from quantkeep_backends.redis.weighing import Weighing


class Maintenance:
    """Looks after one keep."""

    def __init__(self, link: Link, names: Names, catalogue: Catalogue, reading: Reading) -> None:
        self._link = link
        self._names = names
        self._catalogue = catalogue
        self._reading = reading
        self._weighing = Weighing(link, names, catalogue, reading)

    def health(self) -> Health:
        """What the server says of itself now."""
        server = Server.observed(self._link)
        commits = self._link.ask("HGET", self._names.meta, "commits")
        facts = {
            **server.shown(),
            "keep": self._link.settings.keep,
            "commits": int(commits or 0),
            "failpoints": FAILPOINTS,
        }
        ok = server.facts.get("aof_last_write_status", "ok") == "ok" and not server.evicts
        return Health(ok, server.durability, facts, tuple(server.warnings()))

    def sizes(self) -> Mapping[str, int]:
        """Rows of each collection, and about how many bytes of the server's memory it all takes."""
        self._catalogue.look()
        found = {
            name: self._reading.count(shape.collection)
            for name, shape in self._catalogue.shapes.items()
        }
        weighed = self._weighing.bytes()
        return found if weighed is None else {**found, "bytes": weighed}

    # -- integrity ---------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """That records are where indexes lead, no log lacks an entry, and receipts are sound."""
        try:
            self._catalogue.look()
            return [
                problem
                for shape in self._catalogue.shapes.values()
                for problem in (self._log(shape) if shape.collection.log else self._keyed(shape))
            ] + [*operations.complaints(self._link, self._names)]
        except QuantkeepError as error:
            return [str(error)]

    def _keyed(self, shape: Shape) -> Iterator[str]:
        name = shape.collection.name
        count = self._reading.count(shape.collection)
        for index in self._catalogue.ready(shape):
            entered = self._link.ask("ZCARD", self._names.of(index.name))
            if entered != count:
                yield f"{name}: {count} records are stored, and {index.name} has {entered}"
        try:
            found = sum(1 for _ in self._reading.scan(shape.collection, Query()))
        except Corrupt as error:
            yield str(error)
        else:
            if found != count:
                yield f"{name}: {found} records can be read, and {count} are noted"

    def _log(self, shape: Shape) -> Iterator[str]:
        collection = shape.collection
        for head in self._reading.heads(collection):
            stream = self._reading.stream(shape, collection, head.stream)
            page = stream.page()
            single = self._link.ask("HLEN", self._names.of("tail", stream.name))
            count = single + sum(place.live for place in page.packed.places)
            noted = int(page.facts.get(b"rows", 0))
            if count != noted:
                yield f"{collection.name} {head.stream!r}: {count} entries of {noted} are there"
            try:
                for place in page.packed.places:
                    stream.chunk(place, page.packed)
            except Corrupt as error:
                yield str(error)
