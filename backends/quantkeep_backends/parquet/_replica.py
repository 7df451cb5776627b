"""A state kept level with the files: it is what is committed, or there is an error."""

from collections.abc import Mapping
from copy import copy
from typing import Any

from quantkeep.errors import Corrupt, NotFound, QuantkeepError, Regression, WriterPoisoned
from quantkeep_backends._files.log import Behind, name_of
from quantkeep_backends._files.medium import Files
from quantkeep_backends._files.proving import damaged
from quantkeep_backends.parquet import _manifest
from quantkeep_backends.parquet._bases import Base, bases
from quantkeep_backends.parquet._state import State
from quantkeep_backends.parquet._tables import Tables

_TRIES = 5  # to read what is current while others compact and clear away


class Replica:
    """What one handle has read. Its caller sees to threads.

    Attributes:
        state: may only be used after :meth:`level`.
    """

    def __init__(self, files: Files, until: int | None = None) -> None:
        self._files = files
        self._until = until
        self._poisoned: QuantkeepError | None = None
        self._doubted = False  # an interruption may have left the state half way
        self.state = State(files, Base(None), until)
        # What is behind the commits that a listing shows is asked for by whoever needs it first.
        self._load(beyond=until is not None)
        self._note()

    @property
    def seen(self) -> tuple[str, int]:
        """Which keep, and its last commit that this handle knows of."""
        return self._seen

    def unasked(self) -> Tables | None:
        """The state as it was last seen, for a commit that is refused if there is a newer one.

        ``None``: nobody can be sure of that, and it takes :meth:`level`.
        """
        sure = self._poisoned is None and not self._doubted and not self.state.harms
        return self.state.tables if sure and self.state.log.may_add_unasked else None

    def level(self) -> Tables:
        """The state as it is now, with what others committed.

        Raises:
            Regression: the keep went back; this handle stays unusable. Corrupt: a file is damaged.
        """
        if self._poisoned is not None:
            raise copy(self._poisoned)  # each caller has its own traceback, cause and notes
        try:
            self._doubted = self._doubted or self.state.harms.have_changed(self._files)
            if self._until is None or self._doubted:
                self._catch_up()
        except Regression as error:
            self._poisoned = error
            raise
        except BaseException:
            self._doubted = True
            raise
        self._note()
        return self.state.tables

    def _note(self) -> None:
        """Remember how far this handle has seen, whatever becomes of the next reading."""
        self._seen = self.state.identity, self.state.log.number

    def _catch_up(self) -> None:
        if not self._doubted:
            try:
                self.state.follow(live=True)
            except Behind:
                pass
            else:
                if not self.state.curable:
                    return
        identity, seen = self._seen
        self._load()
        number = self.state.log.number
        if identity and (self.state.identity != identity or number < seen):
            raise Regression(
                f"{self._files.root} is at commit {number}, and this handle has already seen "
                f"{seen}: an older backup, or another keep, was put back under it; open it again, "
                "and compare before going on",
                locator=self._files.root,
            )

    def _load(self, *, beyond: bool = True) -> None:
        """Read everything anew."""
        for _ in range(_TRIES):
            try:
                self._load_best(beyond=beyond)
            except Behind:
                continue
            self._doubted = self.state.curable = False
            return
        raise damaged(f"{self._files.root}/{_manifest.CURRENT}", "what it names is gone")

    def _load_best(self, *, beyond: bool) -> None:
        """Read from the first base that leaves nothing open, or from the one that leaves least.

        Raises:
            Corrupt: none can be read at all; the error of the first that should have been.
        """
        best: tuple[int, Base] | None = None
        error: Corrupt | None = None
        for base in bases(self._files, self._until):
            error = error or next((error for _, error in base.damage), None)
            try:
                self._load_from(base, beyond=beyond)
            except Corrupt as damage:
                error = error or damage
                continue
            if not self.state.harms.weight:
                return
            if best is None or self.state.harms.weight < best[0]:
                best = self.state.harms.weight, base
        if best is not None:
            self._load_from(best[1], beyond=beyond)
        elif error is not None:
            self._check_past()
            raise error

    def _load_from(self, base: Base, *, beyond: bool) -> None:
        self.state = State(self._files, base, self._until)
        self.state.follow(self.state.log.latest(), beyond=beyond)
        if self.state.log.number != (self._until or self.state.log.number):
            self._check_past()
        if base.damage and not self.state.is_made:
            raise base.damage[0][1]

    def _check_past(self) -> None:
        """Say so if a commit is asked for that is not there."""
        if self._until is not None and self._files.look(name_of(self._until)) is None:
            raise NotFound(
                f"{self._files.root} has no commit {self._until:,}: it is yet to be made, or was "
                "folded by a compaction and removed"
            )

    # -- writing -----------------------------------------------------------------------------------

    def add(self, said: Mapping[str, Any]) -> bool:
        """Write a commit that the state has in it already; ``False``: another writer was first,
        and it is taken out of the state again.

        Raises:
            StoreFull, Unavailable: nothing was written. OutcomeUnknown, WriterPoisoned: perhaps.
        """
        said, touched = self.state.told(said)
        try:
            made = self.state.log.add(said, touched)
        except Behind:
            self.state.tables.undo()
            self._doubted = True
            return False
        except WriterPoisoned as error:
            self._poisoned = error
            raise
        except QuantkeepError:
            self.state.tables.undo()
            raise
        except BaseException:  # the file may be there, or not
            self._doubted = True
            raise
        if not made:
            self.state.tables.undo()
            return False
        self.state.remember(said)
        self._note()
        return True

    def poison(self, error: WriterPoisoned) -> None:
        """Let nothing be read or written through this handle any more."""
        self._poisoned = error

    def doubt(self) -> None:
        """Have everything read anew before it is used again."""
        self._doubted = True
