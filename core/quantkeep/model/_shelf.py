"""Shelves: the rows of one collection, and what its constraints need to know of them."""

import abc
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Row

Group = tuple[str, ...]
SortKey = Callable[[StoredRow], tuple[Any, ...]]


class Shelf(abc.ABC):
    """One collection, as a running commit sees and changes it.

    Keys, streams and values are tuples of canonical scalars, which compare exactly.

    Attributes:
        collection: in the form in which rows are stored, which may have more columns than a writer
            knows of.
    """

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    @abc.abstractmethod
    def row(self, key: Key) -> StoredRow | None:
        """The row stored under *key*."""

    @abc.abstractmethod
    def head(self, stream: Key) -> int:
        """The highest revision ever given in *stream*, rows since deleted included; 0 if none."""

    @abc.abstractmethod
    def holder(self, group: Group, value: Key) -> Key | None:
        """The key of the row that has *value* in the unique *group* (see :meth:`groups`)."""

    @abc.abstractmethod
    def referring(self, columns: Sequence[str], key: Key) -> Iterable[Key]:
        """Keys of the rows that have *key* in *columns*."""

    @abc.abstractmethod
    def add(self, row: StoredRow) -> None:
        """Store a row that is not there yet, hold its groups, and raise the head of its stream."""

    @abc.abstractmethod
    def drop(self, key: Key) -> StoredRow:
        """Take out a row that is there, and free its groups; the head of its stream stays."""

    def groups(self, values: Row) -> Iterator[tuple[Group, Key]]:
        """Each group of columns that must be unique, and what a row has there.

        A log's identity is one of them, marked by an empty first name, and counts in its stream.
        """
        collection = self.collection
        for group in collection.unique:
            yield group, collection.pick(group)(values)
        if collection.identity:
            identity = collection.identity_of(values)
            if None not in identity:
                yield ("", *collection.identity), (*collection.stream_of(values), *identity)


class HeldShelf(Shelf):
    """A shelf held in dictionaries.

    Attributes:
        rows: by key, in the order in which they came.
        heads: by stream.
        streams: of a log, its keys by stream and revision.
        taken: keys by what they hold in each unique group.
    """

    def __init__(self, collection: Collection) -> None:
        super().__init__(collection)
        self.rows: dict[Key, StoredRow] = {}
        self.heads: dict[Key, int] = {}
        self.streams: dict[Key, dict[int, Key]] = defaultdict(dict)
        self.taken: dict[Group, dict[Key, Key]] = defaultdict(dict)
        self._referring: dict[Group, dict[Key, dict[Key, None]]] = {}  # built when asked for
        self._orders: dict[Key, dict[Group, Order]] = {}  # of streams; built when asked for

    def row(self, key: Key) -> StoredRow | None:
        return self.rows.get(key)

    def head(self, stream: Key) -> int:
        return self.heads.get(stream, 0)

    def holder(self, group: Group, value: Key) -> Key | None:
        return self.taken[group].get(value)

    def referring(self, columns: Sequence[str], key: Key) -> list[Key]:
        group = tuple(columns)
        if group not in self._referring:
            self._referring[group] = {}
            for mine, row in self.rows.items():
                self._refer(group, mine, row.values)
        return [*self._referring[group].get(key, ())]

    def _refer(self, group: Group, mine: Key, values: Row) -> None:
        self._referring[group].setdefault(self.collection.pick(group)(values), {})[mine] = None

    def add(self, row: StoredRow) -> None:
        key = self.collection.stored_key(row)
        stream = self.collection.stream_of(row.values)
        self.rows[key] = row
        self.heads[stream] = max(self.heads.get(stream, 0), row.revision)
        if self.collection.log:
            self.streams[stream][row.revision] = key
        for group, value in self.groups(row.values):
            self.taken[group][value] = key
        for columns in self._referring:
            self._refer(columns, key, row.values)
        for order in self._orders.get(stream, {}).values():
            order.add(row)

    def drop(self, key: Key) -> StoredRow:
        row = self.rows.pop(key)
        if self.collection.log:
            stream = self.collection.stream_of(row.values)
            del self.streams[stream][row.revision]
            for order in self._orders.get(stream, {}).values():
                order.drop(row)
        for group, value in self.groups(row.values):
            if self.taken[group].get(value) == key:
                del self.taken[group][value]
        for columns, keys in self._referring.items():
            keys[self.collection.pick(columns)(row.values)].pop(key, None)
        return row

    def ordered(self, stream: Key, names: Group, sort: SortKey) -> "Order":
        """One stream of a log in the order of *names*, kept from now on; *sort* is their key."""
        orders = self._orders.setdefault(stream, {})
        if names not in orders:
            rows = (self.rows[key] for key in self.streams.get(stream, {}).values())
            orders[names] = Order(sort, rows)
        return orders[names]

    def put_back(self, row: StoredRow) -> None:
        """Undo a :meth:`drop`, which an interruption may have forestalled."""
        if self.collection.stored_key(row) not in self.rows:
            self.add(row)

    def take_back(self, row: StoredRow, head: int) -> None:
        """Undo an :meth:`add`, before which the head of the row's stream was *head*."""
        key = self.collection.stored_key(row)
        if key not in self.rows:
            return  # an interruption forestalled it
        self.drop(key)
        stream = self.collection.stream_of(row.values)
        if head:
            self.heads[stream] = head
        else:
            del self.heads[stream]

    def moved(self, collection: Collection) -> "HeldShelf":
        """The same rows, with nulls in the columns that *collection* has gained."""
        shelf = HeldShelf(collection)
        arranged = arranger(self.collection, collection)
        for row in self.rows.values():
            shelf.add(row._replace(values=arranged(row.values)) if arranged else row)
        shelf.heads.update(self.heads)
        return shelf


class Order:
    """Revisions of a stream, sorted. Entries come nearly in order, so that adding one is cheap."""

    def __init__(self, sort: SortKey, rows: Iterable[StoredRow]) -> None:
        self._sort = sort
        self.entries = sorted((sort(row), row.revision) for row in rows)

    def add(self, row: StoredRow) -> None:
        """Put the entry of *row* in its place."""
        entry = (self._sort(row), row.revision)
        if not self.entries or self.entries[-1] < entry:
            self.entries.append(entry)
        else:
            insort(self.entries, entry)

    def drop(self, row: StoredRow) -> None:
        """Take the entry of *row* out."""
        entry = (self._sort(row), row.revision)
        place = bisect_left(self.entries, entry)
        if self.entries[place : place + 1] != [entry]:  # the row was changed behind our back
            place = [revision for _, revision in self.entries].index(row.revision)
        del self.entries[place]

    def revisions(self, *, backwards: bool) -> Iterator[int]:
        """The revisions, in order."""
        entries = reversed(self.entries) if backwards else iter(self.entries)
        return (revision for _, revision in entries)


def arranger(have: Collection, want: Collection) -> Callable[[Row], Row] | None:
    """What gives a row of *have* the columns of *want*; ``None``: they are the same."""
    if have.names == want.names:
        return None
    places = [have.places.get(name) for name in want.names]
    return lambda values: tuple([None if p is None else values[p] for p in places])
