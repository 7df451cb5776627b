"""Snapshots: the whole of a session as one compressed, checksummed document (D70-13, D70-31)."""

import zlib
from hashlib import sha256
from typing import Any, Final

import attrs

from quantkeep import documents
from quantkeep.blobs import BlobRef, Blobs
from quantkeep.errors import Corrupt, TooLarge
from quantkeep.hosts import Hosts
from quantkeep.sessions.records import SnapshotRecord

MAX_BYTES: Final = 256 * 2**20  # of the document; more is refused, written or read
INLINE_BYTES: Final = 128 * 2**10  # compressed; more goes into a blob, so that listings stay quick
_LEVEL: Final = 1  # of zlib: the quickest, and a fifth larger than the best on real state


@attrs.frozen(kw_only=True)
class Snapshot:
    """A session as it was: what :meth:`SessionStore.snapshot` gives.

    Attributes:
        record: what is listed of it.
        sections: its state, in plain values of its own.
        config: the configuration of its run.
    """

    record: SnapshotRecord
    sections: dict[str, Any]
    config: Any

    @property
    def revision(self) -> int:
        """Its number in the session's history."""
        return self.record.revision or 0


def packed(config: str, sections: str, blobs: Blobs) -> dict[str, Any]:
    """The fields of a snapshot that hold and describe its document; a large one is staged.

    Args:
        config: canonical text of the configuration.
        sections: canonical text of the state.
        blobs: where a large document is staged.

    Raises:
        TooLarge: the document exceeds ``MAX_BYTES``.
    """
    content = f'{{"config":{config},"sections":{sections}}}'.encode()
    if len(content) > MAX_BYTES:
        raise TooLarge(
            f"a state of {len(content):,} bytes",
            record="session", field="snapshot", value=len(content),
            expected=f"at most {MAX_BYTES:,}",
        )  # fmt: skip
    stored = zlib.compress(content, _LEVEL)
    inline = len(stored) <= INLINE_BYTES
    return {
        "body": stored if inline else None,
        "blob": None if inline else blobs.write(stored).as_document(),
        "stored_bytes": len(stored),
        "body_bytes": len(content),
        "body_sha256": sha256(content).digest(),
    }


def checked(record: SnapshotRecord, blobs: Blobs) -> str:
    """The document of *record*, held against its size and checksum.

    Raises:
        Corrupt: it is not what was written, or a chunk of it is missing.
        TooLarge: it declares more than ``MAX_BYTES``; nothing was allocated.
    """
    if record.body_bytes > MAX_BYTES or record.stored_bytes > MAX_BYTES:
        raise TooLarge(
            f"a snapshot that declares {record.body_bytes:,} bytes",
            record="SnapshotRecord",
            field="body_bytes",
            value=record.body_bytes,
            expected=f"at most {MAX_BYTES:,}",
        )
    content = _decompressed(record, _stored(record, blobs))
    if len(content) != record.body_bytes or sha256(content).digest() != record.body_sha256:
        raise damaged(record, "its content does not match its checksum")
    return content.decode()


def opened(record: SnapshotRecord, blobs: Blobs, hosts: Hosts) -> Snapshot:
    """The snapshot of *record*, its document checked and decoded.

    Raises:
        Corrupt: as :func:`checked`.
        InvalidValue: an object's class is not registered; ``field`` is the path to it.
    """
    document = documents.decode(checked(record, blobs), hosts)
    return Snapshot(record=record, sections=document["sections"], config=document["config"])


def _stored(record: SnapshotRecord, blobs: Blobs) -> bytes:
    if record.body is not None:
        return record.body
    try:
        return blobs.read(BlobRef.from_document(record.blob or {}), limit=record.stored_bytes)
    except TooLarge:
        raise damaged(record, "its blob is larger than it says") from None


def _decompressed(record: SnapshotRecord, stored: bytes) -> bytes:
    # Never more than was declared, whatever the stream would unfold to.
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(stored, record.body_bytes + 1)
    except zlib.error as error:
        raise damaged(record, f"it cannot be decompressed ({error})") from None
    if not reader.eof or reader.unused_data:
        raise damaged(record, "it does not unfold to the size it declares")
    return content


def damaged(record: SnapshotRecord, how: str) -> Corrupt:
    """The error for a snapshot that is not what was written."""
    return Corrupt(
        f"snapshot {record.revision} of session {record.session_id!r} is corrupt: {how}",
        locator=f"session_snapshots({record.session_id!r}, {record.revision})",
    )
