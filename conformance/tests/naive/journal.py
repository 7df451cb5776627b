"""``journal:///path``: the memory model behind a journal file. Small, sound, and slow to open.

It is the unbroken twin of the persistent backends that are broken: one checked line for each
commit, written under a lock, synced before it is acknowledged, and read again by everybody.
"""

import errno
import fcntl
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from quantkeep import Capability, Durability, documents, hookimpl, schema
from quantkeep import batch as batches
from quantkeep.backend import Backdoor, Backend, Health
from quantkeep.batch import Append, Batch, Delete, Put, Receipt, Require, Write
from quantkeep.collection import SealedRow
from quantkeep.contract import require_level
from quantkeep.errors import (
    Corrupt,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    Regression,
    StoreFull,
    Unsupported,
    WriterPoisoned,
    scrubbed,
)
from quantkeep.failpoints import passing
from quantkeep.hosts import Hosts
from quantkeep_backends.memory import MemoryBackend

HOSTS = Hosts()
SPREADS = "a line that is damaged may have been about anything: nothing is read without it"
POINTS = ("journal.locked", "journal.begin", "journal.written", "journal.synced")


class JournalBackend(MemoryBackend):
    """One process writes at a time; each reads what the others wrote before it does anything."""

    name = "journal"
    capabilities = (
        Capability.PERSISTENT
        | Capability.MULTI_PROCESS
        | Capability.SNAPSHOT_READS
        | Capability.FAILPOINTS
    )
    durability = Durability.DISK

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file = self.opened(path)
        self._length = self.opened(path.with_name("length"))
        fcntl.fcntl(self._length, fcntl.F_SETFL, 0)  # is written over, not appended to
        self._read = 0  # bytes that were understood
        self._last = b""  # the last line among them
        self._catch_up()

    def opened(self, path: Path, more: int = os.O_NOFOLLOW, mode: int = 0o600) -> int:
        """The file, which is no link to another, and which nobody else may read."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | more
        try:
            return os.open(path, flags, mode)
        except OSError as error:
            raise PermissionDenied("the journal cannot be opened") from scrubbed(error)

    # -- writing ---------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> Receipt:
        with self._lock, self._alone():
            self._catch_up()
            self._cut_torn_tail()
            now = self.now()
            receipt, _ = self._model.apply(batch, now)
            if not receipt.replayed:
                self._write_commit(batch, now, receipt)
            return receipt

    def _write_commit(self, batch: Batch, now: int, receipt: Receipt) -> None:
        said = [batch.op_id, batch.digest(), receipt.to_json()] if batch.op_id is not None else []
        self._write(["commit", now, [*map(encoded, batch.writes)], *said], self._model.undo)

    def ensure(self, collections: Any, description: str) -> None:
        with self._lock, self._alone():
            self._catch_up()
            self._cut_torn_tail()
            known = schema.understand(self._description) if self._description else []
            merged = schema.describe(schema.merge([*collections], known))
            self._write(["ensure", merged], lambda: None)
            self._replay(["ensure", merged])

    def put_blob(self, digest: str, data: bytes) -> None:
        self._blob(["put", digest, data, self.now()])

    def delete_blob(self, digest: str, *, staged_before: int | None = None) -> None:
        self._blob(["delete", digest, staged_before])

    def _blob(self, entry: list[Any]) -> None:
        with self._lock, self._alone():
            self._catch_up()
            self._cut_torn_tail()
            self._write(entry, lambda: None)
            self._replay(entry)

    def _write(self, entry: list[Any], undo: Callable[[], None]) -> None:
        """Write one line; see what has become of it where that fails."""
        line = self.line(entry)
        self._note_length()
        try:
            passing("journal.begin")
            self._put(line)
            passing("journal.written")
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._read)
            undo()
            raise self.failed(error) from scrubbed(error)
        self._read += len(line)
        self._last = line
        try:
            passing("journal.synced")
        except OSError as error:
            raise OutcomeUnknown("written, and then this") from scrubbed(error)

    def failed(self, error: OSError) -> Exception:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return StoreFull("no space left") if full else WriterPoisoned("the disk failed")

    def line(self, entry: list[Any]) -> bytes:
        text = documents.encode(entry, HOSTS, limit=2**30).encode()
        return b"%08x " % zlib.crc32(text) + text + b"\n"

    def _put(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._file, line) :]

    def _note_length(self) -> None:
        """Note how long the journal is before the next line: one that is shorter was cut."""
        text = b"%016x" % self._read
        os.pwrite(self._length, b"%s %08x" % (text, zlib.crc32(text)), 0)

    def _noted_length(self) -> int:
        text, _, checksum = os.pread(self._length, 25, 0).partition(b" ")
        return int(text, 16) if checksum == b"%08x" % zlib.crc32(text) else 0

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._passing_locked()
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _passing_locked(self) -> None:
        try:
            passing("journal.locked")
        except OSError as error:
            raise self.failed(error) from scrubbed(error)

    # -- reading what others wrote ---------------------------------------------------------------

    def _catch_up(self) -> None:
        self._compare()
        noted = self._noted_length()
        data = os.pread(self._file, 2**30, self._read)
        for line in data.splitlines(keepends=True):
            if not self._sound(line):
                self.met(line)
                break
            self._replay(documents.decode(line[9:-1].decode(), HOSTS))
            self._read += len(line)
            self._last = line
        if self._read < noted:
            raise self._corrupt("is shorter than it was")

    def _corrupt(self, what: str) -> Corrupt:
        return Corrupt(f"{self._path} {what}", locator=f"{self._path}, byte {self._read}")

    def _compare(self) -> None:
        """Whether what was read before is still there: an older file may have been put back."""
        start = self._read - len(self._last)
        if os.pread(self._file, len(self._last), start) != self._last:
            raise Regression("the journal is not the one that was read before")

    def met(self, line: bytes) -> None:
        """A line that is not as it was written: if it was cut short, it was never acknowledged."""
        if line.endswith(b"\n") or self._sound(line[:-1] + b"\n"):
            raise self._corrupt("has a line that is damaged")

    def _sound(self, line: bytes) -> bool:
        return line.endswith(b"\n") and line[:9] == b"%08x " % zlib.crc32(line[9:-1])

    def _cut_torn_tail(self) -> None:
        if os.fstat(self._file).st_size > self._read:
            os.ftruncate(self._file, self._read)

    def _replay(self, entry: list[Any]) -> None:
        kind, *said = entry
        if kind == "ensure":
            self._description = said[0]
            self._model.ensure(schema.understand(said[0]))
        elif kind == "put":
            self._blobs[said[0]] = (said[1], said[2])
        elif kind == "delete":
            super().delete_blob(said[0], staged_before=said[1])
        else:
            self._again(*said)

    def _again(
        self,
        now: int,
        writes: list[Any],
        op_id: str | None = None,
        digest: bytes = b"",
        said: str = "",
    ) -> None:
        known = {name: shelf.collection for name, shelf in self._model.shelves.items()}
        self._model.apply(Batch(tuple(decoded(write, known) for write in writes)), now)
        if op_id is not None:
            self._model.operations[op_id] = digest, Receipt.from_json(said, op_id)

    def _refreshed(self, read: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            self._catch_up()
            return read(*arguments)

    # -- the rest --------------------------------------------------------------------------------

    def backdoor(self) -> Backdoor:
        raise Unsupported("no backdoor")

    def health(self) -> Health:
        return Health(True, self.durability, {"failpoints": POINTS, "damage_spreads": SPREADS})

    def close(self) -> None:
        for file in {self._file, self._length} - {-1}:
            os.close(file)
        self._file = self._length = -1


def _looking_first(name: str) -> Callable[..., Any]:
    read = getattr(MemoryBackend, name)
    return lambda self, *arguments: self._refreshed(partial(read, self), *arguments)


for _name in ("get", "scan", "tally", "heads", "outcome", "open_blob", "list_blobs", "sizes"):
    setattr(JournalBackend, _name, _looking_first(_name))


# -- writes as documents -------------------------------------------------------------------------


def encoded(write: Write) -> list[Any]:
    said = [type(write).__name__, write.collection.name]
    if isinstance(write, Append):
        return [*said, [[*row] for row in map(_row, write.rows)]]
    expect = [type(write.expect).__name__, [*attrs.astuple(write.expect)]]
    if isinstance(write, Put):
        return [*said, _row(write.row), expect]
    return [*said, [*write.key], expect]


def _row(row: SealedRow) -> list[Any]:
    return [[*row.values], *row[1:]]


def decoded(said: list[Any], known: dict[str, Any]) -> Write:
    kind, name, what, *expect = said
    if kind == "Append":
        return Append(known[name], [_sealed(known[name], row) for row in what])
    wanted = getattr(batches, expect[0][0])(*expect[0][1])
    if kind == "Put":
        return Put(known[name], _sealed(known[name], what), wanted)
    return {"Delete": Delete, "Require": Require}[kind](known[name], tuple(what), wanted)


def _sealed(collection: Any, row: list[Any]) -> SealedRow:
    lacking = len(collection.columns) - len(row[0])  # written before columns were added
    return SealedRow((*row[0], *[None] * lacking), *row[1:])


# -- opening -------------------------------------------------------------------------------------


class Journal:
    """A quantkeep plugin that serves ``journal://`` with one class of backend."""

    def __init__(self, backend: Callable[[Path], Backend]) -> None:
        self.backend = backend

    @hookimpl
    def quantkeep_open(self, url: Any, opening: Any) -> Backend | None:
        if url.scheme != "journal":
            return None
        url.allow()
        path = url.path
        if not path.exists() and not opening.create:
            raise NotFound(f"no journal at {path}")
        require_level(JournalBackend.durability, opening.durability, url)
        return self.backend(path)


SOUND = Journal(JournalBackend)
