"""Blobs: content in chunks, staged before a commit, checked on every read."""

import io
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256

import pytest

import quantkeep
from quantkeep.backend import Backend
from quantkeep.blobs import CHUNK_BYTES, BlobRef, Blobs
from quantkeep.errors import Corrupt, InvalidValue, TooLarge

SMALL = 1000


@pytest.fixture(params=["memory://", "sqlite:///{}"], ids=["memory", "sqlite"])
def backend(request, tmp_path) -> Iterator[Backend]:
    with quantkeep.open(request.param.format(tmp_path / "blobs.db")) as keep:
        yield keep.backend


@pytest.mark.requirement("Z-7", api="Blobs.write")
@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 1, 10 * SMALL, 10 * SMALL + 7])
def test_what_goes_in_comes_out_whatever_its_size(backend, size):
    content = bytes(i * 31 % 251 for i in range(size))
    blobs = Blobs(backend, chunk_bytes=SMALL)
    ref = blobs.write(content)
    assert ref.size == size
    assert ref.digest == sha256(content).hexdigest()
    assert blobs.read(ref, limit=size) == content
    assert blobs.open(ref).read() == content
    blobs.verify(ref)
    assert BlobRef.from_document(ref.as_document()) == ref


@pytest.mark.requirement("Z-7", api="Blobs.write")
def test_a_file_is_as_good_as_bytes_and_equal_content_is_stored_once(backend):
    content = b"candles" * 5000
    blobs = Blobs(backend, chunk_bytes=SMALL)
    assert blobs.write(io.BytesIO(content)) == blobs.write(content)
    staged = [digest for digest, _ in backend.list_blobs()]
    assert len(staged) == len(set(staged))


def test_reading_anywhere_as_parquet_readers_do(backend):
    content = bytes(range(256)) * 40
    blobs = Blobs(backend, chunk_bytes=SMALL)
    file = blobs.open(blobs.write(content))
    file.seek(-8, io.SEEK_END)
    assert file.read() == content[-8:]
    file.seek(SMALL - 3)
    assert file.read(6) == content[SMALL - 3 : SMALL + 3]
    assert file.seek(len(content) + 5) == len(content) + 5
    assert file.read(1) == b""


def test_pieces_of_any_length_make_the_same_blob(backend):
    content = bytes(range(256)) * 40
    blobs = Blobs(backend, chunk_bytes=SMALL)
    with blobs.create() as writer:
        for start in range(0, len(content), 37):
            writer.write(memoryview(content)[start : start + 37])
    assert writer.ref == blobs.write(content)


def test_a_block_that_raises_leaves_no_reference(backend):
    writer = Blobs(backend).create()
    with suppress(RuntimeError), writer:
        writer.write(b"half a table")
        raise RuntimeError
    with pytest.raises(ValueError, match="not written to its end"):
        _ = writer.ref


@pytest.mark.requirement("Z-7", api="Blobs.write")
def test_neither_side_holds_more_than_a_chunk_or_two(tmp_path):
    class Zeros(io.RawIOBase):
        left = 40 * 2**20

        def read(self, size=-1):
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    with quantkeep.open("memory://") as keep:  # all chunks are equal, so they are stored once
        tracemalloc.start()
        ref = Blobs(keep.backend).write(Zeros())
        file = Blobs(keep.backend).open(ref)
        while file.read(CHUNK_BYTES):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert ref.size == 40 * 2**20
    assert peak < 8 * CHUNK_BYTES


@pytest.mark.requirement("Z-6", api="Blobs.open")
def test_a_chunk_that_was_changed_or_lost_is_corrupt_never_wrong(backend):
    blobs = Blobs(backend, chunk_bytes=SMALL)
    ref = blobs.write(b"abc" * SMALL)
    good = backend.open_blob(ref.chunks[1])
    backend.delete_blob(ref.chunks[1])
    for read in (blobs.verify, lambda r: blobs.open(r).read(), blobs.read):
        with pytest.raises(Corrupt, match=r"chunk 2 of 3 .* is missing") as caught:
            read(ref)
        assert caught.value.locator == f"blob/{ref.digest}/1"
    backend.put_blob(ref.chunks[1], good[:-1] + b"!")
    with pytest.raises(Corrupt, match="not what was written"):
        blobs.verify(ref)


def test_chunks_in_another_order_are_corrupt(backend):
    blobs = Blobs(backend, chunk_bytes=SMALL)
    ref = blobs.write(b"a" * SMALL + b"b" * SMALL)
    swapped = BlobRef(ref.digest, ref.size, ref.chunks[::-1], SMALL)
    with pytest.raises(Corrupt, match="not what its chunks make up"):
        blobs.verify(swapped)


def test_limits_are_held_before_anything_is_allocated(backend):
    blobs = Blobs(backend, chunk_bytes=SMALL)
    with pytest.raises(TooLarge, match="at most 10 bytes"):
        blobs.write(b"x" * 11, limit=10)
    ref = blobs.write(b"x" * 11)
    with pytest.raises(TooLarge, match="at most 10"):
        blobs.read(ref, limit=10)


@pytest.mark.parametrize(
    "document",
    [{}, {"blob": "a", "size": 5}, {"blob": "a", "chunk_bytes": 1, "chunks": [], "size": 2**60}],
)
def test_a_reference_that_contradicts_itself_is_refused(document):
    with pytest.raises(Corrupt, match="no reference to a blob"):
        BlobRef.from_document(document)
    with pytest.raises(InvalidValue):
        BlobRef("a", 2**60, (), 1)


def test_references_are_found_wherever_a_document_holds_them(backend):
    ref, other = Blobs(backend).write(b"one"), Blobs(backend).write(b"two")
    document = {"tables": [ref.as_document(), {"x": 1}], "extra": {"deep": other.as_document()}}
    assert [*BlobRef.find_in(document)] == [ref, other]
    assert [*BlobRef.find_in("text")] == []
