"""The state in memory, kept level with the files: it is what is committed, or there is an error."""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any

from quantkeep import schema
from quantkeep.collection import Collection
from quantkeep.errors import Corrupt, QuantkeepError, Regression, WriterPoisoned
from quantkeep.model import Stored
from quantkeep.progress import counted
from quantkeep_backends._files.log import Behind, Commit, CommitLog, damaged
from quantkeep_backends._files.medium import Files
from quantkeep_backends.parquet import _manifest
from quantkeep_backends.parquet._columns import stored_rows
from quantkeep_backends.parquet._entries import Operation, effects_of, segments_of
from quantkeep_backends.parquet._manifest import Manifest, Reference, Shelved
from quantkeep_backends.parquet._scalars import read_row
from quantkeep_backends.parquet._segments import Segment
from quantkeep_backends.parquet._shelf import LogShelf
from quantkeep_backends.parquet._tables import OPERATIONS, Tables

_TRIES = 5  # to read what is current while others compact and clear away


class Replica:
    """What one handle has read. Its caller sees to threads.

    Attributes:
        tables: may only be used after :meth:`level`.
        log: how far the log was read.
        identity: of the keep; empty before it is made.
        description: of its collections.
        base: the manifest that the state is built on.
        touched: by keyed collection, the last commit that changed it.
    """

    tables: Tables
    log: CommitLog

    def __init__(self, files: Files) -> None:
        self._files = files
        self._poisoned: QuantkeepError | None = None
        self._doubted = False  # an interruption may have left the state half way
        self._begin(None)
        self._load()

    @property
    def is_made(self) -> bool:
        """Whether there is a keep."""
        return bool(self.identity)

    @property
    def collections(self) -> Mapping[str, Collection]:
        """Collections by name, as they are stored."""
        return {name: shelf.collection for name, shelf in self.tables.shelves.items()}

    # -- reading -----------------------------------------------------------------------------------

    def level(self) -> Tables:
        """The state as it is now, with what others committed.

        Raises:
            Regression: the keep went back; this handle stays unusable. Corrupt: a file is damaged.
        """
        if self._poisoned is not None:
            raise copy(self._poisoned)  # each caller has its own traceback, cause and notes
        try:
            self._catch_up()
        except Regression as error:
            self._poisoned = error
            raise
        except BaseException:
            self._doubted = True
            raise
        return self.tables

    def _catch_up(self) -> None:
        if not self._doubted:
            try:
                self._follow()
            except Behind:
                pass
            else:
                return
        identity, seen = self.identity, self.log.number
        self._load()
        if identity and (self.identity != identity or self.log.number < seen):
            raise Regression(
                f"{self._files.root} is at commit {self.log.number}, and this handle has already "
                f"seen {seen}: an older backup, or another keep, was put back under it; open it "
                "again, and compare before going on",
                locator=self._files.root,
            )

    def _load(self) -> None:
        """Read everything from the newest manifest on."""
        reference: Reference | None = None
        for _ in range(_TRIES):
            reference = _manifest.current(self._files)
            manifest = None if reference is None else _manifest.read(self._files, reference)
            if reference is not None and manifest is None:
                continue  # it was cleared away as it was read: there is a newer one
            try:
                self._begin(manifest)
                latest = self.log.latest()
                self._follow(latest)
            except Behind:
                continue
            self.log.check_whole(latest)
            self._doubted = False
            return
        name = _manifest.CURRENT if reference is None else reference.path
        raise damaged(f"{self._files.root}/{name}", "it is gone")

    def _begin(self, manifest: Manifest | None) -> None:
        self.tables = Tables(self._files)
        self.base = manifest
        self.touched: dict[str, int] = {}
        self.identity, self.description = "", None
        self.log = CommitLog(self._files)
        if manifest is not None:
            self.identity, self.description = manifest.identity, manifest.description
            self.log = CommitLog(self._files, manifest.commit, manifest.proof)
            self._fill(manifest)

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
                for row in self._rows(shelf.collection, shelved):
                    shelf.add(row)
            shelf.heads.update(shelved.heads)
        remembered = manifest.collections.get(OPERATIONS.name)
        if remembered is not None:
            self.tables.operations.folded.base = remembered.segments
            self.tables.operations.folded.heads.update(remembered.heads)
        for row in manifest.damaged:
            stored = read_row(self.collections[row["collection"]], row)
            self.tables.replay(Stored(row["collection"], stored))

    def _rows(self, collection: Collection, shelved: Shelved) -> Iterable[Any]:
        reader = self.tables.reader
        for segment in shelved.segments:
            for number in reader.footer(segment).groups:
                yield from stored_rows(collection, reader.rows(collection, segment, number))

    def _follow(self, known: int = 0) -> None:
        for commit in self.log.news(known):
            try:
                self._replay(commit)
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, QuantkeepError):
                    raise
                path = f"{self._files.root}, commit {commit.number}"
                raise damaged(path, f"it cannot be understood ({error!r})") from None

    def _replay(self, commit: Commit) -> None:
        said = commit.said
        self.tables.position.number = commit.number
        self._learn(said)
        for name, segment in segments_of(said):
            self.tables.join(name, [segment])
        for effect in effects_of(self.collections, said):
            self.tables.replay(effect)
            self.touched[effect.collection] = commit.number
        if "operation" in said:
            operation = Operation.heard(said["operation"])
            self.tables.operations[operation.op_id] = operation.digest, operation.receipt
            self.tables.operations.commits[operation.op_id] = commit.number
        if "manifest" in said:
            self._adopt_named(Reference(**said["manifest"]))

    def _learn(self, said: Mapping[str, Any]) -> None:
        self.identity = said.get("identity", self.identity)
        if "description" in said:
            self.description = said["description"]
            self.tables.ensure(schema.understand(said["description"]))

    def _adopt_named(self, reference: Reference) -> None:
        if self.base is not None and self.base.commit >= reference.commit:
            return
        manifest = _manifest.read(self._files, reference)
        if (
            manifest is not None
        ):  # otherwise it has been replaced already, as the log goes on to say
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

    # -- writing -----------------------------------------------------------------------------------

    def add(self, said: Mapping[str, Any]) -> bool:
        """Write a commit that the state has in it already; ``False``: another writer was first,
        and it is taken out of the state again.

        Raises:
            StoreFull, Unavailable: nothing was written. OutcomeUnknown, WriterPoisoned: perhaps.
        """
        try:
            made = self.log.add(said)
        except Behind:
            self.tables.undo()
            self._doubted = True
            return False
        except WriterPoisoned as error:
            self._poisoned = error
            raise
        except QuantkeepError:
            self.tables.undo()
            raise
        except BaseException:  # the file may be there, or not
            self._doubted = True
            raise
        if not made:
            self.tables.undo()
            return False
        for effect in said.get("effects", ()):
            self.touched[effect["collection"]] = self.log.number
        self._learn(said)
        return True

    def poison(self, error: WriterPoisoned) -> None:
        """Let nothing be read or written through this handle any more."""
        self._poisoned = error

    def doubt(self) -> None:
        """Have everything read anew before it is used again."""
        self._doubted = True

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
        """Hold every segment that the state is made of against its checksum."""
        problems = list[str]()
        segments = self.segments()
        for segment in counted(segments, "reading segments", len(segments)):
            try:
                self.tables.reader.check(segment)
            except Corrupt as error:
                problems.append(str(error))
        return problems
