"""How a defect gets in front of a sound backend."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import attrs

from quantkeep import hookimpl
from quantkeep.backend import Backdoor, Backend, Head, Health
from quantkeep.batch import Append, Batch, Put, Receipt, Write
from quantkeep.collection import Collection, Key, SealedRow, StoredRow
from quantkeep.model import Model
from quantkeep.query import Query, Tally
from quantkeep_backends.memory import MemoryBackend


class Front:
    """A quantkeep plugin that makes every backend defective.

    Attributes:
        clauses: those that must fail, and no others.
    """

    def __init__(self, wrap: Callable[[Backend], Backend], clauses: Sequence[str] = ()) -> None:
        self.wrap = wrap
        self.clauses = tuple(clauses)

    @hookimpl(wrapper=True)
    def quantkeep_open(self) -> Generator[None, Backend | None, Backend | None]:
        engine = yield
        return engine and self.wrap(engine)


def caught_by(*clauses: str) -> Callable[[type], Front]:
    """Make a defective wrapper, or a defective model, a plugin that these *clauses* catch."""

    def front(defective: type) -> Front:
        if issubclass(defective, Model):
            return Front(lambda engine: _with_model(engine, defective), clauses)
        return Front(defective, clauses)

    return front


def _with_model(engine: Backend, model: type[Model]) -> Backend:
    assert isinstance(engine, MemoryBackend)
    engine._model = model()
    return engine


class Wrapper(Backend):
    """A backend in front of another; does nothing by itself."""

    def __init__(self, engine: Backend) -> None:
        self.engine = engine
        self.capabilities = engine.capabilities
        self.durability = engine.durability

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.engine.name

    def description(self) -> str | None:
        return self.engine.description()

    def ensure(self, collections: Sequence[Collection], description: str) -> None:
        self.engine.ensure(collections, description)

    def commit(self, batch: Batch) -> Receipt:
        return self.engine.commit(batch)

    def outcome(self, op_id: str) -> Receipt | None:
        return self.engine.outcome(op_id)

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        return self.engine.get(collection, key)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        return self.engine.scan(collection, query)

    def heads(self, collection: Collection) -> list[Head]:
        return self.engine.heads(collection)

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        return self.engine.tally(collection, tally)

    def put_blob(self, digest: str, data: bytes) -> None:
        self.engine.put_blob(digest, data)

    def open_blob(self, digest: str) -> bytes | None:
        return self.engine.open_blob(digest)

    def delete_blob(self, digest: str, **conditions: Any) -> Any:
        return self.engine.delete_blob(digest, **conditions)

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return self.engine.list_blobs()

    def now(self) -> int:
        return self.engine.now()

    def health(self) -> Health:
        return self.engine.health()

    def sizes(self) -> Mapping[str, int]:
        return self.engine.sizes()

    def check(self) -> list[str]:
        return self.engine.check()

    def compact(self) -> None:
        self.engine.compact()

    def backdoor(self) -> Backdoor:
        return self.engine.backdoor()

    def close(self) -> None:
        self.engine.close()


class Rewriting(Wrapper):
    """Changes what is written, or what it is expected to meet."""

    def rewritten(self, write: Write) -> Write:
        if isinstance(write, Put):
            return attrs.evolve(write, row=self.row(write.collection, write.row))
        if isinstance(write, Append):
            return attrs.evolve(write, rows=[self.row(write.collection, r) for r in write.rows])
        return write

    def row(self, collection: Collection, row: SealedRow) -> SealedRow:
        pairs = zip(collection.names, row.values, strict=True)
        values = tuple(self.value(collection, name, value) for name, value in pairs)
        return row._replace(values=values, digest=collection.digest(values))

    def value(self, collection: Collection, column: str, value: Any) -> Any:
        return value

    def commit(self, batch: Batch) -> Receipt:
        writes = tuple(self.rewritten(write) for write in batch.writes)
        return self.engine.commit(attrs.evolve(batch, writes=writes))


SOUND = Front(Wrapper)
