"""Blobs: files named by the digest of their content, staged when they were last written.

Each staging leaves a mark of its own behind the content, so that a store which knows files by their
bytes can tell a blob that was staged again from the one that was to be removed.
"""

import re
import secrets
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from quantkeep.errors import InvalidValue
from quantkeep_backends._files.medium import Files
from quantkeep_backends._files.proving import damaged

FOLDER: Final = "blobs"
_DIGEST: Final = re.compile(r"[0-9a-f]{2,128}")
_MARK: Final = 16  # bytes
_PROOF: Final = 32
_END: Final = _MARK + _PROOF
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
    content, mark, proof = data[:-_END], data[-_END:-_PROOF], data[-_PROOF:]
    if _proof(content, mark) != proof:
        raise damaged(f"{files.root}/{name}", "its content does not match its own sha256")
    return content


def size(files: Files, digest: str) -> int:
    """How many bytes a blob has; 0 if there is none."""
    found = files.look(name_of(digest))
    return 0 if found is None else max(found.size - _END, 0)


def put(files: Files, digest: str, data: bytes) -> None:
    """Stage a blob, or renew the time that it was staged at."""
    name, mark = name_of(digest), secrets.token_bytes(_MARK)
    with files.turn(_PATIENCE, must=True):
        files.write(name, bytes(data) + mark + _proof(data, mark))


def delete(files: Files, digest: str, staged_before: int | None) -> None:
    """Remove a blob, if it was last staged before that time, and is not again meanwhile."""
    name = name_of(digest)
    with files.turn(_PATIENCE, must=True):
        if staged_before is None:
            files.remove(name)
            return
        found = files.look(name)
        if found is not None and found.staged < staged_before:
            files.remove(name, found)


def listed(files: Files) -> Iterator[tuple[str, int]]:
    """Each blob, and when it was last staged."""
    for entry in files.entries(FOLDER):
        digest = entry.name.rpartition("/")[2]
        if _DIGEST.fullmatch(digest):
            yield digest, entry.staged


def _proof(content: bytes, mark: bytes) -> bytes:
    proof = sha256(content)
    proof.update(mark)
    return proof.digest()
