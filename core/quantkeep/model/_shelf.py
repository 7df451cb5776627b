"""Shelves: the rows of one collection, and what its constraints need to know of them."""

import abc
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Row
from quantkeep.model._packed import Identities, KeyedRows, LoggedRows

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
        self._unique = [(group, collection.pick(group)) for group in collection.unique]
        self._identity: Group = ("", *collection.identity)
        self._identified = collection.pick((*collection.stream, *collection.identity))

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

    def groups(self, values: Row) -> list[tuple[Group, Key]]:
        """Each group of columns that must be unique, and what a row has there.

        A log's identity is one of them, marked by an empty first name, and counts in its stream.
        """
        found = [(group, pick(values)) for group, pick in self._unique]
        if self.collection.identity:
            value = self._identified(values)
            if None not in value[len(self.collection.stream) :]:
                found.append((self._identity, value))
        return found


class HeldShelf(Shelf):
    """A shelf held in dictionaries.

    Attributes:
        rows: by key, in the order in which they came.
        heads: by stream.
        taken: keys by what they hold in each unique group.
    """

    def __init__(self, collection: Collection) -> None:
        super().__init__(collection)
        self.rows: KeyedRows | LoggedRows = LoggedRows() if collection.log else KeyedRows()
        self.heads: dict[Key, int] = {}
        self.taken: dict[Group, MutableMapping[Key, Key]] = defaultdict(dict)
        if collection.identity:
            self.taken[self._identity] = Identities(len(collection.stream))
        self._referring: dict[Group, dict[Key, dict[Key, None]]] = {}  # built when asked for
        self._orders: dict[Key, dict[Group, Order]] = {}  # of streams; built when asked for

    def row(self, key: Key) -> StoredRow | None:
        found: StoredRow | None = self.rows.get(key)
        return found

    def stream(self, stream: Key) -> Mapping[int, StoredRow]:
        """The rows of one stream of a log, by revision."""
        assert isinstance(self.rows, LoggedRows)
        return self.rows.stream(stream)

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
        stream = self.collection.stream_of(row.values)
        key = (*stream, row.revision) if self.collection.log else self.collection.stored_key(row)
        self.rows[key] = row
        if row.revision > self.heads.get(stream, 0):
            self.heads[stream] = row.revision
        for group, value in self.groups(row.values):
            self.taken[group][value] = key
        for columns in self._referring:
            self._refer(columns, key, row.values)
        if self._orders:
            for order in self._orders.get(stream, {}).values():
                order.add(row)

    def drop(self, key: Key) -> StoredRow:
        row = self.rows[key]
        for order in self._orders.get(self.collection.stream_of(row.values), {}).values():
            order.drop(row)
        del self.rows[key]
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
            orders[names] = Order(sort, self.stream(stream))
        return orders[names]

    def put_back(self, row: StoredRow) -> None:
        """Undo a :meth:`drop`, which an interruption may have forestalled."""
        self._orders.clear()
        if self.collection.stored_key(row) not in self.rows:
            self.add(row)

    def take_back(self, row: StoredRow, head: int) -> None:
        """Undo an :meth:`add`, before which the head of the row's stream was *head*."""
        self._orders.clear()  # it may not have come so far
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

    def __init__(self, sort: SortKey, rows: Mapping[int, StoredRow]) -> None:
        self._sort, self._rows = sort, rows
        self.entries = sorted(rows, key=self._key)

    def _key(self, revision: int) -> tuple[Any, ...]:
        return self._sort(self._rows[revision])

    def add(self, row: StoredRow) -> None:
        """Put *row*, which is among the stream's by now, in its place."""
        if not self.entries or self._key(self.entries[-1]) < self._key(row.revision):
            self.entries.append(row.revision)
        else:
            insort(self.entries, row.revision, key=self._key)

    def drop(self, row: StoredRow) -> None:
        """Take *row* out, which is among the stream's still."""
        place = bisect_left(self.entries, self._key(row.revision), key=self._key)
        if self.entries[place : place + 1] != [row.revision]:  # changed behind our back
            place = self.entries.index(row.revision)
        del self.entries[place]

    def revisions(self, *, backwards: bool) -> Iterator[int]:
        """The revisions, in order."""
        return reversed(self.entries) if backwards else iter(self.entries)


def arranger(have: Collection, want: Collection) -> Callable[[Row], Row] | None:
    """What gives a row of *have* the columns of *want*; ``None``: they are the same."""
    if have.names == want.names:
        return None
    places = [have.places.get(name) for name in want.names]
    return lambda values: tuple([None if p is None else values[p] for p in places])
