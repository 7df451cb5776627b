"""The file, before SQLite sees it: whose it is, where it stands, how it is made.

A file that this process may have open through SQLite is never opened here: closing any descriptor
of it would drop SQLite's locks (https://www.sqlite.org/howtocorrupt.html, 2.2). So this module
looks at names and metadata only, and opens what it has itself just made.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

from quantkeep.errors import (
    InvalidUrl,
    NotFound,
    PermissionDenied,
    Unsupported,
)
from quantkeep.failpoints import passing

_MOUNTS = "/proc/self/mountinfo"
_REMOTE: Final = frozenset({
    "9p", "afs", "afp", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "lustre", "ncpfs", "nfs",
    "nfs4", "smb3", "smbfs",
})  # fmt: skip
_VOLATILE: Final = frozenset({"ramfs", "tmpfs"})


def is_there(path: Path, *, any_owner: bool = False) -> bool:
    """Whether there is a file at *path* that may be opened.

    Raises:
        NotFound: the folder is not there.
        InvalidUrl: it is a folder, or another thing that is no file.
        PermissionDenied: it is a symbolic link, or another user's.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        _check_folder(path)
        return False
    except NotADirectoryError:
        raise InvalidUrl(f"{path}: {path.parent} is a file, not a folder") from None
    except PermissionError:
        raise PermissionDenied(f"{path}: this user may not look into {path.parent}") from None
    _check_kind(path, found.st_mode)
    if found.st_uid != os.geteuid() and not any_owner:
        raise PermissionDenied(
            f"{path} belongs to user {found.st_uid}, and this process runs as {os.geteuid()}: "
            "run as its owner, or say ?owner=any if that is meant"
        )
    return True


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise NotFound(f"{path}: the folder {path.parent} is not there: make it first")


def _check_kind(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise PermissionDenied(
            f"{path} is a symbolic link, which somebody else may have made: name the file itself"
        )
    if stat.S_ISDIR(mode):
        raise InvalidUrl(f"{path} is a folder: name a file in it, such as {path}/bot.db")
    if not stat.S_ISREG(mode):
        raise InvalidUrl(f"{path} is no regular file")


def make(path: Path) -> None:
    """Make the empty file that SQLite will fill, readable by its owner alone."""
    passing("sqlite.create.file")
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return  # another process was first, and makes the same
    os.close(handle)


def filesystem(path: Path) -> str:
    """The type of the file system that *path* is on, as the kernel calls it; empty if unknown."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
            lines = mounts.read().splitlines()[::-1]  # the last mount on a point is the one seen
    except OSError:
        return ""
    where = os.path.realpath(path.parent)
    mounts_above = [found for line in lines if _is_under(where, (found := _mount(line))[0])]
    return max(mounts_above, key=lambda mount: len(mount[0]), default=("", ""))[1]


def _mount(line: str) -> tuple[str, str]:
    """Mount point and type that a line of the kernel's table tells of."""
    before, _, after = line.partition(" - ")
    point = re.sub(r"\\(\d{3})", lambda escaped: chr(int(escaped[1], 8)), before.split(" ")[4])
    return point, after.split(" ")[0]


def _is_under(where: str, point: str) -> bool:
    return where == point or where.startswith(point.rstrip("/") + "/")


def is_remote(filesystem: str) -> bool:
    """Whether locks and shared memory cannot be trusted on this type of file system."""
    return filesystem in _REMOTE or filesystem.startswith("fuse")


def is_volatile(filesystem: str) -> bool:
    """Whether a power cut empties this type of file system."""
    return filesystem in _VOLATILE


def refuse_remote(path: Path, filesystem: str, *, allowed: bool) -> None:
    """Refuse a network file system, on which SQLite's log corrupts sooner or later."""
    if is_remote(filesystem) and not allowed:
        raise Unsupported(
            f"{path} is on a network file system ({filesystem}), where SQLite's write-ahead log "
            "corrupts: put it on a local disk, use postgresql://, or say ?network=allow if only "
            "one machine ever opens it"
        )


def has_log(path: Path) -> bool:
    """Whether a write-ahead log with content stands beside *path*."""
    try:
        return os.stat(f"{path}-wal").st_size > 0
    except OSError:
        return False
