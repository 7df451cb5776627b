"""What ``quantkeep verify --deep`` and ``quantkeep gc`` do in the folder of a JSON keep."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from quantkeep.backend import Garbage
from quantkeep.errors import Corrupt, QuantkeepError
from quantkeep.progress import counted
from quantkeep_backends._files import durable
from quantkeep_backends.json import _generations
from quantkeep_backends.json._entries import unchecked
from quantkeep_backends.json._folder import Folder, is_unfinished
from quantkeep_backends.json._lines import Damaged, corrupt


def scrub(folder: Folder, generation: int) -> Iterator[str]:
    """Read what is beside *generation*: the one before, and all blobs; not what a crash left."""
    with durable.told(str(folder.path)):
        files = [*sorted(path for path in folder.path.glob("blobs/??/*") if path.is_file())]
        files += sorted(folder.records(generation - 1).glob("*.jsonl"))
        files += [path for path in [folder.journal(generation - 1)] if path.exists()]
    for path in counted(files, "reading files", len(files)):
        try:
            _check(folder, path)
        except QuantkeepError as error:
            yield str(error)


def _check(folder: Folder, path: Path) -> None:
    if path.parent == folder.path:
        _check_journal(path)
    elif folder.generation_of(path.parent.name) is None:
        _check_blob(path)
    else:
        for _ in _generations.lines_of(path, None):
            pass


def _check_blob(path: Path) -> None:
    data = durable.read(path)
    if data is not None and sha256(data).hexdigest() != path.name and not path.name.startswith("."):
        raise Corrupt(f"{path}: its bytes are not those it is named after", locator=str(path))


def _check_journal(path: Path) -> None:
    """All lines but the last, which may be of a commit that is being written."""
    *lines, _ = (durable.read(path) or b"").split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            unchecked(line)
        except Damaged as error:
            if number < len(lines):
                raise corrupt(path, number, error) from None


def garbage(folder: Folder, generation: int, before: int) -> Iterator[tuple[Path, Garbage]]:
    """What is in the folder beside *generation*, and was not touched since."""
    with durable.told(str(folder.path)):
        for path in [*sorted(folder.path.iterdir()), *sorted(folder.path.glob("blobs/??/.*.tmp"))]:
            why = _why(folder, generation, path)
            with suppress(FileNotFoundError):  # a compaction beside this was first
                since = path.lstat().st_mtime_ns // 1_000
                if why is not None and since < before:
                    name = str(path.relative_to(folder.path))
                    yield path, Garbage(name, _size(path), since, why)


def _why(folder: Folder, generation: int, path: Path) -> str | None:
    if is_unfinished(path.name) or path.name.endswith(".tmp"):
        return "left by a crash"
    found = folder.generation_of(path.name)
    if found is None or found == generation:
        return None
    return "replaced by compaction" if found < generation else "left by a crash"


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    return sum(file.lstat().st_size for file in path.iterdir())


def remove(folder: Folder, generation: int, before: int) -> list[Garbage]:
    """Remove it; the caller holds the lock, so that nobody is writing any of it."""
    removed = []
    for path, found in [*garbage(folder, generation, before)]:
        with durable.told(str(path)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        removed.append(found)
    return removed
