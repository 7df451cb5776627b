"""The state in memory, kept level with the files: it is what is committed, or there is an error."""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any

from quantkeep import schema
from quantkeep.collection import Collection
from quantkeep.errors import Corrupt, NotFound, QuantkeepError, Regression, WriterPoisoned
from quantkeep.model import HeldShelf, Stored
from quantkeep.progress import counted
from quantkeep_backends._files.log import Behind, CommitLog, Gap, name_of
from quantkeep_backends._files.medium import Files
from quantkeep_backends._files.proving import Commit, damaged
from quantkeep_backends.parquet import _harms, _manifest
from quantkeep_backends.parquet._bases import Base, bases
from quantkeep_backends.parquet._columns import stored_rows
from quantkeep_backends.parquet._entries import Operation, effects_of, segments_of
from quantkeep_backends.parquet._harms import Harms
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
        harms: damaged files, and what is not known because of them.
    """

    tables: Tables
    log: CommitLog

    def __init__(self, files: Files, until: int | None = None) -> None:
        self._files = files
        self._until = until
        self._poisoned: QuantkeepError | None = None
        self._doubted = False  # an interruption may have left the state half way
        self._begin(Base(None))
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
            self._doubted = self._doubted or self.harms.have_changed(self._files)
            if self._until is None or self._doubted:
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
                self._follow(live=True)
            except Behind:
                pass
            else:
                if not self._doubted:
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
        """Read everything anew."""
        for _ in range(_TRIES):
            try:
                self._load_best()
            except Behind:
                continue
            self._doubted = False
            return
        raise damaged(f"{self._files.root}/{_manifest.CURRENT}", "what it names is gone")

    def _load_best(self) -> None:
        """Read from the first base that leaves nothing open, or from the one that leaves least.

        Raises:
            Corrupt: none can be read at all; the error of the first that should have been.
        """
        best: tuple[int, Base] | None = None
        error: Corrupt | None = None
        for base in bases(self._files, self._until):
            error = error or next((error for _, error in base.damage), None)
            try:
                self._load_from(base)
            except Corrupt as damage:
                error = error or damage
                continue
            if not self.harms.weight:
                return
            if best is None or self.harms.weight < best[0]:
                best = self.harms.weight, base
        if best is not None:
            self._load_from(best[1])
        elif error is not None:
            raise error

    def _load_from(self, base: Base) -> None:
        self._begin(base)
        self._follow(self.log.latest())
        if self._until is not None and self.log.number != self._until:
            raise NotFound(
                f"{self._files.root} has no commit {self._until:,} any more, or not yet: its last "
                f"is {self.log.number:,}"
            )
        if base.damage and not self.is_made:
            raise base.damage[0][1]

    def _begin(self, base: Base) -> None:
        manifest = base.manifest
        self.tables = Tables(self._files)
        self.base = manifest
        self.touched: dict[str, int] = {}
        self.harms = Harms()
        self.identity, self.description = "", None
        self.log = CommitLog(self._files, until=self._until)
        self._last: Mapping[str, Any] | None = None
        for name, error in base.damage:
            self.harms.add(self._files, name, error, {})
        if manifest is not None:
            self.identity, self.description = manifest.identity, manifest.description
            self.log = CommitLog(self._files, manifest.commit, manifest.proof, until=self._until)
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

    def _follow(self, known: int = 0, *, live: bool = False) -> None:
        for commit in self.log.news(known):
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
            self._doubted = True  # it may do without what is damaged
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

    # -- writing -----------------------------------------------------------------------------------

    def add(self, said: Mapping[str, Any]) -> bool:
        """Write a commit that the state has in it already; ``False``: another writer was first,
        and it is taken out of the state again.

        Raises:
            StoreFull, Unavailable: nothing was written. OutcomeUnknown, WriterPoisoned: perhaps.
        """
        if self._last is not None:
            said = {**said, **_harms.again(self.collections, self._last)}
        try:
            made = self.log.add(said, _harms.footprint(self.collections, said))
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
        self._last = said
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
        """Damaged files that were met, and every segment that is not what its checksum says."""
        problems = [str(harm.error) for harm in self.harms.found.values()]
        segments = self.segments()
        for segment in counted(segments, "reading segments", len(segments)):
            try:
                self.tables.reader.check(segment)
            except Corrupt as error:
                problems.append(str(error))
        return problems
