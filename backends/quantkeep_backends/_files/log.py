"""A log of commits, each a numbered file that is created exclusively and never changed.

Of two writers that make the same number, one wins; the other reads what the winner did and tries
again. Readers ask for the next number by name, and never list. Each file proves itself by a
checksum, and names that of the one before it, so that another history put in its place is noticed.

What a commit touched is said twice, in its heading and by the commit behind it, so that of a file
that is damaged or gone it is known what nobody can know any more, and all else can be read.
"""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from quantkeep.errors import Corrupt, OutcomeUnknown, Regression, WriterPoisoned
from quantkeep.failpoints import passing
from quantkeep_backends._files import durable, proving
from quantkeep_backends._files.medium import Entry, Files
from quantkeep_backends._files.proving import Commit, Touched

FOLDER: Final = "_log"
TRUSTED: Final = 300.0  # seconds for which the head that was seen is taken to be there still
_DIGITS: Final = 20
_TOGETHER: Final = 64  # commits that are read at once


class Behind(Exception):  # where we stand, and no error of anybody's
    """The head that this reader knows is gone or another: it has to begin anew."""


class Gap(NamedTuple):
    """A commit whose file is damaged or gone, and of which it is known what it touched."""

    number: int
    error: Corrupt
    touched: Touched


def name_of(number: int) -> str:
    """The name of the file of commit *number*."""
    return f"{FOLDER}/{number:0{_DIGITS}}.json"


def number_of(name: str) -> int | None:
    """The commit that the file *name* is of; ``None``: of something else."""
    stem = name.removeprefix(f"{FOLDER}/").removesuffix(".json")
    return int(stem) if len(stem) == _DIGITS and stem.isdigit() else None


