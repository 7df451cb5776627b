"""The journal: a commit a line, each with its checksum; a torn last line is no commit."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from quantkeep.errors import Regression, WriterPoisoned, scrubbed
from quantkeep.failpoints import passing
from quantkeep_backends._files import durable
from quantkeep_backends.json._lines import Damaged, Entry, Language, corrupt, unchecked

log = logging.getLogger("quantkeep.json")

_BLOCK: Final = 2**23  # bytes that are read at once
_SECTOR: Final = 512  # bytes: the least a disk writes; of a torn write, some never reach it
_ZEROS: Final = re.compile(rb"\0+")


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

    def news(self, language: Language) -> Iterator[Entry]:
        """Commits that were added since the last call, by whomever.

        Raises:
            Corrupt: a line is not what was written, and others follow it.
            Regression: the file is shorter than what was read of it.
        """
        for lines, rest, at_end in self._blocks():
            for place, line in enumerate(lines):
                try:
                    entry = language.entry(line)
                except Damaged as error:
                    is_last = at_end and place == len(lines) - 1 and not rest
                    if is_last and _lacks_sectors(line, self._read):
                        return  # torn: the next writer cuts it off
                    raise corrupt(self.path, self.lines + 1, error) from None
                if entry.number != self.number + 1:
                    why = f"commit {entry.number} is out of turn"
                    raise corrupt(self.path, self.lines + 1, why)
                yield entry
                self.number = entry.number
                self.lines += 1
                self._read += len(line) + 1
            if _is_line(rest[:-1]):
                raise corrupt(self.path, self.lines + 1, "its line feed is damaged")

    def _blocks(self) -> Iterator[tuple[list[bytes], bytes, bool]]:
        """Whole lines, what stands behind the last one, and whether that is the end.

        The last line of all comes with the end: only there can it be told whether it is torn.
        """
        data = self._added()
        while data:
            more = self._added(len(data))
            *lines, rest = data.split(b"\n")
            if not more:
                yield lines, rest, True
                return
            if len(lines) > 1:
                data = lines.pop() + b"\n" + rest
                yield lines, b"", False
            data += more

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
        with durable.told(str(self.path)), suppress(FileNotFoundError):
            return not os.path.samestat(self.path.lstat(), os.fstat(self._descriptor))
        return True

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


def _lacks_sectors(line: bytes, offset: int) -> bool:
    """Whether a line that ends in its line feed has nothing but zeros in whole sectors: it was
    not all written when the power went. A byte that became zero by itself is damage.
    """
    for zeros in _ZEROS.finditer(line):
        first = -(-(offset + zeros.start()) // _SECTOR) * _SECTOR
        if zeros.start() == 0 or first + _SECTOR <= offset + zeros.end():
            return True
    return False


def _is_line(data: bytes) -> bool:
    """Whether *data* is a whole line: then what stands behind it was its line feed."""
    try:
        unchecked(data)
    except Damaged:
        return False
    return True
