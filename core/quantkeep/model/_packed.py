"""Rows held in memory, packed: a trade takes some 800 bytes with all its indexes, not 2,500.

A row is packed when it is stored, and unpacked each time it is read; either takes a microsecond or
two. Its texts become one text, its floats one string of bytes, its nulls nothing.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

from quantkeep.collection import Key, StoredRow
from quantkeep.columns import Row

_NUL: Final = "\0"  # no text has it

# The shape, the texts, the floats, the envelope, and the other values.
Packed = tuple[Any, ...]


class _Shape(NamedTuple):
    """What rows whose values are of the same types have in common."""

    texts: Callable[[Row], tuple[str, ...]]
    floats: Callable[[Row], tuple[float, ...]]
    others: Callable[[Row], Row]
    pack: Callable[..., bytes]  # floats
    unpack: Callable[[bytes], tuple[float, ...]]
    arrange: Callable[[Row], Row]  # null, the texts, floats and others, to where they belong


@lru_cache(maxsize=4096)
def _shape(types: tuple[type, ...]) -> _Shape:
    texts = [place for place, kind in enumerate(types) if kind is str]
    floats = [place for place, kind in enumerate(types) if kind is float]
    rest = (str, float, type(None))
    others = [place for place, kind in enumerate(types) if kind not in rest]
    found = {place: n for n, place in enumerate((*texts, *floats, *others), start=1)}
    arrange = _picking([found.get(place, 0) for place in range(len(types))])
    numbers = struct.Struct(f"={len(floats)}d")
    parts = (_picking(texts), _picking(floats), _picking(others))
    return _Shape(*parts, numbers.pack, numbers.unpack, arrange)


def _picking(places: list[int]) -> Callable[[Row], Any]:
    """As :func:`operator.itemgetter`, which gives a tuple only of two or more."""
    if len(places) > 1:
        return itemgetter(*places)
    if not places:
        return lambda row: ()
    (place,) = places
    return lambda row: (row[place],)


def packed(row: StoredRow) -> Packed:
    """*row*, smaller; one with a NUL in a text, which only damage puts there, as it is."""
    values, *envelope = row
    shape = _shape(tuple(map(type, values)))
    texts = shape.texts(values)
    text = _NUL.join(texts) if texts else None
    if text is not None and text.count(_NUL) != len(texts) - 1:
        return row
    return (shape, text, shape.pack(*shape.floats(values)), *envelope, *shape.others(values))


def unpacked(data: Packed) -> StoredRow:
    """The row that was packed."""
    if type(data) is StoredRow:
        return data
    shape, text, floats, revision, created, updated, version, digest, *others = data
    texts = () if text is None else text.split(_NUL)
    values = shape.arrange((None, *texts, *shape.unpack(floats), *others))
    return StoredRow(values, revision, created, updated, version, digest)


class KeyedRows(MutableMapping[Key, StoredRow]):
    """Rows by key, in the order in which they came."""

    def __init__(self) -> None:
        self._rows: dict[Key, Packed] = {}

    def __getitem__(self, key: Key) -> StoredRow:
        return unpacked(self._rows[key])

    def get(self, key: Key, default: Any = None) -> Any:
        """As of a dictionary, without raising on the way."""
        data = self._rows.get(key)
        return default if data is None else unpacked(data)

    def __setitem__(self, key: Key, row: StoredRow) -> None:
        self._rows[key] = packed(row)

    def __delitem__(self, key: Key) -> None:
        del self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def packed(self, stream: Key | None = None) -> list[Packed]:
        """All rows as they are now, for :func:`unpacked`: what is changed later is not in it."""
        assert stream is None, "only logs are read by stream"
        return [*self._rows.values()]


class LoggedRows(MutableMapping[Key, StoredRow]):
    """Rows of a log by stream and revision: a key is made when one asks for it."""

    def __init__(self) -> None:
        self._streams: dict[Key, dict[int, Packed]] = {}
        self._count = 0

    def stream(self, stream: Key) -> Mapping[int, StoredRow]:
        """The rows of one stream, by revision."""
        return _Stream(self._streams.setdefault(stream, {}))

    def __getitem__(self, key: Key) -> StoredRow:
        data = self._data(key)
        if data is None:
            raise KeyError(key)
        return unpacked(data)

    def get(self, key: Key, default: Any = None) -> Any:
        """As of a dictionary, without raising on the way."""
        data = self._data(key)
        return default if data is None else unpacked(data)

    def _data(self, key: Key) -> Packed | None:
        *stream, revision = key
        found = self._streams.get(tuple(stream))
        return None if found is None else found.get(revision)  # type: ignore[arg-type]  # a revision

    def __setitem__(self, key: Key, row: StoredRow) -> None:
        rows = self._streams.setdefault(key[:-1], {})
        before = len(rows)
        rows[row.revision] = packed(row)
        self._count += len(rows) - before

    def __delitem__(self, key: Key) -> None:
        if key not in self:
            raise KeyError(key)
        del self._streams[key[:-1]][key[-1]]  # type: ignore[arg-type]  # a revision
        self._count -= 1

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and self._data(key) is not None

    def __iter__(self) -> Iterator[Key]:
        return ((*stream, revision) for stream, rows in self._streams.items() for revision in rows)

    def __len__(self) -> int:
        return self._count

    def packed(self, stream: Key | None = None) -> list[Packed]:
        """All rows (of *stream*) as they are now, for :func:`unpacked`."""
        if stream is not None:
            return [*self._streams.get(stream, {}).values()]
        return [data for rows in self._streams.values() for data in rows.values()]


class _Stream(Mapping[int, StoredRow]):
    def __init__(self, rows: Mapping[int, Packed]) -> None:
        self._rows = rows

    def __getitem__(self, revision: int) -> StoredRow:
        return unpacked(self._rows[revision])

    def __contains__(self, revision: object) -> bool:
        return revision in self._rows

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class Identities(MutableMapping[Key, Key]):
    """The keys of a log's rows, by their stream and what identifies them in it."""

    def __init__(self, width: int) -> None:
        self._width = width  # of a stream
        self._streams: dict[Key, dict[Any, int]] = {}
        self._count = 0

    def _parts(self, value: Key) -> tuple[Key, Any]:
        stream, identity = value[: self._width], value[self._width :]
        return stream, identity[0] if len(identity) == 1 else identity

    def __getitem__(self, value: Key) -> Key:
        found = self.get(value)
        if found is None:
            raise KeyError(value)
        return found  # type: ignore[no-any-return]  # a key

    def get(self, value: Key, default: Any = None) -> Any:
        """As of a dictionary, without raising on the way."""
        stream, identity = self._parts(value)
        revision = self._streams.get(stream, {}).get(identity)
        return default if revision is None else (*stream, revision)

    def __setitem__(self, value: Key, key: Key) -> None:
        stream, identity = self._parts(value)
        held = self._streams.setdefault(stream, {})
        before = len(held)
        held[identity] = key[-1]  # type: ignore[assignment]  # a revision
        self._count += len(held) - before

    def __delitem__(self, value: Key) -> None:
        stream, identity = self._parts(value)
        del self._streams.get(stream, {})[identity]
        self._count -= 1

    def __contains__(self, value: object) -> bool:
        return isinstance(value, tuple) and self.get(value) is not None

    def __iter__(self) -> Iterator[Key]:
        for stream, held in self._streams.items():
            for identity in held:
                yield (*stream, *(identity if isinstance(identity, tuple) else (identity,)))

    def __len__(self) -> int:
        return self._count
