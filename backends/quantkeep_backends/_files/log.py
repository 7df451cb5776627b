"""A log of commits, each a numbered file that is created exclusively and never changed.

Of two writers that make the same number, one wins; the other reads what the winner did and tries
again. Readers ask for the next number by name, and never list. Each file proves itself by a
checksum, and names that of the one before it, so that another history put in its place is noticed.

A file is two lines of JSON: the checksum of the second, and what the commit did.
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from quantkeep.errors import Corrupt, FormatTooNew, OutcomeUnknown, Regression, WriterPoisoned
from quantkeep.failpoints import passing
from quantkeep_backends._files import durable
from quantkeep_backends._files.medium import Entry, Files

FORMAT: Final = 1
FOLDER: Final = "_log"
TRUSTED: Final = 300.0  # seconds for which the head that was seen is taken to be there still
_DIGITS: Final = 20
_TOGETHER: Final = 64  # commits that are read at once

_dumps: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Behind(Exception):  # where we stand, and no error of anybody's
    """The head that this reader knows is gone or another: it has to begin anew."""


class Commit(NamedTuple):
    """What a file of the log says."""

    number: int
    proof: str
    said: Mapping[str, Any]


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
    """

    def __init__(self, files: Files, number: int = 0, proof: str = "") -> None:
        self._files = files
        self.number = number
        self.proof = proof
        self._head: Entry | None = None
        self._seen_at = -TRUSTED  # when the head was last seen to be there

    def news(self, known: int = 0) -> Iterator[Commit]:
        """Commits that were added since the last call, by whomever.

        Args:
            known: a commit that was seen to be there, so that those before it are asked for
                together.

        Raises:
            Corrupt: a file is not what was written. Behind: the head is gone.
        """
        more = True
        while more:
            count = min(max(known - self.number, 1), _TOGETHER)
            names = [name_of(self.number + n) for n in range(1, count + 1)]
            found = self._files.read_all(names) if count > 1 else [self._files.read(names[0])]
            for name, data in zip(names, found, strict=True):
                more = data is not None
                if data is None:
                    break
                commit = read(f"{self._files.root}/{name}", data, self.number + 1)
                self._check_link(commit)
                yield commit
                self._advance(commit.number, commit.proof)
        self._confirm()

    def latest(self) -> int:
        """The last commit in a listing, which is a hint and no more; 0: none."""
        behind = name_of(self.number)
        names = (entry.name for entry in self._files.entries(FOLDER, behind))
        return max((n for name in names if (n := number_of(name)) is not None), default=0)

    def add(self, said: Mapping[str, Any]) -> bool:
        """Write the next commit; ``False``: another writer made it.

        The caller has read all news.

        Raises:
            OutcomeUnknown, WriterPoisoned: it may be there, or not. Behind: as :meth:`news`.
        """
        number = self.number + 1
        body = {"number": number, "previous": self.proof, "write": uuid.uuid4().hex, **said}
        proof, data = written(body)
        with durable.told(self._files.root):
            passing("log.commit.create")
        if not self._files.create(name_of(number), data):
            return False
        self._made()
        self._confirm_own(number)
        self._advance(number, proof)
        return True

    def check_whole(self, latest: int) -> None:
        """See that none is missing before the commit *latest*; raises :class:`Corrupt`."""
        missing = name_of(self.number + 1)
        if latest > self.number and self._files.look(missing) is None:
            raise Corrupt(
                f"{self._files.root}/{missing} is missing, and there are later commits: restore it "
                "from a backup",
                locator=f"{self._files.root}/{missing}",
            )

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

    def _is_trusted(self) -> bool:
        return 0 <= _now() - self._seen_at < TRUSTED


def _now() -> float:
    """Seconds, those that the machine slept included where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


# -- files that prove themselves -------------------------------------------------------------------


def written(said: Mapping[str, Any]) -> tuple[str, bytes]:
    """The checksum of *said*, and the content of the file that says it."""
    body = _dumps(said).encode()
    proof = sha256(body).hexdigest()
    return proof, b'{"sha256":"%s","format":%d}\n%s\n' % (proof.encode(), FORMAT, body)


def read(path: str, data: bytes, number: int | None = None) -> Commit:
    """What a file made by :func:`written` says.

    Raises:
        Corrupt: it is not what was written. FormatTooNew: a newer quantkeep wrote it.
    """
    head, _, rest = data.partition(b"\n")
    try:
        heading = json.loads(head)
        version, proof = int(heading["format"]), str(heading["sha256"])
    except (ValueError, KeyError, TypeError):
        raise damaged(path, "it cannot be read") from None
    if version > FORMAT:
        raise FormatTooNew(
            f"{path} has format {version}, and this quantkeep reads up to {FORMAT}: upgrade it"
        )
    body = rest.removesuffix(b"\n")
    if len(rest) != len(body) + 1 or sha256(body).hexdigest() != proof:
        raise damaged(path, "its content does not match its own sha256")
    said: dict[str, Any] = json.loads(body)
    if number is not None and said["number"] != number:
        raise damaged(path, f"it is commit {said['number']}")
    return Commit(said.get("number", 0), proof, said)


def damaged(path: str, why: str) -> Corrupt:
    """The error that names a damaged file."""
    return Corrupt(
        f"{path}: {why}. It was changed outside quantkeep, or damaged; restore it from a backup",
        locator=path,
    )


def unknown(what: str) -> OutcomeUnknown:
    """The error of a commit whose answer was lost."""
    return OutcomeUnknown(
        f"{what}: the answer was lost, and whether it was written cannot be seen; "
        "resolve the operation, or commit the same batch again under its id"
    )
