"""The journal: a commit a line, each with its checksums; a torn last line is no commit."""

import logging
import os
import zlib
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from quantkeep.errors import Corrupt, Regression, WriterPoisoned, scrubbed
from quantkeep.failpoints import passing
from quantkeep_backends._files import durable
from quantkeep_backends.json._acknowledged import NAME, Count
from quantkeep_backends.json._acknowledged import read as acknowledged
from quantkeep_backends.json._damage import Harm, named, stamp
from quantkeep_backends.json._entries import Entry, Language
from quantkeep_backends.json._lines import Damaged
from quantkeep_backends.json._salvage import Lost, Whole, following, salvaged

log = logging.getLogger("quantkeep.json")

_BLOCK: Final = 2**23  # bytes that are read at once
_RESTORE: Final = "It was changed outside quantkeep, or damaged: restore the folder from a backup"


class Journal:
    """One journal file, and how far this process has read it."""

    def __init__(self, path: Path, before: int, *, writable: bool) -> None:
        self.path = path
        self.number = before  # of the last commit read
        flags = (os.O_RDWR | os.O_APPEND) if writable else os.O_RDONLY
        with durable.told(str(path)):
            try:
                self._descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Regression(f"{path} is gone", locator=str(path)) from None
        self._read = 0  # bytes
        self.lines = 0  # read

    def news(self, language: Language) -> Iterator[Entry | Harm]:
        """Commits that were added since the last call, by whomever, and lines that are damaged.

        Raises:
            Corrupt: a line is not what was written, and nobody can say what it touched.
            Regression: the file is shorter than what was read of it.
        """
        while (yield from self._sound(language)):
            data = self._rest()
            try:
                found = salvaged(data, self.number + 1, self._read)
                if found is None:
                    return  # torn: the next writer cuts it off
                yield from self._told(language, found)
            except Damaged as error:
                yield self._gap(data, error)

    def _sound(self, language: Language) -> Generator[Entry, None, bool]:
        """Commits up to the first line that is not the next one; whether there is one."""
        for lines, rest in self._blocks():
            for line in lines:
                try:
                    entry = language.entry(line)
                except Damaged:
                    return True
                if entry.number != self.number + 1:
                    return True
                yield entry
                self._advance(1, len(line) + 1)
            if rest:
                return True
        return False

    def _told(self, language: Language, found: Whole | Lost) -> Iterator[Entry | Harm]:
        if isinstance(found, Whole):
            entry = language.entry(found.line)
            if entry.number != self.number + 1:
                raise Damaged(f"commit {entry.number} is out of turn")
            if found.why:
                yield self._harm(f"{found.why}. Nothing is lost by it; compact the keep", found)
            yield entry
        else:
            yield self._lost(found)
        self._advance(1, found.size)

    def _advance(self, commits: int, size: int, lines: int = 1) -> None:
        self.number += commits
        self.lines += lines
        self._read += size

    # -- damage ------------------------------------------------------------------------------------

    def _lost(self, found: Lost) -> Harm:
        operation = [] if found.operation is None else [f"operation {found.operation!r}"]
        what = ", ".join([*found.touches, *operation])
        why = f"its checksum does not match, and what it says of {what} is not known. {_RESTORE}"
        return attrs.evolve(
            self._harm(why, found), closes=frozenset(found.touches), operation=found.operation
        )

    def _harm(self, why: str, found: Whole | Lost) -> Harm:
        """The harm of the next line, which closes nothing yet."""
        descriptor, start, size = self._descriptor, self._read, found.size

        def look() -> int | None:
            with suppress(OSError):
                return zlib.crc32(os.pread(descriptor, size, start))
            return None

        return Harm(self._corrupt(why), look)

    def _corrupt(self, why: str) -> Corrupt:
        line = self.lines + 1
        return Corrupt(f"{self.path}, line {line}: {why}", locator=f"{self.path}:{line}")

    def _gap(self, data: bytes, why: Damaged) -> Harm:
        """Go on behind lines that are damaged or gone, if it is known what they may have touched.

        Raises:
            Corrupt: it is not known.
        """
        first, found = self.number + 1, following(data, self.number + 1)
        number, size = found or (first, 0)
        closes = self._acknowledged().may_have_touched(first, number - 1)
        if size and number == first:
            error = self._corrupt(f"{why}. Nothing is lost by it; compact the keep")
        elif closes:
            error = self._corrupt(
                f"{why}; what was committed from {first:,} to {number - 1:,}, and whether it "
                f"touched {named(closes)}, is not known. {_RESTORE}"
            )
        else:
            raise self._corrupt(f"{why}, so nobody can say what is lost. {_RESTORE}")
        self._advance(number - first, size, data.count(b"\n", 0, size))
        return Harm(error, lambda: stamp(self.path), closes)

    def cut_short(self, wanted: Count) -> Harm | None:
        """What is wrong if this journal was read to its end and is shorter than it was.

        Raises:
            Corrupt: it is not known what is lost.
        """
        if self.number >= wanted.number:
            return None
        closes = wanted.may_have_touched(self.number + 1, wanted.number)
        error = Corrupt(
            f"{self.path} ends with commit {self.number:,}, and commit {wanted.number:,} was "
            "acknowledged: it was cut short, or is of an older backup than the folder. "
            f"{f'What is lost touched {named(closes)}. ' if closes else ''}Restore the whole "
            f"folder from a backup, or remove {self.path.with_name(NAME)} to go on without it",
            locator=str(self.path),
        )
        if not closes:
            raise error
        return Harm(error, lambda: (self._acknowledged(), stamp(self.path)), closes)

    def _acknowledged(self) -> Count:
        return acknowledged(self.path.parent)

    # -- bytes -------------------------------------------------------------------------------------

    def _blocks(self) -> Iterator[tuple[list[bytes], bytes]]:
        """Lines, and what stands behind the last one of all."""
        data = self._added()
        while data:
            more = self._added(len(data))
            *lines, rest = data.split(b"\n")
            if not more:
                yield lines, rest
                return
            if len(lines) > 1:
                data = lines.pop() + b"\n" + rest
                yield lines, b""
            data += more

    def _rest(self) -> bytes:
        """All that was not read yet."""
        data = b""
        while more := self._added(len(data)):
            data += more
        return data

    def _added(self, behind: int = 0) -> bytes:
        """The next block of what was written, *behind* so many bytes that are held already."""
        start = self._read + behind
        with durable.told(str(self.path)):
            size = os.fstat(self._descriptor).st_size
            if size > start:
                return os.pread(self._descriptor, min(size - start, _BLOCK), start)
        if size < start:
            raise Regression(
                f"{self.path} has {size} bytes, and this handle has read {start}: an older "
                "backup was put back under it",
                locator=str(self.path),
            )
        return b""

    @property
    def has_much_to_read(self) -> bool:
        """Whether more than a block was added."""
        with durable.told(str(self.path)):
            return os.fstat(self._descriptor).st_size - self._read > _BLOCK

    @property
    def size(self) -> int:
        """Bytes that were read of it."""
        return self._read

    def replaced(self) -> bool:
        """Whether another file has been put in this one's place."""
        try:
            return not os.path.samestat(os.lstat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True
        except OSError as error:
            raise durable.typed(error, str(self.path)) from scrubbed(error)

    def mend(self) -> None:
        """Cut a torn last line off; the caller holds the lock and has read all that is whole."""
        with durable.told(str(self.path)):
            torn = os.fstat(self._descriptor).st_size - self._read
            if torn > 0:
                os.ftruncate(self._descriptor, self._read)
                durable.sync(self._descriptor, str(self.path))
                log.warning("%s: cut off %d bytes of an unfinished commit", self.path, torn)

    def add(self, entry: Entry, language: Language) -> None:
        """Append *entry* and sync it; the caller holds the lock.

        Raises:
            StoreFull, Unavailable: nothing was written. WriterPoisoned: the sync failed.
        """
        line = language.line(entry)
        try:
            passing("json.commit.write")
            durable.write_all(self._descriptor, line)
            passing("json.commit.written")
        except OSError as error:
            self._take_back()
            raise durable.typed(error, str(self.path)) from scrubbed(error)
        durable.sync(self._descriptor, str(self.path))
        try:
            passing("json.commit.synced")
        except OSError as error:
            raise WriterPoisoned(f"{self.path}: {error.strerror}; open it again") from error
        self._read += len(line)
        self.lines += 1
        self.number = entry.number

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._read)
        except OSError as error:
            raise WriterPoisoned(
                f"{self.path}: a commit was cut short and could not be taken back; open it again"
            ) from scrubbed(error)

    def close(self) -> None:
        os.close(self._descriptor)
