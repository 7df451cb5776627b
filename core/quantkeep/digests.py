"""The digest of a row: what proves that a record came back as it went in (Z-1, Z-6).

The canonical content of a row is, over its non-null columns in the order of their names:

1. the names, joined by ``,``, and a line feed;
2. each INTEGER, TIMESTAMP and BOOLEAN as eight bytes, big-endian two's complement, and each REAL
   as eight bytes of IEEE 754, big-endian;
3. all others as text (BINARY in lower-case hexadecimal), joined by NUL, in UTF-8.

Its digest is BLAKE2b of 16 bytes. Null columns take no part, so a column added later does not
change the digest of older rows; stamps and revision take none either, so copies can be compared.
"""

import struct
from collections.abc import Callable, Sequence
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

from quantkeep.columns import CANONICAL_TYPES, Column, Kind, Row

DIGEST_BYTES = 16
FIXED = {Kind.INTEGER: "q", Kind.TIMESTAMP: "q", Kind.BOOLEAN: "q", Kind.REAL: "d"}


class _Layout(NamedTuple):
    """How rows of one pattern of types and nulls are laid out."""

    header: bytes
    pack: Callable[..., bytes]
    fixed: Callable[[Row], tuple[Any, ...]]
    texts: Callable[[Row], tuple[Any, ...]]
    separators: int
    binaries: bool


class RowDigest:
    """Digests rows of one set of columns; layouts are worked out once per pattern of types."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self._layouts: dict[tuple[type, ...], _Layout] = {}

    def __call__(self, row: Row) -> bytes:
        """The digest of *row*.

        Raises:
            ValueError: a text holds NUL or a lone surrogate, or an integer exceeds 64 bits.
            TypeError: a value is not of its column's canonical type.
        """
        return blake2b(self.content(row), digest_size=DIGEST_BYTES).digest()

    def content(self, row: Row) -> bytes:
        """The canonical content of *row*; raises as the call does."""
        signature = tuple(map(type, row))
        layout = self._layouts.get(signature) or self._lay_out(signature)
        texts = layout.texts(row)
        if layout.binaries:
            texts = tuple(t.hex() if type(t) is bytes else t for t in texts)
        text = "\0".join(texts)
        if text.count("\0") != layout.separators:
            raise ValueError("a text holds NUL")
        try:
            return layout.header + layout.pack(*layout.fixed(row)) + text.encode()
        except struct.error:
            raise ValueError("an integer exceeds 64 bits") from None

    def _lay_out(self, signature: tuple[type, ...]) -> _Layout:
        present = sorted(
            (column.name, place)
            for place, (column, given) in enumerate(zip(self._columns, signature, strict=True))
            if self._holds(column, given)
        )
        kinds = [(place, self._columns[place].kind) for _, place in present]
        fixed = [(place, FIXED[kind]) for place, kind in kinds if kind in FIXED]
        texts = [place for place, kind in kinds if kind not in FIXED]
        layout = _Layout(
            header=",".join(name for name, _ in present).encode() + b"\n",
            pack=struct.Struct(">" + "".join(code for _, code in fixed)).pack,
            fixed=_tuple_getter([place for place, _ in fixed]),
            texts=_tuple_getter(texts),
            separators=max(len(texts) - 1, 0),
            binaries=any(signature[place] is bytes for place in texts),
        )
        self._layouts[signature] = layout
        return layout

    @staticmethod
    def _holds(column: Column, given: type) -> bool:
        if given is type(None):
            return False
        if given is not CANONICAL_TYPES[column.kind]:
            raise TypeError(f"{column.name} holds a {given.__name__}")
        return True


def _tuple_getter(places: Sequence[int]) -> Callable[[Row], tuple[Any, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    if not places:
        return lambda row: ()
    only = places[0]
    return lambda row: (row[only],)
