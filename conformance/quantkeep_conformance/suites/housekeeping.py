"""Blobs, sizes and the rest of what stores and maintenance need (Z-7)."""

from hashlib import sha256

import pytest

from quantkeep import Keep
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.records import Entry, Specimen
from quantkeep_conformance.suites.helpers import log, put

CHUNK = bytes(range(256)) * 4096 * 4  # 4 MiB


def digest(data: bytes) -> str:
    """The name of a blob."""
    return sha256(data).hexdigest()


class Housekeeping(Suite):
    """Small promises that others build on."""

    family = "housekeeping"

    @pytest.mark.requirement("Z-7")
    def test_blobs(self, keep: Keep) -> None:
        """Blobs come back byte for byte, empty and of 4 MiB, and those unknown are None."""
        for data in (b"", b"\x00", b"text", CHUNK):
            keep.backend.put_blob(digest(data), data)
            assert keep.backend.open_blob(digest(data)) == data
            assert keep.backend.blob_size(digest(data)) == len(data)
        assert keep.backend.open_blob(digest(b"unknown")) is None
        assert keep.backend.blob_size(digest(b"unknown")) == 0

    def test_blobs_are_put_again(self, keep: Keep) -> None:
        """Putting a blob that is there changes nothing."""
        for _ in range(2):
            keep.backend.put_blob(digest(b"x"), b"x")
        assert [name for name, _ in keep.backend.list_blobs()] == [digest(b"x")]

    def test_blobs_are_listed_and_deleted(self, keep: Keep) -> None:
        """Blobs are listed with the time they were staged at, and are gone once deleted."""
        before = keep.backend.now()
        for data in (b"x", b"y"):
            keep.backend.put_blob(digest(data), data)
        listed = dict(keep.backend.list_blobs())
        assert set(listed) == {digest(b"x"), digest(b"y")}
        slack = 1_000_000  # some file systems keep time in seconds
        assert all(before - slack <= at <= keep.backend.now() for at in listed.values())
        for _ in range(2):
            keep.backend.delete_blob(digest(b"x"))
        assert [name for name, _ in keep.backend.list_blobs()] == [digest(b"y")]
        assert keep.backend.open_blob(digest(b"x")) is None

    def test_sizes(self, keep: Keep) -> None:
        """Sizes count the rows of each collection."""
        put(keep, Specimen(name="a"), Specimen(name="b"))
        log(keep, Entry())
        sizes = keep.sizes()
        assert (sizes["kit_specimens"], sizes["kit_entries"]) == (2, 1)
        assert sizes.get("kit_orders", 0) == 0
