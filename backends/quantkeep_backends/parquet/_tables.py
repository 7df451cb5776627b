"""The state of a keep in memory: keyed collections whole, of logs what is recent."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import pyarrow as pa

from quantkeep.batch import Append, Batch, Delete, Outcome, Receipt, Require
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Column, Kind
from quantkeep.errors import Corrupt
from quantkeep.model import Effect, HeldShelf, Model, Removed
from quantkeep.query import Query, Tally
from quantkeep_backends._files.medium import Files
from quantkeep_backends.parquet import _bulk
from quantkeep_backends.parquet._reader import Reader
from quantkeep_backends.parquet._reading import View
from quantkeep_backends.parquet._segments import Again, Segment, write
from quantkeep_backends.parquet._shelf import LogShelf, Position, segment_rows
from quantkeep_backends.parquet._tallies import tallied

OPERATIONS: Final = Collection(
    name="_operations",
    columns=(
        Column(name="op_id", kind=Kind.TEXT),
        Column(name="digest", kind=Kind.BINARY),
        Column(name="receipt", kind=Kind.TEXT),
    ),
    log=True,
    identity=("op_id",),
)
_OP: Final = ("", "op_id")


class Operations(dict[str, tuple[bytes, Receipt]]):
    """Operation ids and what is remembered of them: recent ones here, the others in segments.

    Attributes:
        folded: the log that has those which a compaction has put into segments.
        commits: of those here, the commit that brought them.
    """

    def __init__(self, folded: LogShelf) -> None:
        super().__init__()
        self.folded = folded
        self.commits: dict[str, int] = {}

    def __contains__(self, op_id: object) -> bool:
        return op_id is not None and (super().__contains__(op_id) or self._row(op_id) is not None)

    def __getitem__(self, op_id: str) -> tuple[bytes, Receipt]:
        known: tuple[bytes, Receipt] | None = self.get(op_id)
        if known is None:
            raise KeyError(op_id)
        return known

    def get(self, op_id: str, default: Any = None) -> Any:
        """What is remembered of *op_id*."""
        if super().__contains__(op_id):
            return super().__getitem__(op_id)
        row = self._row(op_id)
        if row is None:
            return default
        _, digest, receipt = row.values
        return digest, Receipt.from_json(str(receipt), op_id)

    def __delitem__(self, op_id: str) -> None:
        super().__delitem__(op_id)
        self.commits.pop(op_id, None)

    def _row(self, op_id: Any) -> StoredRow | None:
        key = self.folded.holder(_OP, (op_id,))
        return None if key is None else self.folded.row(key)

    def adopt(self, commit: int) -> None:
        """Let go of those of commits up to *commit*: they are in segments now."""
        for op_id in [o for o, at in self.commits.items() if at <= commit]:
            del self[op_id]


class Tables(Model):
    """A model whose logs may be larger than memory.

    Attributes:
        position: the commit that is being applied or replayed.
        reader: of its segments.
        spoiled: keyed collections that a backdoor has changed.
    """

    operations: Operations

    def __init__(self, files: Files) -> None:
        super().__init__()
        self.position = Position()
        self.reader = Reader(files)
        self.operations = Operations(LogShelf(OPERATIONS, self.reader, self.position))
        self.spoiled: set[str] = set()
        self._files = files
        self._joined: list[tuple[LogShelf, tuple[Segment, ...], dict[Key, int]]] = []
        self._buried: list[tuple[LogShelf, Key]] = []
        self._written: dict[str, Segment] = {}  # by this commit, in an earlier try perhaps
        self._again: dict[int, Again] = {}  # by append, those that another try can take

    def damaged_receipts(self) -> Iterator[str]:
        """Which of those in segments are not what was written, in words."""
        folded = self.operations.folded
        for row in segment_rows(OPERATIONS, self.reader, folded.segments, folded.gone):
            op_id, _, receipt = row.values
            try:
                Receipt.from_json(str(receipt), str(op_id))
            except Corrupt as error:
                yield str(error)

    def ensure(self, collections: Sequence[Collection]) -> None:
        for collection in collections:
            old = self.shelves.get(collection.name)
            if old is None:
                self.shelves[collection.name] = self._shelf(collection)
            elif old.collection != collection:
                self.shelves[collection.name] = old.moved(collection)

    def _shelf(self, collection: Collection) -> HeldShelf:
        if collection.log:
            return LogShelf(collection, self.reader, self.position)
        return HeldShelf(collection)

    @property
    def logs(self) -> Mapping[str, LogShelf]:
        """The shelves of logs, by the name of their collection."""
        return {name: s for name, s in self.shelves.items() if isinstance(s, LogShelf)}

    # -- commits -----------------------------------------------------------------------------------

    def apply(self, batch: Batch, now: int) -> tuple[Receipt, list[Effect]]:
        self._joined, self._buried = [], []
        try:
            self._fetch(batch)
            receipt, effects = super().apply(batch, now)
        finally:
            for log in self.logs.values():
                log.forget()
        if batch.op_id is not None and not receipt.replayed:
            self.operations.commits[batch.op_id] = self.position.number
        return receipt, effects

    @property
    def segments(self) -> list[tuple[str, Segment]]:
        """What the last applied batch has written, by the name of its collection."""
        return [(shelf.collection.name, s) for shelf, joined, _ in self._joined for s in joined]

    def undo(self) -> None:
        super().undo()
        for shelf, key in reversed(self._buried):
            shelf.unbury(key)
        for shelf, segments, heads in reversed(self._joined):
            shelf.part(segments)
            for stream, head in heads.items():
                _lower(shelf.heads, stream, head)
        self._joined, self._buried = [], []

    def settle(self) -> None:
        """The batch is committed, or given up: it cannot be undone any more, and what it wrote and
        nothing names is removed.
        """
        named = {segment.path for _, segment in self.segments}
        left = [s for s in self._written.values() if s.path not in named]
        self._written.clear()
        self._again.clear()
        self._steps, self._remembered, self._joined, self._buried = [], None, [], []
        for segment in left:
            self._files.remove(segment.path)

    def _fetch(self, batch: Batch) -> None:
        """Have the rows of logs that *batch* speaks of at hand, if they are many."""
        wanted: dict[str, list[Key]] = {}
        for write_ in batch.writes:
            if isinstance(write_, Delete | Require) and write_.collection.log:
                wanted.setdefault(write_.collection.name, []).append(write_.key)
        for name, keys in wanted.items():
            self.logs[name].fetch(keys)

    def _append_all(self, shelf: HeldShelf, write: Append, now: int) -> Outcome:
        if not isinstance(shelf, LogShelf) or not _bulk.is_large(write, shelf):
            return super()._append_all(shelf, write, now)
        before, heads = shelf.young, dict(shelf.heads)
        try:
            return _bulk.append(shelf, write, now, self._write)
        finally:
            joined = tuple(y.segment for y in shelf.young if y not in before)
            changed = {s: heads.get(s, 0) for segment in joined for s in segment.runs}
            self._joined.append((shelf, joined, changed))

    def _write(
        self, collection: Collection, tables: Iterable[pa.Table], whole: Append | None
    ) -> Generator[Segment]:
        """Write segments, but for those that an earlier try of the same commit has written."""
        again = None if whole is None else self._again.setdefault(id(whole), {})
        with closing(write(self._files, collection, tables, again)) as made:
            for segment in made:
                self._written[segment.path] = segment
                yield segment

    def _remove(self, shelf: HeldShelf, key: Key, *, said: bool = True) -> None:
        if not isinstance(shelf, LogShelf) or key in shelf.rows:
            super()._remove(shelf, key, said=said)
            return
        shelf.drop(key)
        self._buried.append((shelf, key))
        self._effects.append(Removed(shelf.collection.name, key))

    # -- what others did ---------------------------------------------------------------------------

    def replay(self, effect: Effect) -> None:
        shelf = self.shelves[effect.collection]
        if (
            isinstance(effect, Removed)
            and isinstance(shelf, LogShelf)
            and effect.key not in shelf.rows
        ):
            shelf.bury(effect.key)
        else:
            super().replay(effect)

    def join(self, collection: str, segments: Sequence[Segment]) -> None:
        """Take in segments that another process has written."""
        self.logs[collection].join(segments)

    # -- reads -------------------------------------------------------------------------------------

    def rows(self, collection: Collection) -> list[StoredRow]:
        shelf = self.shelves[collection.name]
        held = super().rows(collection)
        if isinstance(shelf, LogShelf) and shelf.segments:
            held += segment_rows(collection, self.reader, shelf.segments, shelf.gone)
        return held

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        row = self.shelves[collection.name].row(key)
        return row and next(self._shown(collection, [row]))

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        view = self._view(collection)
        return super().scan(collection, query) if view is None else view.scan(query)

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        view = self._view(collection)
        return super().tally(collection, tally) if view is None else tallied(view, tally)

    def record_batches(
        self, collection: Collection, query: Query, batch_rows: int
    ) -> Iterator[pa.RecordBatch] | None:
        """What :meth:`scan` gives, without a Python object for each row, where that can be."""
        view = self._view(collection)
        return None if view is None else view.record_batches(query, batch_rows)

    def _view(self, collection: Collection) -> View | None:
        """A log that has segments, as it is now."""
        shelf = self.shelves[collection.name]
        if not isinstance(shelf, LogShelf) or not shelf.segments:
            return None
        held = super().rows(collection)
        return View(collection, shelf.segments, dict(shelf.gone), held, self.reader, self.rows)

    def sizes(self) -> Mapping[str, int]:
        return {
            name: shelf.count if isinstance(shelf, LogShelf) else len(shelf.rows)
            for name, shelf in self.shelves.items()
        }


def _lower(heads: dict[Key, int], stream: Key, before: int) -> None:
    now = min(heads.get(stream, 0), before)
    if now:
        heads[stream] = now
    else:
        heads.pop(stream, None)