class CommitLog:
    """How far one handle has read a log; its caller sees to threads.

    Attributes:
        number: of the last commit read; 0 before the first.
        proof: its checksum.
        until: the last commit to be read.
    """

    def __init__(
        self, files: Files, number: int = 0, proof: str = "", *, until: int | None = None
    ) -> None:
        self._files = files
        self._until = until
        self.number = number
        self.proof = proof
        self._head: Entry | None = None
        self._seen_at = -TRUSTED  # when the head was last seen to be there

    def news(self, known: int = 0, *, beyond: bool = True) -> Iterator[Commit | Gap]:
        """Commits that were added since the last call, by whomever.

        Args:
            known: a commit that was seen to be there, so that those before it are asked for
                together, and that those which are missing are gaps.
            beyond: whether those behind it are asked for too.

        Raises:
            Corrupt: a file is not what was written, and nothing is known of it. Behind: the head is
                gone.
        """
        if beyond or known > self.number:
            yield from self._found(known, beyond=beyond)
            self._confirm()
        while known > self.number and self._files.look(name_of(self.number + 1)) is None:
            path = self._path(self.number + 1)
            yield from self._lost(None, proving.damaged(path, "it is missing, later ones are not"))
            yield from self._found(known, beyond=beyond)
            self._confirm()

    def _found(self, known: int, *, beyond: bool) -> Iterator[Commit | Gap]:
        more, begun = self._until is None or self.number < self._until, self.number
        while more and (beyond or self.number < known):
            # Where one after another is there, there are more: who asks for each of them alone may
            # never catch up with a busy writer.
            likely = 1 if self._files.asking_is_cheap else (self.number - begun) // 2 or 1
            count = min(max(known - self.number, likely), _TOGETHER)
            names = [name_of(self.number + n) for n in range(1, count + 1)]
            found = self._files.read_all(names) if count > 1 else [self._files.read(names[0])]
            for data in found:
                more = data is not None
                if data is None:
                    break
                yield from self._heard(data)
                if self.number == self._until:
                    return

    def _heard(self, data: bytes) -> Iterator[Commit | Gap]:
        """What the file of the next commit says, or that it is damaged."""
        number = self.number + 1
        try:
            commit = proving.read(self._path(number), data, number)
        except Corrupt as error:
            yield from self._lost(data, error)
            return
        self._check_link(commit)
        yield commit
        self._advance(commit.number, commit.proof)

    def _lost(self, data: bytes | None, error: Corrupt) -> Iterator[Commit | Gap]:
        """Go on behind the next commit, which is damaged or gone."""
        number = self.number + 1
        behind = self._peeked(number + 1)
        lost = proving.salvaged(data or b"", number, behind)
        if lost is None:
            raise error
        yield Gap(number, error, lost.touched)
        if lost.commit is not None:
            yield lost.commit
        self._advance(number, lost.proof)

    def _peeked(self, number: int) -> Commit | None:
        """The commit *number*, if it is there and sound."""
        data = self._files.read(name_of(number))
        try:
            return None if data is None else proving.read(self._path(number), data, number)
        except Corrupt:
            return None

    def _path(self, number: int) -> str:
        return f"{self._files.root}/{name_of(number)}"

    def latest(self) -> int:
        """The last commit in a listing, which is a hint and no more; 0: none."""
        behind = name_of(self.number)
        names = (entry.name for entry in self._files.entries(FOLDER, behind))
        latest = max((n for name in names if (n := number_of(name)) is not None), default=0)
        return latest if self._until is None else min(latest, self._until)

    def add(self, said: Mapping[str, Any], touched: Touched | None) -> bool:
        """Write the next commit; ``False``: another writer made it.

        The caller has read all news.

        Args:
            said: what is committed.
            touched: what of the keep it touches; ``None``: anything.

        Raises:
            OutcomeUnknown, WriterPoisoned: it may be there, or not. Behind: as :meth:`news`.
        """
        number = self.number + 1
        body = {"number": number, "previous": self.proof, "write": uuid.uuid4().hex, **said}
        proof, data = proving.written(body, touched)
        with durable.told(self._files.root):
            passing("log.commit.create")
        if not self._files.create(name_of(number), data):
            return False
        self._made()
        self._confirm_own(number)
        self._advance(number, proof)
        return True

    def _made(self) -> None:
        """From here on others see the commit, so an error does not undo it."""
        try:
            passing("log.commit.created")
        except OSError as error:
            raise WriterPoisoned(f"{self._files.root}: {error.strerror}; open it again") from error

    # -- where we stand ----------------------------------------------------------------------------

    def _advance(self, number: int, proof: str) -> None:
        self.number, self.proof = number, proof
        self._head = self._files.look(name_of(number)) if self._files.asking_is_cheap else None
        self._seen_at = _now()

    def _check_link(self, commit: Commit) -> None:
        if self.number and commit.said["previous"] != self.proof:
            name = f"{self._files.root}/{name_of(commit.number)}"
            raise Regression(
                f"{name} does not follow commit {self.number} as this handle has read it: an older "
                "backup, or another keep, was put in its place; open it again, and compare",
                locator=name,
            )

    def _confirm(self) -> None:
        """Where there is no next commit, it may be because the head itself is long gone."""
        if not self.number or (not self._files.asking_is_cheap and self._is_trusted()):
            return
        found = self._files.look(name_of(self.number))
        if found is None or (self._head is not None and found != self._head):
            raise Behind
        if self._files.asking_is_cheap:
            self._head = found
        self._seen_at = _now()

    def _confirm_own(self, number: int) -> None:
        """A writer that slept while others compacted the log has written into the past."""
        if self.number and (self._files.asking_is_cheap or not self._is_trusted()):
            found = self._files.look(name_of(self.number))
            if found is None:
                self._files.remove(name_of(number))
                raise Behind

    @property
    def may_add_unasked(self) -> bool:
        """Whether the next commit, were there one already, would keep us from adding ours.

        Then it is enough to try, where asking for it costs a round trip.
        """
        return not self._files.asking_is_cheap and (not self.number or self._is_trusted())

    def _is_trusted(self) -> bool:
        return 0 <= _now() - self._seen_at < TRUSTED


def _now() -> float:
    """Seconds, those that the machine slept included where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def unknown(what: str) -> OutcomeUnknown:
    """The error of a commit whose answer was lost."""
    return OutcomeUnknown(
        f"{what}: the answer was lost, and whether it was written cannot be seen; "
        "resolve the operation, or commit the same batch again under its id"
    )
