"""Blobs: files named by the digest of their content, staged when they were last written."""

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from quantkeep.errors import InvalidValue
from quantkeep_backends._files.log import damaged
from quantkeep_backends._files.medium import Files

FOLDER: Final = "blobs"
_DIGEST: Final = re.compile(r"[0-9a-f]{2,128}")
_PROOF: Final = 32  # bytes
_PATIENCE: Final = 30.0


def name_of(digest: str) -> str:
    """The file of a blob; a digest that could leave the folder is none."""
    if _DIGEST.fullmatch(digest) is None:
        raise InvalidValue(
            "is no digest", field="digest", value=digest, expected="lower-case hexadecimal"
        )
    return f"{FOLDER}/{digest[:2]}/{digest}"


def read(files: Files, digest: str) -> bytes | None:
    """The bytes of a blob, held against the checksum that is stored behind them."""
    name = name_of(digest)
    data = files.read(name)
    if data is None:
        return None
    content = data[:-_PROOF]
    if sha256(content).digest() != data[-_PROOF:]:
        raise damaged(f"{files.root}/{name}", "its content does not match its own sha256")
    return content


def put(files: Files, digest: str, data: bytes) -> None:
    """Stage a blob, or renew the time that it was staged at."""
    name = name_of(digest)
    with files.turn(_PATIENCE):
        files.write(name, bytes(data) + sha256(data).digest())


def delete(files: Files, digest: str, staged_before: int | None) -> None:
    """Remove a blob, if it was last staged before that time; nobody of this host stages it now."""
    name = name_of(digest)
    with files.turn(_PATIENCE):
        if staged_before is not None:
            found = files.look(name)
            if found is None or found.staged >= staged_before:
                return
        files.remove(name)


def listed(files: Files) -> Iterator[tuple[str, int]]:
    """Each blob, and when it was last staged."""
    for entry in files.entries(FOLDER):
        digest = entry.name.rpartition("/")[2]
        if _DIGEST.fullmatch(digest):
            yield digest, entry.staged
