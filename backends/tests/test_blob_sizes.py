"""How large a staged blob is, asked of each engine that knows it without reading the blob."""

from collections.abc import Iterator
from typing import Any

import pytest

import quantkeep
from quantkeep import Keep
from quantkeep.cli import main


@pytest.fixture
def unread(engine_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keep]:
    """A keep, none of whose blobs may be read."""
    with quantkeep.open(engine_url) as keep:

        def read(self: Any, digest: str) -> bytes:
            raise AssertionError(f"{digest} was read")

        monkeypatch.setattr(type(keep.backend.usable()), "open_blob", read)
        yield keep


@pytest.mark.requirement("Z-7")
def test_the_size_of_a_blob_is_told_without_reading_it(unread):
    backend = unread.backend
    for digest, data in (("aa", b"\0one"), ("bb", b""), ("cc", b"x" * 3_000_000)):
        backend.put_blob(digest, data)
        assert backend.blob_size(digest) == len(data)
    assert backend.blob_size("dd") == 0
    backend.delete_blob("aa")
    assert backend.blob_size("aa") == 0


@pytest.mark.requirement("Z-7")
def test_garbage_is_collected_without_reading_it(unread, engine_url, capsys):
    for digest, data in (("aa", b"\0one"), ("bb", b"three")):
        unread.backend.put_blob(digest, data)
    assert main(["gc", engine_url, "--older-than", "0s", "-f", "json"]) == 0
    assert '"2 pieces of blobs"' in (said := capsys.readouterr().out)
    assert '"bytes": 9' in said
    assert [*unread.backend.list_blobs()] == []
