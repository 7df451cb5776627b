"""Damage on purpose, past digests and seals."""

from quantkeep.backend import Backdoor
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Kind, Scalar
from quantkeep.contract import flipped
from quantkeep.errors import NotFound
from quantkeep_backends.redis import entries, operations, texts
from quantkeep_backends.redis.catalogue import Catalogue
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link
from quantkeep_backends.redis.reading import Reading
from quantkeep_backends.redis.scripts import script
from quantkeep_backends.redis.shapes import Shape

_SOMETHING: dict[Kind, Scalar] = {
    Kind.INTEGER: 1,
    Kind.TIMESTAMP: 1,
    Kind.BOOLEAN: True,
    Kind.REAL: 1.0,
    Kind.BINARY: b"!",
}


class RedisBackdoor(Backdoor):
    """Writes to the keys themselves."""

    def __init__(self, link: Link, names: Names, catalogue: Catalogue, reading: Reading) -> None:
        self._link = link
        self._names = names
        self._catalogue = catalogue
        self._reading = reading

    def flip(self, collection: Collection, key: Key, column: str) -> None:
        shape = self._catalogue.shape(collection.name)
        found = self._reading.get(shape.collection, key)
        if found is None:
            raise NotFound(f"{collection.name} {key!r} is not stored")
        place = shape.collection.places[column]
        kind = shape.collection.columns[place].kind
        scalar = _damaged(kind, found.values[place])
        if collection.log:
            self._flip_entry(shape, key, found, place, scalar)
        else:
            name = self._names.record(collection, shape.key(key))
            self._link.ask("HSET", name, column, texts.stored(kind, scalar))
        self._reading.cache.forget()

    def _flip_entry(
        self, shape: Shape, key: Key, found: StoredRow, place: int, scalar: Scalar
    ) -> None:
        name = f"{shape.collection.name}:{shape.stream(key[:-1])}"
        values = (*found.values[:place], scalar, *found.values[place + 1 :])
        changed = entries.raw(found._replace(values=values), shape.layout[0])
        tail, revision = self._names.of("tail", name), str(key[-1])
        if self._link.ask("HEXISTS", tail, revision):
            self._link.ask("HSET", tail, revision, changed)
            return
        stream = self._reading.stream(shape, shape.collection, key[:-1])
        assert isinstance(found.revision, int)
        (where,) = stream.page().packed.over(found.revision, found.revision)
        chunk = self._names.of("chunk", name, str(where.first))
        stored = self._link.ask("GET", chunk)
        middle = len(stored) // 2
        self._link.ask("SETRANGE", chunk, middle, bytes([stored[middle] ^ 1]))

    def flip_receipt(self, op_id: str) -> None:
        name = self._names.of("ops")
        known = self._link.ask("HGET", name, op_id) or b""
        self._link.ask("HSET", name, op_id, operations.flipped(known))

    def remove(self, collection: Collection, key: Key) -> None:
        shape = self._catalogue.shape(collection.name)
        log = "1" if collection.log else ""
        script("forget").run(self._link, self._names.meta, collection.name, shape.key(key), log)
        self._reading.cache.forget()


def _damaged(kind: Kind, scalar: Scalar) -> Scalar:
    if scalar is None:
        return _SOMETHING.get(kind, "!")
    if isinstance(scalar, float):
        changed = flipped(scalar)
        return 0.0 if changed != changed or changed == scalar else changed
    return flipped(scalar)
