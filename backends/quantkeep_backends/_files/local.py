"""A folder of the local file system, written durably and created exclusively.

fsspec's own local file system neither syncs nor creates exclusively, so it is not used here.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from quantkeep.backend import Durability
from quantkeep.errors import Busy, PermissionDenied, WriterPoisoned, scrubbed
from quantkeep.failpoints import passing
from quantkeep_backends._files import durable
from quantkeep_backends._files.lock import FolderLock
from quantkeep_backends._files.medium import Entry

LOCK: Final = "lock"


class LocalFiles:
    """Files below a folder; see :class:`quantkeep_backends._files.medium.Files`."""

    durability = Durability.DISK
    asking_is_cheap = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = str(path)
        self._lock: FolderLock | None = None
        self._threads = threading.Lock()
        self._folders: set[Path] = set()

    def create(self, name: str, data: bytes) -> bool:
        path = self._made(name)
        temporary = self._temporary(path, data)
        with durable.told(str(path)):
            try:
                passing("files.create.link")
                os.link(temporary, path, follow_symlinks=False)
            except FileExistsError:
                return False
            finally:
                with contextlib.suppress(OSError):  # it is cleared away later
                    temporary.unlink()
        self._settle(path)
        return True

    def _temporary(self, path: Path, data: bytes) -> Path:
        """A file beside *path* that holds *data*, synced."""
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with durable.told(str(path)):
            descriptor = os.open(temporary, flags, durable.FILE_MODE)
            try:
                passing("files.create.write")
                durable.write_all(descriptor, data)
                durable.sync(descriptor, str(path))
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)
        return temporary

    def _settle(self, path: Path) -> None:
        """Make the name last; from here on, others may have seen it."""
        try:
            passing("files.create.linked")
            durable.sync_folder(path.parent)
        except WriterPoisoned:
            raise
        except OSError as error:
            raise WriterPoisoned(
                f"{path} was made, and could not be made to last: {error.strerror}; open it again"
            ) from scrubbed(error)

    def write(self, name: str, data: bytes) -> None:
        durable.replace(self._made(name), data)

    def replace(self, name: str, data: bytes, known: Entry | None) -> bool:
        if self.look(name) != known:
            return False
        self.write(name, data)
        return True

    def read(self, name: str) -> bytes | None:
        return durable.read(self._at(name))

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        return [self.read(name) for name in names]

    def piece(self, name: str, start: int, length: int) -> bytes | None:
        path = self._at(name)
        with durable.told(str(path)):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                return os.pread(descriptor, length, start)
            finally:
                os.close(descriptor)

    def look(self, name: str) -> Entry | None:
        path = self.path / name
        with durable.told(str(path)), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(path)
            return Entry(name, status.st_size, status.st_mtime_ns // 1_000)
        return None

    def remove(self, name: str, known: Entry | None = None) -> None:
        path = self._at(name)
        if known is not None and self.look(name) != known:
            return
        with durable.told(str(path)):
            path.unlink(missing_ok=True)

    def entries(self, folder: str, after: str = "") -> Iterator[Entry]:
        with durable.told(self.root), contextlib.suppress(FileNotFoundError):
            for found in sorted(os.scandir(self.path / folder), key=lambda found: found.name):
                name = f"{folder}/{found.name}".removeprefix("/")
                if found.is_dir(follow_symlinks=False):
                    yield from self.entries(name, after)
                    continue
                if name <= after:
                    continue
                with contextlib.suppress(FileNotFoundError):  # removed since
                    status = found.stat(follow_symlinks=False)
                    yield Entry(name, status.st_size, status.st_mtime_ns // 1_000)

    @contextlib.contextmanager
    def turn(self, patience: float, *, must: bool = False) -> Iterator[bool]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._alone(patience))
            except Busy:
                if must:
                    raise
                yield False
            else:
                yield True

    @contextlib.contextmanager
    def _alone(self, patience: float) -> Iterator[None]:
        """Hold the lock of the folder, which is the whole handle's, for one thread of it."""
        if not self._threads.acquire(timeout=patience):
            raise Busy(f"{self.root} was used by another thread for {patience:g} s")
        try:
            if self._lock is None:
                durable.make_folder(self.path)
                self._lock = FolderLock(self.path / LOCK, patience)
            with self._lock.held(patience):
                yield
        finally:
            self._threads.release()

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # -- paths -------------------------------------------------------------------------------------

    def _at(self, name: str) -> Path:
        """The path of *name*, none of whose folders is a symbolic link."""
        path = self.path / name
        self._no_links(path.parent)
        return path

    def _no_links(self, folder: Path) -> None:
        if folder in self._folders or folder == self.path:
            return
        self._no_links(folder.parent)
        if folder.is_symlink():
            raise PermissionDenied(f"{folder} is a symbolic link, which is not followed")
        if folder.exists():
            self._folders.add(folder)

    def _made(self, name: str) -> Path:
        path = self._at(name)
        if path.parent not in self._folders:
            durable.make_folder(path.parent)
        return path
