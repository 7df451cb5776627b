"""What LMDB wants: opened once in a process, never used in a forked child, errors told apart."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from quantkeep import errors

_lock = threading.Lock()
_open: dict[Path, "Environment"] = {}


class Environment:
    """One file of this process, shared by all handles on it."""

    def __init__(self, path: Path, map_size: int) -> None:
        self.path, self.handles, self.pid = path, 0, os.getpid()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_symlink() or Path(f"{path}-lock").is_symlink():
            raise errors.PermissionDenied(f"{path} is a symbolic link, which is not followed")
        self.lmdb = lmdb.open(str(path), map_size=map_size, subdir=False, mode=0o600)

    @classmethod
    def shared(cls, path: Path, map_size: int) -> "Environment":
        """The environment at *path*; :meth:`release` it."""
        with _lock, told(path):
            if (known := _open.get(path)) is not None and known.pid != os.getpid():
                known.lmdb.close()  # the parent's; in a child LMDB only forgets it
                known = None
            found = _open[path] = known or cls(path, map_size)
            found.handles += 1
            return found

    def release(self) -> None:
        """Close it, if this was the last handle."""
        with _lock:
            self.handles -= 1
            if not self.handles:
                self.lmdb.close()
                del _open[self.path]


class Transaction:
    """LMDB's own, with the one method that :class:`quantkeep.model.KeyValue` asks for besides."""

    def __init__(self, txn: Any) -> None:  # lmdb's types allow for views, which it gives on demand
        self._txn, self.get, self.put, self.delete = txn, txn.get, txn.put, txn.delete

    def range(self, prefix: bytes, *, backwards: bool = False) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._txn.cursor()
        found = cursor.set_range(prefix + b"\xff" * 9 if backwards else prefix)
        if backwards:  # that is the first one behind, if there is one
            found = cursor.prev() if found else cursor.last()
        while found and cursor.key().startswith(prefix):
            yield cursor.item()
            found = cursor.prev() if backwards else cursor.next()


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Raise what LMDB and the system complain of as quantkeep's own errors."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise _typed(error, path) from errors.scrubbed(error)


def _typed(error: Exception, path: Path) -> errors.QuantkeepError:
    said = f"{path}: {error}"
    match error:
        case lmdb.MapFullError() | lmdb.DiskError() | OSError(errno=errno.ENOSPC):
            return errors.StoreFull(f"{said}; nothing was written: make room, or raise map_size")
        case lmdb.CorruptedError() | lmdb.PageNotFoundError() | lmdb.InvalidError():
            return errors.Corrupt(f"{said}: restore it from a backup", locator=str(path))
        case lmdb.PanicError():
            return errors.WriterPoisoned(f"{said}; close the keep and open it again")
    return (errors.PermissionDenied if "denied" in said else errors.Unavailable)(said)
