"""Blobs: content too large for a record, in content-addressed chunks (Z-7).

Chunks are staged first and stay invisible until a commit stores the :class:`BlobRef` that lists
them. What no record refers to is removed by ``gc`` alone, after a grace period, so a failed commit
leaves nothing that matters. Neither writing nor reading holds more than one chunk in memory.

    blobs = Blobs(backend)
    ref = blobs.write(file)                    # or bytes
    keep.commit(table.put(Result(..., table=ref.as_document())))
    with blobs.open(BlobRef.from_document(result.table)) as content:
        ...
"""

import io
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import attrs

from quantkeep.backend import Backend
from quantkeep.errors import Corrupt, InvalidValue, TooLarge
from quantkeep.failpoints import passing

CHUNK_BYTES: Final = 2 * 2**20
MAX_CHUNK_BYTES: Final = 4 * 2**20  # what every backend takes
_DOCUMENT_KEYS: Final = ("blob", "chunk_bytes", "chunks", "size")


@attrs.frozen
class BlobRef:
    """What a record stores of a blob.

    Attributes:
        digest: SHA-256 of the whole content, hexadecimal.
        size: bytes of the whole content.
        chunks: SHA-256 of each chunk, in order; all but the last have *chunk_bytes*.
        chunk_bytes: bytes of a chunk.
    """

    digest: str
    size: int
    chunks: tuple[str, ...]
    chunk_bytes: int = CHUNK_BYTES

    def __attrs_post_init__(self) -> None:
        """Nothing is allocated on the word of a reference that contradicts itself."""
        whole = (self.size, self.chunk_bytes)
        if min(whole) < 0 or not 0 < self.chunk_bytes <= MAX_CHUNK_BYTES:
            raise InvalidValue("cannot be", record="BlobRef", field="size", value=whole)
        if len(self.chunks) != -(-self.size // self.chunk_bytes):
            raise InvalidValue(
                f"{len(self.chunks)} chunks of {self.chunk_bytes:,} bytes",
                record="BlobRef", field="chunks", value=self.size,
                expected=f"as many as {self.size:,} bytes need",
            )  # fmt: skip

    def as_document(self) -> dict[str, Any]:
        """The form in which a document column holds it, and by which ``gc`` finds it."""
        return {
            "blob": self.digest,
            "chunk_bytes": self.chunk_bytes,
            "chunks": list(self.chunks),
            "size": self.size,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The reference that :meth:`as_document` wrote; :class:`Corrupt` if it is none."""
        try:
            digest, chunk_bytes, chunks, size = (document[key] for key in _DOCUMENT_KEYS)
            return cls(digest, size, tuple(chunks), chunk_bytes)
        except (KeyError, TypeError, InvalidValue) as error:
            raise Corrupt(f"this is no reference to a blob: {error}") from None

    @staticmethod
    def find_in(document: Any) -> "Iterator[BlobRef]":
        """Every reference inside a plain *document*, for those who collect garbage."""
        if isinstance(document, Mapping):
            if sorted(document) == [*_DOCUMENT_KEYS]:
                yield BlobRef.from_document(document)
                return
            document = document.values()
        elif not isinstance(document, list | tuple):
            return
        for part in document:
            yield from BlobRef.find_in(part)


class Blobs:
    """Writing, reading and checking blobs on one backend."""

    def __init__(self, backend: Backend, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._backend = backend
        self._chunk_bytes = chunk_bytes

    def write(self, source: bytes | BinaryIO, *, limit: int | None = None) -> BlobRef:
        """Stage all of *source* (bytes, or a binary file, read from where it stands).

        Raises:
            TooLarge: there are more than *limit* bytes.
        """
        stream = io.BytesIO(source) if isinstance(source, bytes | bytearray) else source
        with self.create(limit=limit) as writer:
            while piece := stream.read(self._chunk_bytes):
                writer.write(piece)
        return writer.ref

    def create(self, *, limit: int | None = None) -> "BlobWriter":
        """A binary file to write to, for what is produced piece by piece.

        Its ``ref`` is there once it was closed; a ``with`` block that raises leaves none.
        """
        return BlobWriter(self._backend.put_blob, self._chunk_bytes, limit)

    def open(self, ref: BlobRef) -> io.BufferedReader:
        """The content as a seekable binary file; each chunk is checked as it is read.

        Raises:
            Corrupt: on reading, a chunk is missing or is not what was written.
        """
        return io.BufferedReader(_BlobReader(ref, self._backend.open_blob))

    def read(self, ref: BlobRef, *, limit: int = CHUNK_BYTES) -> bytes:
        """The whole content, if the reference declares at most *limit* bytes.

        Raises:
            TooLarge: it declares more.
            Corrupt: it is not what was written.
        """
        if ref.size > limit:
            raise TooLarge(
                f"a blob of {ref.size:,} bytes", value=ref.size, expected=f"at most {limit:,}"
            )
        return b"".join(self._checked(ref))

    def verify(self, ref: BlobRef) -> None:
        """Read everything and hold it against its digests; raises :class:`Corrupt`."""
        for _ in self._checked(ref):
            pass

    def _checked(self, ref: BlobRef) -> Iterator[bytes]:
        whole = sha256()
        for place in range(len(ref.chunks)):
            chunk = _chunk(ref, place, self._backend.open_blob)
            whole.update(chunk)
            yield chunk
        if whole.hexdigest() != ref.digest:
            raise Corrupt(
                f"blob {ref.digest} is not what its chunks make up", locator=f"blob/{ref.digest}"
            )


class BlobWriter(io.RawIOBase):
    """A binary file whose content is staged chunk by chunk, as it is written."""

    def __init__(
        self, put: Callable[[str, bytes], None], chunk_bytes: int, limit: int | None
    ) -> None:
        super().__init__()
        self._put = put
        self._chunk_bytes = chunk_bytes
        self._limit = limit
        self._whole = sha256()
        self._size = 0
        self._chunks: list[str] = []
        self._pending = bytearray()
        self._ref: BlobRef | None = None
        self._abandoned = False

    @property
    def ref(self) -> BlobRef:
        """What to store, once the file was closed; raises ``ValueError`` before."""
        if self._ref is None:
            raise ValueError("this blob was not written to its end: close it first")
        return self._ref

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        """Take *data* (anything bytes-like), staging every chunk that it completes."""
        if self.closed:
            raise ValueError("this blob is closed")
        with memoryview(data) as view, view.cast("B") as octets:
            taken = len(octets)
            self._check_limit(taken)
            self._pending += octets
        self._size += taken
        while len(self._pending) >= self._chunk_bytes:
            self._stage(bytes(self._pending[: self._chunk_bytes]))
            del self._pending[: self._chunk_bytes]
        return taken

    def _check_limit(self, more: int) -> None:
        if self._limit is not None and self._size + more > self._limit:
            self._abandoned = True
            raise TooLarge(
                "a blob of more bytes than it may have",
                value=self._size + more,
                expected=f"at most {self._limit:,} bytes",
            )

    def _stage(self, chunk: bytes) -> None:
        digest = sha256(chunk).hexdigest()
        passing("blobs.stage")
        try:
            self._put(digest, chunk)
        except BaseException:
            self._abandoned = True
            raise
        self._whole.update(chunk)
        self._chunks.append(digest)

    def close(self) -> None:
        if self.closed:
            return
        try:
            if not self._abandoned:
                self._finish()
        finally:
            super().close()

    def _finish(self) -> None:
        if self._pending:
            self._stage(bytes(self._pending))
            self._pending.clear()
        self._ref = BlobRef(
            self._whole.hexdigest(), self._size, tuple(self._chunks), self._chunk_bytes
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._abandoned = self._abandoned or kind is not None
        self.close()

    def __del__(self) -> None:
        self._abandoned = True  # nobody is left to store its reference
        super().__del__()


class _BlobReader(io.RawIOBase):
    """Random access to a blob; one chunk is held."""

    def __init__(self, ref: BlobRef, fetch: Callable[[str], bytes | None]) -> None:
        super().__init__()
        self._ref = ref
        self._fetch = fetch
        self._at = 0
        self._held: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ref.size}[whence]
        if start + offset < 0:
            raise ValueError(f"position {start + offset} is before the start")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._ref.size:
            return 0
        place, start = divmod(self._at, self._ref.chunk_bytes)
        if self._held[0] != place:
            self._held = (place, _chunk(self._ref, place, self._fetch))
        piece = self._held[1][start : start + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _chunk(ref: BlobRef, place: int, fetch: Callable[[str], bytes | None]) -> bytes:
    """One chunk, checked; raises :class:`Corrupt`."""
    digest = ref.chunks[place]
    data = fetch(digest)
    expected = min(ref.chunk_bytes, ref.size - place * ref.chunk_bytes)
    if data is None or len(data) != expected or sha256(data).hexdigest() != digest:
        state = "is missing" if data is None else "is not what was written"
        raise Corrupt(
            f"chunk {place + 1} of {len(ref.chunks)} of blob {ref.digest} {state}: "
            "restore it from a backup",
            locator=f"blob/{ref.digest}/{place}",
        )
    return data
