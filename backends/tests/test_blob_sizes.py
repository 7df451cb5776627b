"""How large a staged blob is, asked of each engine that knows it without reading the blob."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import quantkeep
from quantkeep import Keep
from quantkeep.cli import main
from quantkeep_conformance.scratch import Scratch


@pytest.fixture(params=["json", "sqlite", "parquet", "postgresql", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param in ("json", "sqlite", "parquet"):
        yield f"{request.param}:///{tmp_path}/keep"
        return
    scratch = Scratch(request.getfixturevalue(f"{request.param}_server").url)
    yield scratch.place()
    scratch.close()


@pytest.fixture
def unread(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keep]:
    """A keep, none of whose blobs may be read."""
    with quantkeep.open(url) as keep:

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
def test_garbage_is_collected_without_reading_it(unread, url, capsys):
    for digest, data in (("aa", b"\0one"), ("bb", b"three")):
        unread.backend.put_blob(digest, data)
    assert main(["gc", url, "--older-than", "0s", "-f", "json"]) == 0
    assert '"2 pieces of blobs"' in (said := capsys.readouterr().out)
    assert '"bytes": 9' in said
    assert [*unread.backend.list_blobs()] == []
