"""What the files of a keep say, up to a commit: collections, operations, and what is damaged."""

from collections.abc import Iterable, Mapping
from typing import Any

from quantkeep import schema
from quantkeep.collection import Collection
from quantkeep.errors import Corrupt, QuantkeepError
from quantkeep.model import HeldShelf, Stored
from quantkeep.progress import counted
from quantkeep_backends._files.log import Behind, CommitLog, Gap, name_of
from quantkeep_backends._files.medium import Files
from quantkeep_backends._files.proving import Commit, Touched, damaged
from quantkeep_backends.parquet import _harms, _manifest
from quantkeep_backends.parquet._bases import Base
from quantkeep_backends.parquet._columns import stored_rows
from quantkeep_backends.parquet._entries import Operation, effects_of, segments_of
from quantkeep_backends.parquet._harms import Harms
from quantkeep_backends.parquet._manifest import Manifest, Reference, Shelved
from quantkeep_backends.parquet._scalars import read_row
from quantkeep_backends.parquet._segments import Segment
from quantkeep_backends.parquet._shelf import LogShelf
from quantkeep_backends.parquet._tables import OPERATIONS, Tables


class State:
    """The state as it is built from a manifest, or from nothing, and the commits behind it.

    Attributes:
        tables: what there is.
        log: how far the log was read.
        identity: of the keep; empty before it is made.
        description: of its collections.
        base: the manifest that the state is built on.
        touched: by keyed collection, the last commit that changed it.
        harms: damaged files, and what is not known because of them.
        curable: whether a manifest was met that may do without what is damaged.
    """

    def __init__(self, files: Files, base: Base, until: int | None = None) -> None:
        self._files = files
        self.tables = Tables(files)
        self.base = base.manifest
        self.touched: dict[str, int] = {}
        self.harms = Harms()
        self.curable = False
        self.identity = ""
        self.description: str | None = None
        self._last: Mapping[str, Any] | None = None
        for name, error in base.damage:
            self.harms.add(files, name, error, {})
        manifest = base.manifest
        number, proof = (0, "") if manifest is None else (manifest.commit, manifest.proof)
        self.log = CommitLog(files, number, proof, until=until)
        if manifest is not None:
            self.identity, self.description = manifest.identity, manifest.description
            self._fill(manifest)

    @property
    def is_made(self) -> bool:
        """Whether there is a keep."""
        return bool(self.identity)

    @property
    def collections(self) -> Mapping[str, Collection]:
        """Collections by name, as they are stored."""
        return {name: shelf.collection for name, shelf in self.tables.shelves.items()}

    def _fill(self, manifest: Manifest) -> None:
        if manifest.description:
            self.tables.ensure(schema.understand(manifest.description))
        for name, shelf in self.tables.shelves.items():
            shelved = manifest.collections.get(name)
            if shelved is None:
                continue
            if isinstance(shelf, LogShelf):
                shelf.base = shelved.segments
            else:
                self._fill_shelf(shelf, shelved)
            shelf.heads.update(shelved.heads)
        remembered = manifest.collections.get(OPERATIONS.name)
        if remembered is not None:
            self.tables.operations.folded.base = remembered.segments
            self.tables.operations.folded.heads.update(remembered.heads)
        for row in manifest.damaged:
            stored = read_row(self.collections[row["collection"]], row)
            self.tables.replay(Stored(row["collection"], stored))

    def _fill_shelf(self, shelf: HeldShelf, shelved: Shelved) -> None:
        try:
            for row in self._rows(shelf.collection, shelved):
                shelf.add(row)
        except Corrupt as error:
            name = str(error.locator).removeprefix(f"{self._files.root}/")
            self.harms.add(self._files, name, error, {shelf.collection.name: None})

    def _rows(self, collection: Collection, shelved: Shelved) -> Iterable[Any]:
        reader = self.tables.reader
        for segment in shelved.segments:
            for number in reader.footer(segment).groups:
                yield from stored_rows(collection, reader.rows(collection, segment, number))

    # -- commits -----------------------------------------------------------------------------------

    def follow(self, known: int = 0, *, beyond: bool = True, live: bool = False) -> None:
        """Take in the commits that were added since.

        Args:
            known: a commit that was seen to be there.
            beyond: whether to ask for those behind it.
            live: whether the state was level before.

        Raises:
            Behind: it has to be read anew. Corrupt: it cannot be known.
        """
        for commit in self.log.news(known, beyond=beyond):
            if isinstance(commit, Gap):
                if live:
                    raise Behind  # there may be a manifest that does without it
                self.harms.add(self._files, name_of(commit.number), commit.error, commit.touched)
                self._last = {}
                continue
            try:
                self._replay(commit)
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, QuantkeepError):
                    raise
                path = f"{self._files.root}, commit {commit.number}"
                raise damaged(path, f"it cannot be understood ({error!r})") from None

    def _replay(self, commit: Commit) -> None:
        said = self._last = commit.said
        self.tables.position.number = commit.number
        self._learn(said)
        for name, segment in segments_of(said):
            self.tables.join(name, [segment])
        for effect in effects_of(self.collections, said):
            if self.harms.weight and self.harms.covers(self.collections[effect.collection], effect):
                continue
            self.tables.replay(effect)
            self.touched[effect.collection] = commit.number
        if "operation" in said:
            operation = Operation.heard(said["operation"])
            self.tables.operations[operation.op_id] = operation.digest, operation.receipt
            self.tables.operations.commits[operation.op_id] = commit.number
        if "manifest" in said:
            self._adopt_named(Reference(**said["manifest"]))

    def _learn(self, said: Mapping[str, Any]) -> None:
        if "again" in said:
            self._learn(said["again"])
        self.identity = said.get("identity", self.identity)
        if "description" in said:
            self.description = said["description"]
            self.tables.ensure(schema.understand(said["description"]))

    def _adopt_named(self, reference: Reference) -> None:
        if self.base is not None and self.base.commit >= reference.commit:
            return
        try:
            manifest = _manifest.read(self._files, reference)
        except Corrupt as error:
            self.harms.add(self._files, reference.path, error, {})
            return
        if self.harms.weight:
            self.curable = True  # it may do without what is damaged
        elif manifest is not None:  # otherwise it was replaced already, as the log goes on to say
            self.adopt(manifest)

    def adopt(self, manifest: Manifest) -> None:
        """Take the segments of *manifest* for what was committed up to it."""
        if self.base is not None and self.base.commit >= manifest.commit:
            return
        damaged_keys: dict[str, set[Any]] = {}
        for said in manifest.damaged:
            collection = self.collections[said["collection"]]
            row = read_row(collection, said)
            damaged_keys.setdefault(collection.name, set()).add(collection.stored_key(row))
        operations = self.tables.operations
        for name, shelf in (*self.tables.logs.items(), (OPERATIONS.name, operations.folded)):
            shelved = manifest.collections.get(name, Shelved({}, ()))
            kept = damaged_keys.get(name, set())
            shelf.adopt(manifest.commit, shelved.segments, dict(shelved.heads), kept)
        operations.folded.heads.update(manifest.collections[OPERATIONS.name].heads)
        operations.adopt(manifest.commit)
        self.base = manifest
        self.tables.reader.forget(self.paths())

    # -- what this handle commits ------------------------------------------------------------------

    def told(self, said: Mapping[str, Any]) -> tuple[Mapping[str, Any], Touched | None]:
        """What the next commit is to say, with what the last one touched; and what it touches."""
        touched = _harms.footprint(self.collections, said)
        before = {} if self._last is None else _harms.again(self.collections, self._last)
        return {**said, **before}, touched

    def remember(self, said: Mapping[str, Any]) -> None:
        """Take note of a commit that was written, and is in the state already."""
        self._last = said
        for effect in said.get("effects", ()):
            self.touched[effect["collection"]] = self.log.number
        self._learn(said)

    # -- segments ----------------------------------------------------------------------------------

    def segments(self) -> list[Segment]:
        """Every segment that the state is made of."""
        logs = (*self.tables.logs.values(), self.tables.operations.folded)
        found = {s.path: s for shelf in logs for s in shelf.segments}
        for shelved in self.base.collections.values() if self.base is not None else ():
            found.update({s.path: s for s in shelved.segments})
        return [found[path] for path in sorted(found)]

    def paths(self) -> set[str]:
        """Their paths."""
        return {segment.path for segment in self.segments()}

    def check(self) -> list[str]:
        """Damaged files that were met; segments and receipts that are not what was written."""
        problems = [str(harm.error) for harm in self.harms.found.values()]
        segments = self.segments()
        for segment in counted(segments, "reading segments", len(segments)):
            try:
                self.tables.reader.check(segment)
            except Corrupt as error:
                problems.append(str(error))
        return problems or [*self.tables.damaged_receipts()]
