"""Published vectors of the row digest: another implementation can check itself against them."""

import pytest

from quantkeep.columns import Column, Kind
from quantkeep.digests import RowDigest

COLUMNS = (
    Column(name="symbol", kind=Kind.TEXT),
    Column(name="qty", kind=Kind.REAL, nullable=True),
    Column(name="at", kind=Kind.TIMESTAMP, nullable=True),
    Column(name="raw", kind=Kind.BINARY, nullable=True),
    Column(name="ok", kind=Kind.BOOLEAN, nullable=True),
)
VECTORS = [
    (("BTC", None, None, None, None), b"symbol\nBTC"),
    (
        ("BTC", 1.5, 1_000_000, b"\x0f", True),
        b"at,ok,qty,raw,symbol\n"
        + bytes.fromhex("00000000000f424000000000000000013ff8000000000000")
        + b"0f\0BTC",
    ),
    (
        ("☕", -0.0, None, None, None),
        b"qty,symbol\n" + bytes.fromhex("8000000000000000") + "☕".encode(),
    ),
]


@pytest.mark.requirement("Z-1", "Z-6", api="quantkeep.digests.RowDigest")
@pytest.mark.parametrize(("row", "content"), VECTORS)
def test_the_canonical_content_is_as_published(row: tuple, content: bytes) -> None:
    assert RowDigest(COLUMNS).content(row) == content


def test_the_digest_is_as_published() -> None:
    assert RowDigest(COLUMNS)(VECTORS[0][0]).hex() == "71db6e4cafc7ede68d07de0b12dcbefe"


@pytest.mark.requirement("Z-1")
def test_a_column_added_later_does_not_change_older_digests() -> None:
    wider = (*COLUMNS, Column(name="aa", kind=Kind.TEXT, nullable=True))
    row = VECTORS[1][0]
    assert RowDigest(wider)((*row, None)) == RowDigest(COLUMNS)(row)
    assert RowDigest(wider)((*row, "x")) != RowDigest(COLUMNS)(row)


def test_an_int_where_a_real_belongs_is_not_passed_over() -> None:
    with pytest.raises(TypeError, match="qty holds a int"):
        RowDigest(COLUMNS)(("BTC", 1, None, None, None))
