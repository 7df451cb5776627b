"""A log's single entries: ``revision created_at updated_at check`` and the packed rest of the row.

The check is the beginning of SHA-1 over the others, so that an entry whose stamps were edited is
noticed, as one whose content was is by its digest.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import sha1
from typing import Any, Final

import msgspec

from quantkeep.collection import Collection, SealedRow, StoredRow
from quantkeep.columns import Row
from quantkeep.errors import Corrupt
from quantkeep_backends.redis.shapes import Shape

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder().decode

Layouts = Mapping[int, tuple[str, ...]]


def body(shape: Shape, row: SealedRow) -> bytes:
    """What the script puts behind the revision and stamps it gives."""
    version = shape.collection.schema_version
    return _pack((shape.layout[0], version, row.digest.hex(), *row.values))


def raw(stored: StoredRow, layout: int) -> bytes:
    """An entry as it stands in the hash, with nothing checked; for backdoors."""
    said = f"{stored.revision} {stored.created_at} {stored.updated_at} ".encode()
    packed = _pack((layout, stored.schema_version, stored.digest.hex(), *stored.values))
    return said + _check(said + packed) + b" " + packed


def _check(content: bytes) -> bytes:
    return sha1(content).hexdigest()[:8].encode()  # noqa: S324  # what Lua has


class Reader:
    """Reads entries into the columns of one collection."""

    def __init__(self, collection: Collection, layouts: Callable[[int], tuple[str, ...]]) -> None:
        self._collection = collection
        self._layouts = layouts
        self._arranged: dict[int, Callable[[Row], Row] | None] = {}

    def __call__(self, entry: bytes) -> StoredRow:
        """The row of *entry*; raises ``Corrupt`` where it is not what was written."""
        try:
            revision, created, updated, check, packed = entry.split(b" ", 4)
            if _check(entry[: -len(packed) - 9] + packed) != check:
                raise ValueError("its stamps do not match their check")
            layout, version, digest, *values = _unpack(packed)
            arrange = self._arrange(layout)
            row = tuple(values)
            return StoredRow(
                row if arrange is None else arrange(row),
                int(revision), int(created), int(updated), version, bytes.fromhex(digest),
            )  # fmt: skip
        except (ValueError, TypeError, IndexError, LookupError, msgspec.MsgspecError) as error:
            name = self._collection.name
            raise Corrupt(
                f"{name}: the entry {entry[:20]!r}… cannot be read ({error}): it was changed "
                "outside quantkeep; restore it from a backup",
                locator=name,
            ) from None

    def _arrange(self, layout: int) -> Callable[[Row], Row] | None:
        if layout not in self._arranged:
            names = self._layouts(layout)
            self._arranged[layout] = _arranger(names, self._collection.names)
        return self._arranged[layout]


def _arranger(have: tuple[str, ...], want: tuple[str, ...]) -> Callable[[Row], Row] | None:
    if have == want:
        return None
    places = [have.index(name) if name in have else None for name in want]
    return lambda values: tuple([None if p is None else values[p] for p in places])


def names_of(text: bytes) -> tuple[str, ...]:
    """The column names of a layout, as the keep remembers them."""
    names: list[Any] = json.loads(text)
    return tuple(map(str, names))
