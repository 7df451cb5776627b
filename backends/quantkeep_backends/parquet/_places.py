"""What a folder has to be, so that it can be a keep of ours."""

import os
from pathlib import Path
from typing import Final

from quantkeep.errors import InvalidUrl, PermissionDenied
from quantkeep_backends._files import durable
from quantkeep_backends._files.local import LOCK
from quantkeep_backends._files.log import FOLDER as LOG
from quantkeep_backends.parquet import _blobs, _manifest, _segments

OURS: Final = {
    LOG, LOCK, _blobs.FOLDER, _manifest.FOLDER, _manifest.SPARE, _manifest.CURRENT,
    _segments.FOLDER,
}  # fmt: skip


def check(path: Path) -> None:
    """Refuse a folder that can be no Parquet keep.

    Raises:
        InvalidUrl: what is there is no keep. PermissionDenied: it is somebody else's, or a symbolic
            link.
    """
    with durable.told(str(path)):
        if path.is_symlink():
            raise PermissionDenied(f"{path} is a symbolic link, which is not followed")
        if not path.exists():
            _check_above(path)
            return
        if not path.is_dir():
            raise InvalidUrl(f"{path} is a file; a Parquet keep is a folder: name another")
        if path.stat().st_uid != os.geteuid() and os.geteuid() != 0:
            raise PermissionDenied(f"{path} belongs to another user")
        names = {found.name for found in path.iterdir()}
        for name in sorted(names & OURS):
            if (path / name).is_symlink():
                raise PermissionDenied(f"{path / name} is a symbolic link, which is not followed")
        if names - {LOCK} and not names & {LOG, _manifest.CURRENT}:
            raise InvalidUrl(f"{path} holds other files and no keep: name an empty folder")


def _check_above(path: Path) -> None:
    nearest = next(p for p in path.parents if p.exists())
    if not nearest.is_dir():
        raise InvalidUrl(f"{path}: {nearest} is a file, not a folder")
