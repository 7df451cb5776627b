"""Writes to local files that survive a power cut, and the typed errors of those that fail.

A file is written whole under a temporary name, synced, renamed, and its folder synced: a reader
sees the old content or the new, after any crash. Nothing is followed through a symbolic link.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from quantkeep.errors import (
    PermissionDenied,
    QuantkeepError,
    ReadOnly,
    StoreFull,
    Unavailable,
    WriterPoisoned,
    scrubbed,
)
from quantkeep.failpoints import passing

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED: Final = {errno.EACCES, errno.EPERM}


def typed(error: OSError, what: str) -> QuantkeepError:
    """The error that says what an :class:`OSError` means for the keep; nothing was written."""
    said = f"{what}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreFull(f"{said}; nothing was written: make room and write again")
    if error.errno == errno.EROFS:
        return ReadOnly(said)
    if error.errno in _DENIED:
        return PermissionDenied(f"{said}: give this user access")
    if error.errno == errno.ELOOP:
        return PermissionDenied(f"{what} is a symbolic link, which is not followed")
    return Unavailable(said)


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Raise what goes wrong with *what* as a typed error."""
    try:
        yield
    except OSError as error:
        if isinstance(error, QuantkeepError):
            raise
        raise typed(error, what) from scrubbed(error)


def sync(descriptor: int, what: str) -> None:
    """Sync a file to disk.

    Raises:
        WriterPoisoned: it failed. The kernel may have dropped the pages, so trying again would
            report a success that is none.
    """
    try:
        passing("files.sync")
        os.fsync(descriptor)
    except OSError as error:
        raise WriterPoisoned(
            f"{what} could not be synced: {error.strerror}; close the keep and open it again to "
            "learn what is on disk"
        ) from scrubbed(error)


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor, str(folder))
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make *folder*, its parents too, for its owner alone."""
    with told(str(folder)):
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=FOLDER_MODE)
                sync_folder(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of *data*: a single write may be cut short."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def create(path: Path, data: bytes) -> None:
    """Write the new file *path*. Its name lasts once its folder is synced."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with told(str(path)):
        descriptor = os.open(path, flags, FILE_MODE)
        try:
            passing("files.create.write")
            write_all(descriptor, data)
            sync(descriptor, str(path))
        finally:
            os.close(descriptor)


def replace(path: Path, data: bytes) -> None:
    """Make *data* the content of *path*, wholly or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with told(str(path)):
        descriptor = os.open(temporary, flags, FILE_MODE)
        try:
            passing("files.replace.write")
            write_all(descriptor, data)
            sync(descriptor, str(path))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        passing("files.replace.rename")
        temporary.replace(path)
        passing("files.replace.renamed")
        sync_folder(path.parent)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[BinaryIO | None]:
    """The file *path*, which must be no symbolic link; ``None`` if there is none."""
    with told(str(path)), contextlib.ExitStack() as closing:
        try:
            file = closing.enter_context(open(path, "rb", opener=_plainly))
        except FileNotFoundError:
            file = None
        yield file


def read(path: Path) -> bytes | None:
    """All of *path*, as :func:`reading` gives it."""
    with reading(path) as file:
        return None if file is None else file.read()


def _plainly(path: str, flags: int) -> int:
    """Through no symbolic link, and without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
