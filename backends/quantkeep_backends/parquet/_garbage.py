"""What no reader can have a use for any more, and whether every file is what was written.

A file goes when nothing that is current names it, and nothing that was current since names it: not
a manifest that was the newest one since, and no commit behind the oldest of these.
"""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import attrs

from quantkeep.backend import Garbage
from quantkeep.errors import QuantkeepError
from quantkeep.failpoints import passing
from quantkeep.progress import counted
from quantkeep_backends._files import durable, log, proving
from quantkeep_backends._files.medium import Entry, Files
from quantkeep_backends.parquet import _blobs, _manifest, _segments
from quantkeep_backends.parquet._entries import segments_of
from quantkeep_backends.parquet._manifest import Manifest, Reference
from quantkeep_backends.parquet._state import State

_WHY: Final = {
    log.FOLDER: "folded by compaction",
    _manifest.FOLDER: "replaced by compaction",
    _manifest.SPARE: "replaced by compaction",
    _segments.FOLDER: "nothing refers to it",
}


@attrs.frozen
class _Needed:
    """What must stay.

    Attributes:
        manifests: by path, those that somebody may have begun with.
        segments: by path.
        commit: the first that must stay in the log.
    """

    manifests: frozenset[str]
    segments: frozenset[str]
    commit: int


def found(files: Files, state: State, before: int) -> list[Garbage]:
    """What is not needed since *before*; commits in the order in which they may go."""
    needed = _needed(files, state, before)
    return [
        Garbage(entry.name, entry.size, entry.staged, why)
        for entry in files.entries("")
        if entry.staged < before and (why := _why(files, entry, needed)) is not None
    ]


def remove(files: Files, state: State, before: int) -> list[Garbage]:
    """Remove it; says what was removed."""
    removed = found(files, state, before)
    for each in counted(removed, "removing files", len(removed)):
        with durable.told(files.root):
            passing("parquet.garbage.remove")
        files.remove(each.name)
    return removed


def _why(files: Files, entry: Entry, needed: _Needed) -> str | None:
    folder, _, name = entry.name.rpartition("/")
    if name.startswith(".") and name.endswith(".tmp"):
        return "left by a crash"
    top = folder.partition("/")[0]
    if top == log.FOLDER:
        number = log.number_of(entry.name)
        stays = number is None or number >= needed.commit or _is_recent(files, entry)
    elif top in (_manifest.FOLDER, _manifest.SPARE):
        stays = f"{_manifest.FOLDER}/{name}" in needed.manifests
    elif top == _segments.FOLDER:
        stays = entry.name in needed.segments
    else:
        return None
    return None if stays else _WHY[top]


def _is_recent(files: Files, entry: Entry) -> bool:
    """Whether a handle may still take this commit to be there without looking."""
    age = time.time() - entry.staged / 1_000_000
    return not files.asking_is_cheap and age < 3 * log.TRUSTED


def _needed(files: Files, state: State, before: int) -> _Needed:
    current = _manifest.current(files)
    if current is None:
        return _Needed(frozenset(), frozenset(_of_state(files, state, 0)), 0)
    staying = {current.path, *_recent_manifests(files, current, before)}
    manifests = [m for path in sorted(staying) if (m := _read(files, path)) is not None]
    commit = min(manifest.commit for manifest in manifests)
    segments = {path for manifest in manifests for path in manifest.paths}
    segments.update(_of_state(files, state, commit))
    return _Needed(frozenset(staying), frozenset(segments), commit)


def _recent_manifests(files: Files, current: Reference, before: int) -> Iterator[str]:
    """Manifests that were the newest one since *before*, or are to become it."""
    known = sorted(files.entries(_manifest.FOLDER))
    for entry, successor in pairwise(known):
        if successor.staged >= before:
            yield entry.name
    if known and known[-1].name > current.path:
        yield known[-1].name


def _of_state(files: Files, state: State, commit: int) -> Iterator[str]:
    """The segments of the state, and of every commit behind *commit* that led to it."""
    yield from state.paths()
    for number in range(commit + 1, state.log.number + 1):
        data = files.read(log.name_of(number))
        if data is not None:
            said = proving.read(f"{files.root}/{log.name_of(number)}", data, number).said
            yield from (segment.path for _, segment in segments_of(said))


def _read(files: Files, path: str) -> Manifest | None:
    data = files.read(path)
    if data is None or path.rpartition("/")[2].startswith("."):
        return None
    return Manifest.heard(proving.read(f"{files.root}/{path}", data).said)


# -- every byte ------------------------------------------------------------------------------------


def scrub(files: Files, state: State) -> Iterator[str]:
    """Hold every file that is in use against its checksum; each line names a problem."""
    segments = {segment.path: segment for segment in state.segments()}
    entries = [*files.entries("")]
    for entry in counted(entries, "reading files", len(entries)):
        try:
            _check(files, entry)
            if entry.name in segments:
                state.tables.reader.check(segments.pop(entry.name))
        except QuantkeepError as error:
            yield str(error)
    there = {entry.name for entry in entries}
    yield from (str(h.error) for name, h in state.harms.found.items() if name not in there)
    for path in sorted(segments):
        yield f"{files.root}/{path} is gone: restore it from a backup"


def _check(files: Files, entry: Entry) -> None:
    top, _, name = entry.name.partition("/")
    if name.startswith(".") or "/." in name:
        return
    if top in (log.FOLDER, _manifest.FOLDER, _manifest.SPARE):
        data = files.read(entry.name)
        if data is not None:
            proving.read(f"{files.root}/{entry.name}", data)
    elif top == _blobs.FOLDER:
        _blobs.read(files, name.rpartition("/")[2])
    elif entry.name == _manifest.CURRENT:
        _manifest.current(files)
