"""Reading keyed records: by key, or along the index that fits a query best."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha1
from itertools import islice
from struct import unpack_from
from typing import Any, Final

import attrs

from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import Corrupt
from quantkeep.query import Query, Where, cursor_key, sort_key
from quantkeep_backends.redis import ordering, texts
from quantkeep_backends.redis.shapes import STORED, Index, Shape, encoded

PAGE_ROWS: Final = 10_000
PAGE_BYTES: Final = 8 * 2**20

Others = Callable[[Collection], Iterator[StoredRow]]


@attrs.frozen
class Range:
    """Part of an index: from *low* to *high*, both as ``ZRANGEBYLEX`` takes them."""

    index: Index
    low: bytes
    high: bytes
    fixed: int  # how many columns at its beginning are equal in all of it
    taken: int  # how many conditions it answers


class Records:
    """Reads the records of one collection, in the columns that were asked for."""

    def __init__(self, shape: Shape, collection: Collection) -> None:
        self.shape = shape
        self.collection = collection
        self.fields: tuple[str, ...] = (*collection.names, *STORED)
        self._readers = [texts.reader(column.kind) for column in collection.columns]
        self._lengths = f">{len(self.fields)}i"
        self._header = 4 * len(self.fields)

    # -- what comes from the server ----------------------------------------------------------------

    def page(self, text: bytes) -> Iterator[StoredRow]:
        """The rows of a page."""
        at, end = 0, len(text)
        while at < end:
            (size,) = unpack_from(">I", text, at)
            yield self._row(text[at + 4 : at + 4 + size])
            at += 4 + size

    def one(self, text: bytes, key: Key) -> StoredRow | None:
        """The row under *key*, if there is one; raises ``Corrupt`` if it is another's."""
        sizes = unpack_from(self._lengths, text, 4)
        if all(size < 0 for size in sizes):
            return None
        row = self._row(text[4:])
        if self.shape.key(self._key(row)) != self.shape.key(key):
            raise self._broken(key, "another record stands in its place")
        return row

    def _row(self, text: bytes) -> StoredRow:
        sizes = unpack_from(self._lengths, text)
        at, parts = self._header, list[bytes | None]()
        for size in sizes:
            if size < 0:
                parts.append(None)
            else:
                parts.append(text[at : at + size])
                at += size
        values, stamps = parts[: len(self._readers)], parts[len(self._readers) :]
        try:
            return self._stored(values, stamps)
        except (ValueError, KeyError, OverflowError, TypeError) as error:
            key = tuple(values[self.collection.places[name]] for name in self.collection.key)
            raise self._broken(key, f"it cannot be read ({error})") from None

    def _stored(self, values: list[bytes | None], stamps: list[Any]) -> StoredRow:
        revision, created, updated, version, digest, seal = stamps
        if seal is None:
            raise ValueError("its stamps are missing")
        row = tuple(
            [
                None if value is None else read(value)
                for read, value in zip(self._readers, values, strict=True)
            ]
        )
        stored = StoredRow(
            row, int(revision), int(created), int(updated), int(version),
            bytes.fromhex(digest.decode()),
        )  # fmt: skip
        key = self.shape.key(self._key(stored)).encode()
        sealed = b"|".join((key, revision, created, updated, version, digest))
        if sha1(sealed).hexdigest().encode() != seal:  # noqa: S324  # what Lua has
            raise ValueError("its stamps or its key do not match their seal")
        return stored

    def _key(self, stored: StoredRow) -> Key:
        return self.collection.key_of(stored.values)

    def _broken(self, key: Sequence[Any], why: str) -> Corrupt:
        name = self.collection.name
        return Corrupt(
            f"{name} {key!r}: {why}; it was changed outside quantkeep: run `quantkeep verify`, and "
            "restore it from a backup",
            locator=f"{name}{key!r}",
        )


# -- which part of which index ---------------------------------------------------------------------


def best(shape: Shape, indexes: Sequence[Index], collection: Collection, query: Query) -> Range:
    """The part of an index that leads to what *query* asks for with the fewest detours."""
    conditions = [c for c in query.where if isinstance(c, Where)]
    ranges = [_range(shape.collection, index, conditions) for index in indexes]

    def worth(found: Range) -> tuple[int, bool]:
        return found.taken, direction(found, collection, query) is not None

    return max(ranges, key=worth)  # the first of equals, which is the key's


def _range(collection: Collection, index: Index, conditions: Sequence[Where]) -> Range:
    by_column: dict[str, list[Where]] = {}
    for condition in conditions:
        by_column.setdefault(condition.column, []).append(condition)
    beginning, fixed = b"", 0
    for name in index.columns:
        equal = [c for c in by_column.get(name, ()) if c.operator == "=="]
        if not equal:
            return _narrowed(collection, index, by_column.get(name, ()), beginning, fixed)
        beginning += encoded(collection, name, equal[0].value)
        fixed += 1
    return Range(index, b"[" + beginning, b"[" + ordering.after(beginning), fixed, fixed)


def _narrowed(
    collection: Collection, index: Index, conditions: Sequence[Where], beginning: bytes, fixed: int
) -> Range:
    low, high = beginning, ordering.after(beginning)
    taken = 0
    name = index.columns[fixed]
    for condition in conditions:
        if condition.operator not in ("<", "<=", ">", ">=", "prefix"):
            continue
        taken = 1
        least, most = _bounds(collection, name, condition)
        low = max(low, beginning + least)
        high = min(high, beginning + most) if most else high
    return Range(index, b"[" + low, b"[" + high, fixed, fixed + taken)


def _bounds(collection: Collection, name: str, condition: Where) -> tuple[bytes, bytes | None]:
    """Bounds that leave out nothing; what they let in too is looked at one by one."""
    if condition.operator == "prefix":
        wanted = ordering.prefix(condition.value)
        return wanted, ordering.after(wanted)
    bound = encoded(collection, name, condition.value)
    if condition.operator in (">", ">="):
        return bound, None
    return b"\x02" if name in collection.places else b"", ordering.after(bound)


def direction(found: Range, collection: Collection, query: Query) -> bool | None:
    """Whether the index gives the order asked for: ``True`` backwards, ``None`` if it does not."""
    wanted = [
        (name, down)
        for name, down in query.ordering(collection)
        if name not in found.index.columns[: found.fixed]
    ]
    given = found.index.columns[found.fixed :][: len(wanted)]
    downs = {down for _, down in wanted}
    if tuple(name for name, _ in wanted) != tuple(given) or len(downs) > 1:
        return None
    return downs == {True}


# -- answering -------------------------------------------------------------------------------------


def answer(
    collection: Collection,
    query: Query,
    found: Range,
    pages: Callable[[Range, bool], Iterator[StoredRow]],
    others: Others,
) -> Iterator[StoredRow]:
    """The rows of *query*, out of the *pages* of an index."""
    backwards = direction(found, collection, query)
    if backwards is None:
        return query.run(collection, pages(found, False), others)
    last = query.take == "last"
    tests = query.tests(collection, others)
    rows = (row for row in pages(found, backwards != last) if all(test(row) for test in tests))
    if query.after is not None:
        key = sort_key(collection, query.ordering(collection))
        start = cursor_key(collection, query.ordering(collection), query.after)
        rows = (row for row in rows if key(row) > start)
    found_rows = islice(rows, query.limit)
    return reversed([*found_rows]) if last else found_rows
