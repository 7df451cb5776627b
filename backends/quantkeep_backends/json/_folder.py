"""The folder of a JSON keep, and what is where in it.

keep.json                     format, identity, generation, and the schema of the collections
journal-00000003.jsonl        what was committed since the generation began: a commit a line
records-00000003/trades.jsonl what was committed before: a record a line, in order of its key
blobs/ab/abcd...              staged bytes, by the digest of their content
lock                          held by the writer
"""

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import attrs

from quantkeep.errors import (
    FormatTooNew,
    InvalidUrl,
    PermissionDenied,
    Regression,
    scrubbed,
)
from quantkeep_backends._files import durable
from quantkeep_backends._files.proving import damaged

FORMAT: Final = 2  # of format 1, the lines of the journal have no headings
_GENERATION: Final = re.compile(r"(?:journal-(\d{8,})\.jsonl|records-(\d{8,}))")
_UNFINISHED: Final = re.compile(r"\.(?:keep\.json|journal-\d{8,}\.jsonl)\.[0-9a-f]{16}\.tmp")


@attrs.frozen
class Heading:
    """What ``keep.json`` says."""

    identity: str
    generation: int
    commits: int = 0  # before this generation
    description: str | None = None
    files: tuple[str, ...] | None = None  # of records; unless an earlier version wrote it, of all
    format: int = FORMAT

    def text(self) -> bytes:
        """The content of the file, which proves itself."""
        said = attrs.asdict(self)
        said["description"] = None
        if self.files is None:
            del said["files"]
        text = json.dumps(said, indent=1, sort_keys=True) + "\n"
        if self.description:
            text = text.replace('"description": null', _indented(self.description), 1)
        body = text.encode()
        proof = b',\n "sha256": "%s"\n}\n' % sha256(body).hexdigest().encode()
        return body.removesuffix(_END) + proof


@lru_cache(maxsize=4)
def _indented(description: str) -> str:
    """The field of it; it takes milliseconds, and most headings say what the last one did."""
    said = json.dumps(json.loads(description), indent=1, sort_keys=True)
    return '"description": ' + said.replace("\n", "\n ")


_END: Final = b"\n}\n"
_PROOF: Final = re.compile(rb',\n "sha256": "([0-9a-f]{64})"\n}\n\Z')


def _is_proved(data: bytes) -> bool:
    """Whether the last field, taken out again, is the digest of the rest."""
    proof = _PROOF.search(data)
    if proof is None:
        return False
    return sha256(data[: proof.start()] + _END).hexdigest().encode() == proof[1]


class Folder:
    """Paths, and the heading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heading_path = path / "keep.json"

    def journal(self, generation: int) -> Path:
        return self.path / f"journal-{generation:08}.jsonl"

    def records(self, generation: int) -> Path:
        return _no_link(self.path / f"records-{generation:08}")

    def blob(self, digest: str) -> Path:
        return _no_link(_no_link(self.path / "blobs") / digest[:2]) / digest

    def generation_of(self, name: str) -> int | None:
        """Whose journal or records are called *name*; ``None``: the file is something else."""
        match = _GENERATION.fullmatch(name)
        return match and int(match[1] or match[2])

    def stamp(self) -> tuple[int, int] | None:
        """Changes whenever the heading does."""
        try:
            status = os.lstat(self.heading_path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise durable.typed(error, str(self.heading_path)) from scrubbed(error)
        return status.st_ino, status.st_mtime_ns

    def heading(self) -> Heading:
        """What ``keep.json`` says.

        Raises:
            Regression: it is gone. Corrupt, FormatTooNew: it cannot be read.
        """
        data = durable.read(self.heading_path)
        if data is None:
            raise Regression(f"{self.heading_path} is gone", locator=str(self.heading_path))
        return _understood(data, self.heading_path)

    def write(self, heading: Heading) -> None:
        """Put *heading* in place of the old one."""
        durable.replace(self.heading_path, heading.text())

    def blobs(self) -> Iterator[tuple[str, int]]:
        """Each staged blob, and when it was staged, in microseconds."""
        with durable.told(str(self.path)):
            for path in sorted((self.path / "blobs").glob("??/*")):
                if not path.name.startswith("."):
                    with suppress(FileNotFoundError):  # deleted since
                        yield path.name, path.stat().st_mtime_ns // 1000

    def size(self) -> int:
        """Bytes that the files take."""
        total = 0
        with durable.told(str(self.path)):
            for path in self.path.rglob("*"):
                with suppress(FileNotFoundError):  # deleted since
                    total += path.lstat().st_size if path.is_file() else 0
        return total

    def records_size(self, generation: int) -> int:
        """Bytes of the records of *generation*."""
        records = self.records(generation)
        with durable.told(str(records)), suppress(FileNotFoundError):
            return sum(entry.stat().st_size for entry in os.scandir(records))
        return 0

    def create(self) -> None:
        """Make the first generation; the caller holds the lock, and has seen that there is none."""
        durable.replace(self.journal(1), b"")
        self.write(Heading(str(uuid.uuid4()), 1))


def _understood(data: bytes, path: Path) -> Heading:
    try:
        said: dict[str, Any] = json.loads(data)
        version = int(said["format"])
        described = said["description"] and json.dumps(said["description"], sort_keys=True)
        numbers = int(said["generation"]), int(said["commits"])
        files = tuple(map(str, said["files"])) if "files" in said else None
        heading = Heading(str(said["identity"]), *numbers, described, files, version)
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(str(path), f"it cannot be read ({error})") from None
    if version > FORMAT:
        raise FormatTooNew(
            f"{path} has format {version}, and this quantkeep reads up to {FORMAT}: upgrade "
            "quantkeep"
        )
    if not _is_proved(data):
        raise damaged(str(path), "its content does not match its own sha256")
    return heading


def _no_link(path: Path) -> Path:
    with durable.told(str(path)):
        if path.is_symlink():
            raise PermissionDenied(f"{path} is a symbolic link, which is not followed")
    return path


def check(path: Path) -> None:
    """Refuse a folder that can be no JSON keep of ours.

    Raises:
        InvalidUrl: what is there is no keep. PermissionDenied: it is somebody else's, or a symbolic
            link. Corrupt: it has lost its ``keep.json``.
    """
    with durable.told(str(path)):
        _no_link(path)
        if not path.exists():
            _check_above(path)
            return
        if not path.is_dir():
            raise InvalidUrl(f"{path} is a file; a JSON keep is a folder: name another")
        if path.stat().st_uid != os.geteuid() and os.geteuid() != 0:
            raise PermissionDenied(f"{path} belongs to another user")
        _check_names(path, {p.name for p in path.iterdir()})


def _check_names(path: Path, names: set[str]) -> None:
    if "keep.json" in names:
        return
    if any(name.startswith("records-") and _GENERATION.fullmatch(name) for name in names):
        raise damaged(str(path / "keep.json"), "it is gone, and records are there")
    if not all(
        name == "lock" or is_unfinished(name) for name in names - {"journal-00000001.jsonl"}
    ):
        raise InvalidUrl(f"{path} holds other files and no keep.json: name an empty folder")


def _check_above(path: Path) -> None:
    nearest = next(p for p in path.parents if p.exists())
    if not nearest.is_dir():
        raise InvalidUrl(f"{path}: {nearest} is a file, not a folder")


def is_unfinished(name: str) -> bool:
    """Whether *name* is of a file that a crash left half written."""
    return _UNFINISHED.fullmatch(name) is not None
