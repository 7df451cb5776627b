"""The keep in memory, kept level with the folder: what is in it is what is on disk, or an error."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy

import attrs

from quantkeep import schema
from quantkeep.errors import QuantkeepError, Regression, WriterPoisoned
from quantkeep.failpoints import passing
from quantkeep.model import Effect, Model
from quantkeep_backends._files import durable
from quantkeep_backends.json import _acknowledged, _generations
from quantkeep_backends.json._acknowledged import Acknowledged, Count
from quantkeep_backends.json._damage import OPERATIONS, Harm, Harms, SoundModel
from quantkeep_backends.json._entries import Entry, Language, Operation, remembered
from quantkeep_backends.json._folder import FORMAT, Folder, Heading
from quantkeep_backends.json._journal import Journal
from quantkeep_backends.json._lines import Damaged, corrupt


class Replica:
    """What one handle has read. Its caller sees to threads, and holds the lock where it writes.

    Attributes:
        heading: of the generation that was read.
        model: may only be used after :meth:`level`.
        journal: of that generation.
        harms: what is damaged or cannot be read; the rest is in the model.
    """

    heading: Heading
    model: Model
    journal: Journal
    harms: Harms

    def __init__(self, folder: Folder, *, writable: bool, limit: int = 0) -> None:
        self._folder = folder
        self._limit = limit  # bytes of a journal; 0: none
        self._records_size = 0
        self._writable = writable
        self._poisoned: QuantkeepError | None = None
        self._doubted = False  # an interruption may have left the model half way
        self._open = False
        self._seen = 0
        self._acknowledged: Acknowledged | None = None
        try:
            self._read_all()
            self._identity = self.heading.identity
            self._seen = self.journal.number
        except BaseException:
            self.close()
            raise

    # -- reading -----------------------------------------------------------------------------------

    def level(self) -> Model:
        """The model as it is now, with what other processes committed.

        Raises:
            Regression: the keep went back; this handle stays unusable. Corrupt: a file is damaged.
        """
        if self._poisoned is not None:
            raise copy(self._poisoned)  # each caller has its own traceback, cause and notes
        try:
            if self._is_stale():
                self._reload()
            self._follow()
        except Regression as error:
            self._poisoned = error
            raise
        except BaseException:
            self._doubted = True
            raise
        self._seen = self.journal.number
        return self.model

    def _is_stale(self) -> bool:
        if self._doubted or self._folder.stamp() != self._stamp or self.journal.replaced():
            return True
        return self.harms.have_changed()

    def _read_all(self) -> None:
        wanted = _acknowledged.read(self._folder.path)  # before all else: others may be writing
        self._load()
        self._follow()
        missing = self.journal.cut_short(wanted)
        if missing is not None:
            self._take_note(missing)

    def _reload(self) -> None:
        self._read_all()
        if self.heading.identity != self._identity or self.journal.number < self._seen:
            path = self._folder.path
            raise Regression(
                f"{path} is at commit {self.journal.number}, and this handle has already seen "
                f"{self._seen}: an older backup, or another keep, was put back under it; open it "
                "again, and compare before going on",
                locator=str(path),
            )

    def _load(self) -> None:
        """Read a generation from its beginning."""
        while True:
            stamp = self._folder.stamp()
            try:
                self._adopt(self._folder.heading())
            except QuantkeepError:
                if self._folder.stamp() == stamp:
                    raise
                continue  # a compaction beside this took the files away
            if self.harms and self._folder.stamp() != stamp:
                continue
            self._stamp, self._doubted = stamp, False
            return

    def _adopt(self, heading: Heading) -> None:
        with _no_collections_of_garbage():
            self._read(heading)

    def _read(self, heading: Heading) -> None:
        collections = schema.understand(heading.description) if heading.description else []
        by_name = {c.name: c for c in collections}
        model, language = Model(), Language(by_name, headed=heading.format > 1)
        model.ensure(collections)
        harms = _generations.read(self._folder, heading, model, language)
        path = self._folder.journal(heading.generation)
        journal = Journal(path, heading.commits, writable=self._writable)
        self._let_go()
        self.heading, self.harms, self._language = heading, harms, language
        self.model = SoundModel(model, harms) if harms else model
        self.journal, self._open = journal, True
        self._count = Count(heading.commits, heading.commits)
        self._records_size = self._folder.records_size(heading.generation)

    def _follow(self) -> None:
        if self.journal.has_much_to_read:
            with _no_collections_of_garbage():
                self._replay()
        else:
            self._replay()

    def _replay(self) -> None:
        for entry in self.journal.news(self._language):
            if isinstance(entry, Harm):
                self._take_note(entry)
                continue
            try:
                for effect in entry.effects:
                    self.model.replay(effect)
                    self._count.touched[effect.collection] = entry.number
            except KeyError as error:
                why = f"commit {entry.number} removes {error}, which is not there"
                raise corrupt(self.journal.path, self.journal.lines + 1, why) from None
            except Damaged as error:
                raise corrupt(self.journal.path, self.journal.lines + 1, error) from None
            if entry.operation is not None:
                self.model.operations[entry.operation.op_id] = remembered(entry.operation)
                self._count.touched[OPERATIONS] = entry.number

    def _take_note(self, harm: Harm) -> None:
        self.harms.add(harm)
        if harm.is_open:
            self.model = SoundModel(self.model, self.harms)

    # -- writing -----------------------------------------------------------------------------------

    def add(self, effects: list[Effect], operation: Operation | None) -> None:
        """Write what the model has just applied to the journal, or take it back out of the model.

        Raises:
            StoreFull, Unavailable: nothing was written. WriterPoisoned: the sync failed, and this
                handle stays unusable.
        """
        try:
            self.journal.add(Entry(self.journal.number + 1, effects, operation), self._language)
        except WriterPoisoned as error:
            self._poisoned = error
            raise
        except QuantkeepError:
            self.model.undo()
            raise
        except BaseException:  # the line may be whole, or not
            self._doubted = True
            raise
        self.model.settle()
        self._seen = self.journal.number
        self._acknowledge({effect.collection for effect in effects}, operation)

    def _acknowledge(self, names: set[str], operation: Operation | None) -> None:
        self._count.add(self.journal.number, names if operation is None else {*names, OPERATIONS})
        with suppress(QuantkeepError):  # the commit stands without it
            if self._acknowledged is None:
                self._acknowledged = Acknowledged(self._folder.path)
            self._acknowledged.write(self._count)

    @property
    def has_outgrown(self) -> bool:
        """Whether the journal is so long that folding it into records pays.

        It has to be as long as the records are: so each byte is rewritten a few times at most.
        """
        return self._limit > 0 and self.journal.size > max(self._limit, self._records_size)

    def leave_it(self) -> None:
        """A compaction failed; the next one is tried when the journal is twice as long."""
        self._limit = max(self._limit, self.journal.size) * 2

    def mend(self) -> None:
        """Cut off a commit that was never finished; before the first new one."""
        try:
            self.journal.mend()
        except WriterPoisoned as error:
            self._poisoned = error
            raise

    def turn_over(
        self, description: str | None, change: Callable[[Model], object] | None = None
    ) -> None:
        """Begin the next generation, with *change* made to the model behind all checks."""
        heading = attrs.evolve(
            self.heading,
            format=FORMAT,
            generation=self.heading.generation + 1,
            commits=self.journal.number,
            description=description,
        )
        self._doubted = True  # until it is read back
        try:
            with durable.told(str(self._folder.path)):
                self._write(heading, change)
        except WriterPoisoned as error:
            self._poisoned = error
            raise
        self.level()

    def _write(self, heading: Heading, change: Callable[[Model], object] | None) -> None:
        if heading.description:
            self.model.ensure(schema.understand(heading.description))
        if change is not None:
            change(self.model)
        try:
            files = _generations.write(self._folder, heading.generation, self.model)
            passing("json.compact.heading")
            self._folder.write(attrs.evolve(heading, files=files))
        except (OSError, QuantkeepError):
            self._discard(heading.generation)
            raise
        passing("json.compact.done")
        _generations.sweep(self._folder, heading.generation)

    def _discard(self, generation: int) -> None:
        """Make room again, if the generation that could not be written all has not begun."""
        with suppress(OSError, QuantkeepError):
            if self._folder.heading().generation < generation:
                _generations.discard(self._folder, generation)

    def poison(self, error: WriterPoisoned) -> None:
        """Let nothing be read or written through this handle any more."""
        self._poisoned = error

    def close(self) -> None:
        """Let go of all files; idempotent."""
        self._let_go()
        if self._acknowledged is not None:
            self._acknowledged.close()
            self._acknowledged = None

    def _let_go(self) -> None:
        if self._open:
            self.journal.close()
            self._open = False


@contextmanager
def _no_collections_of_garbage() -> Iterator[None]:
    """While millions of objects are made that all stay, looking through them costs a third."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
