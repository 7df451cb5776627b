"""Rows on their way in and out: values SQLite can bind, and the seal that ties a row to its place.

The digest that core makes covers a record's content alone, so that copies can be compared. The seal
is a CRC-32 over that digest, the row's place (``id`` of a log's entry, otherwise the revision), its
stamps and its schema version: a row whose stamps were edited, or that was moved or swapped with
another, is noticed when it is read.
"""

import struct
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any, Final, NoReturn
from zlib import crc32

from quantkeep.collection import Collection, SealedRow, StoredRow
from quantkeep.columns import Kind, Row
from quantkeep.errors import Corrupt
from quantkeep_backends._sql.loading_code import Load, compose
from quantkeep_backends.sqlite._loading_code import FORMS
from quantkeep_backends.sqlite.functions import real_for_sqlite

PACK_LOG: Final = struct.Struct(">qqq").pack
_PACK_KEYED: Final = struct.Struct(">qqqq").pack

Raw = tuple[Any, ...]


def log_seal(digest: bytes, place: int, created_at: int, version: int) -> int:
    """The seal of a log's entry."""
    return crc32(PACK_LOG(place, created_at, version), crc32(digest))


def keyed_seal(digest: bytes, revision: int, created_at: int, updated_at: int, version: int) -> int:
    """The seal of a keyed record."""
    return crc32(_PACK_KEYED(revision, created_at, updated_at, version), crc32(digest))


class Codec:
    """Turns rows of one collection into what SQLite binds, and back."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        kinds = [column.kind for column in collection.columns]
        self._reals = [place for place, kind in enumerate(kinds) if kind is Kind.REAL]
        nullable = [place for place in self._reals if collection.columns[place].nullable]
        self._take_reals = _getter(self._reals)
        self.nullable_reals: Final = _getter(nullable)
        self._version = collection.schema_version

    # -- in --------------------------------------------------------------------------------------

    def bind(self, values: Row) -> Row:
        """A row as SQLite can hold it."""
        total: float = sum(filter(None, self._take_reals(values)))  # NaN if any is
        return values if total == total else self._without_nan(values)

    def _without_nan(self, values: Row) -> Row:
        bound: list[Any] = list(values)
        for place in self._reals:
            if bound[place] is not None:
                bound[place] = real_for_sqlite(bound[place])
        return tuple(bound)

    def entry(self, row: SealedRow, place: int, now: int) -> Raw:
        """The row of a log, as it is inserted at *place*."""
        created, version = now if row.created_at is None else row.created_at, self._version
        seal = log_seal(row.digest, place, created, version)
        return (place,) + self.bind(row.values) + (created, version, row.digest, seal)  # noqa: RUF005

    def record(self, row: SealedRow, revision: int, created_at: int, now: int) -> Raw:
        """The row of a keyed record, as it is written at *revision*."""
        updated, version = now if row.updated_at is None else row.updated_at, self._version
        seal = keyed_seal(row.digest, revision, created_at, updated, version)
        bound = self.bind(row.values)
        return (*bound, revision, created_at, updated, version, row.digest, seal)

    # -- out -------------------------------------------------------------------------------------

    @cached_property
    def load(self) -> Load:
        """The stored row of what was selected; raises ``Corrupt`` where the seal is another."""
        return compose(self.collection, FORMS, self._seal_of, self._broken)

    @cached_property
    def peek(self) -> Load:
        """As :attr:`load`, whatever the seal says."""
        return compose(self.collection, FORMS, self._seal_of, lambda stored: stored)

    @property
    def _seal_of(self) -> Callable[..., int]:
        return log_seal if self.collection.log else keyed_seal

    def _broken(self, stored: StoredRow) -> NoReturn:
        key = self.collection.stored_key(stored)
        raise Corrupt(
            f"{self.collection.name} {key!r} does not match its seal: its place, stamps or digest "
            "were changed outside quantkeep; run `quantkeep verify`, and restore it from a backup",
            locator=f"{self.collection.name}{key!r}",
        )


def _getter(places: Sequence[int]) -> Callable[[Row], tuple[Any, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda row: tuple(row[place] for place in places)
