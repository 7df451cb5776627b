"""From which manifests a state can be read: from the current one, and where it is damaged, others.

A manifest is another form of the state at its commit, so each leads to the same state, with what
the log says behind it. One that is newer than a damaged commit does without it.
"""

from collections.abc import Iterator

import attrs

from quantkeep.errors import Corrupt
from quantkeep_backends._files import proving
from quantkeep_backends._files.log import Behind
from quantkeep_backends._files.medium import Files
from quantkeep_backends.parquet import _manifest
from quantkeep_backends.parquet._manifest import Manifest, Reference


@attrs.frozen
class Base:
    """Where to begin.

    Attributes:
        manifest: ``None``: with the first commit.
        damage: files that were met on the way, by name, with what is wrong with them.
    """

    manifest: Manifest | None
    damage: tuple[tuple[str, Corrupt], ...] = ()


def bases(files: Files, until: int | None = None) -> Iterator[Base]:
    """Where a reader can begin, in the order in which it is worth trying.

    Args:
        files: of the keep.
        until: the commit whose state is wanted, if it is not the last.

    Raises:
        Behind: others compact and clear away just now.
    """
    reference, manifest, damage = None, None, []
    try:
        reference = _manifest.current(files)
        manifest = None if reference is None else _named(files, reference)
    except Corrupt as error:
        name = _manifest.CURRENT if reference is None else reference.path
        damage.append((name, error))
    else:
        if manifest is None or until is None or manifest.commit <= until:
            yield Base(manifest)
    for other in _others(files):
        known = manifest is not None and other.commit == manifest.commit
        if not known and (until is None or other.commit <= until):
            yield Base(other, tuple(damage))
    if damage or manifest is not None:
        yield Base(None, tuple(damage))


def _named(files: Files, reference: Reference) -> Manifest:
    manifest = _manifest.read(files, reference)
    if manifest is None:
        if _manifest.current(files) != reference:
            raise Behind
        raise proving.damaged(f"{files.root}/{reference.path}", "it is gone")
    return manifest


def _others(files: Files) -> Iterator[Manifest]:
    """All manifests that are sound and have their files, the newest first."""
    folders = (_manifest.FOLDER, _manifest.SPARE)
    found = [entry.name for folder in folders for entry in files.entries(folder)]
    for name in sorted(found, key=lambda name: name.rpartition("/")[2], reverse=True):
        data = files.read(name)
        if data is None or "/." in name:
            continue
        try:
            manifest = Manifest.heard(proving.read(f"{files.root}/{name}", data).said)
        except Corrupt:
            continue
        if all(files.look(path) is not None for path in manifest.paths):
            yield manifest
