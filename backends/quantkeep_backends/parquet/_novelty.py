"""Which rows of a large append are new."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.ahead import begun, threads
from quantkeep.collection import Key, SealedRow
from quantkeep.contract import taken
from quantkeep.model import Group
from quantkeep_backends.parquet._bounds import Ends
from quantkeep_backends.parquet._given import Given
from quantkeep_backends.parquet._hashes import Hashes
from quantkeep_backends.parquet._identities import ascends, columns_of, groups_of, hashes_of
from quantkeep_backends.parquet._shelf import LogShelf

Hashed = Mapping[Group, Any]  # by group, the hash of what each row has there


class Question:
    """Whether all rows that are *given* are new to *shelf*; another thread finds the answer."""

    def __init__(self, shelf: LogShelf, given: Given) -> None:
        self._shelf = shelf
        self._given = given
        self._pool = threads()
        self._answer: Future[Hashed | None] | None = None

    def __enter__(self) -> Self:
        if self._given.is_whole:
            self.ask()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the thread: it may be looking at what is about to change."""
        self._pool.shutdown()

    def ask(self) -> None:
        """Begin, now that all is known that is *given*."""
        if self._answer is None:
            self._answer = begun(self._pool, self._answered, self._given.whole().table)

    @property
    def is_denied(self) -> bool:
        """Whether it is known already that one may be there."""
        return self._answer is not None and self._answer.done() and self._answer.result() is None

    def answer(self) -> Hashed | None:
        """Hashes, of groups in which they had to be computed; ``None``: a row may be there."""
        self.ask()
        assert self._answer is not None
        return self._answer.result()

    def _answered(self, table: pa.Table) -> Hashed | None:
        hashes: dict[Group, Any] = {}
        groups = groups_of(self._shelf.collection)
        return None if any(_may_repeat(self._shelf, g, table, hashes) for g in groups) else hashes


def _may_repeat(shelf: LogShelf, group: Group, table: pa.Table, hashes: dict[Group, Any]) -> bool:
    """Whether two rows may have the same in *group*, or one has what is stored already.

    The hashes of what each row has there are put into *hashes*, if they had to be computed.
    """
    if _is_apart(shelf, group, table):
        return False
    columns = [table.column(name) for name in columns_of(shelf.collection, group)]
    hashes[group] = hashes_of(group, columns)
    known = Hashes(hashes[group])
    return known.repeat() or shelf.may_be_held(group, known, [*map(_ends, columns)])


def _ends(values: Any) -> Ends:
    """The least and the greatest of a column; ``None`` where there are nulls."""
    if values.null_count or not len(values):
        return None
    ends = pc.min_max(values)
    return ends["min"].as_py(), ends["max"].as_py()


def _is_apart(shelf: LogShelf, group: Group, table: pa.Table) -> bool:
    """Whether the rows ascend in one column of *group*, and lie in it beyond all that is stored.

    So it is with identifiers of many exchanges, and then no row has to be looked at.
    """
    values = table.column(shelf.collection.places[group[-1]])
    if group[0] != "" and values.null_count:
        return False
    values = values.drop_null()  # a row without an identifier is not known by it
    ends = pc.min_max(values)
    return shelf.is_beyond(group, ends["min"].as_py(), ends["max"].as_py()) and ascends(values)


def resolved(shelf: LogShelf, given: Given) -> tuple[list[int], list[int]]:
    """The places of rows that are new, and of each row its place among these, or (negative) the
    revision it has already.
    """
    rows = [*given.rows()]
    wanted: dict[Group, set[Key]] = {}
    for row in rows:
        for group, value in shelf.groups(row.values):
            wanted.setdefault(group, set()).add(value)
    for group, values in wanted.items():
        shelf.fetch_holders(group, values)
    seen: dict[tuple[Group, Key], int] = {}
    fresh, places = list[int](), list[int]()
    for number, row in enumerate(rows):
        place = _place(shelf, row, seen, rows, fresh)
        if place is None:
            place = len(fresh)
            fresh.append(number)
            seen.update(dict.fromkeys(shelf.groups(row.values), place))
        places.append(place)
    return fresh, places


def _place(
    shelf: LogShelf,
    row: SealedRow,
    seen: dict[tuple[Group, Key], int],
    rows: Sequence[SealedRow],
    fresh: Sequence[int],
) -> int | None:
    for group, value in shelf.groups(row.values):
        place = seen.get((group, value))
        if place is not None:
            digest = rows[fresh[place]].digest
        else:
            holder = shelf.holder(group, value)
            known = None if holder is None else shelf.row(holder)
            if known is None:
                continue
            place, digest = -known.revision, known.digest
        if group[0] == "" and digest == row.digest:
            return place
        raise taken(shelf.collection, value, group)
    return None
