"""Rows on their way in and out, and the seal that ties a row to its place.

The digest that core makes covers a record's content alone, so that copies can be compared. The seal
mixes that digest with the revision, the stamps and the schema version, in arithmetic that SQL can
do too, since the server gives revisions and stamps: a row whose stamps were edited, or that was
moved or swapped with another, is noticed when it is read.
"""

import struct
from functools import cached_property
from typing import Any, Final, NoReturn

from quantkeep.collection import Collection, SealedRow, StoredRow
from quantkeep.errors import Corrupt
from quantkeep_backends._sql.loading_code import Load, compose
from quantkeep_backends.postgresql._loading_code import FORMS
from quantkeep_backends.postgresql._writing_code import (
    Bind,
    Wire,
    binder,
    packed_forms,
    packer,
    wirer,
)
from quantkeep_backends.postgresql.engine import moment

_TOKEN: Final = struct.Struct(">q8x").unpack
_SIGN: Final = 1 << 63
_MASK: Final = (1 << 64) - 1


def token(digest: bytes) -> int:
    """What of a digest goes into the seal; raises ``struct.error`` if it is none."""
    number: int = _TOKEN(digest)[0]
    return number


def seal(token: int, revision: int, created: int, updated: int, version: int) -> int:
    """The seal of a row; of a log's entry, *updated* is 0. As :func:`seal_sql`."""
    mixed = token ^ (revision << 20) ^ created ^ (updated << 5) ^ (version << 52)
    return ((mixed + _SIGN) & _MASK) - _SIGN


def microseconds_sql(at: str) -> str:
    """The SQL of a timestamp's microseconds since 1970."""
    return f"(extract(epoch FROM {at}) * 1000000)::bigint"


def seal_sql(token: str, revision: str, created: str, updated: str | None, version: int) -> str:
    """The SQL of :func:`seal`, over SQL for its parts."""
    parts = [token, f"({revision} << 20)", microseconds_sql(created)]
    if updated is not None:
        parts.append(f"({microseconds_sql(updated)} << 5)")
    return " # ".join([*parts, f"({version}::bigint << 52)"])


class Codec:
    """Turns rows of one collection into parameters, and what was read into rows."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self._version = collection.schema_version

    @cached_property
    def bind(self) -> Bind:
        """Makes parameters of a row's content."""
        return binder(self.collection)

    @cached_property
    def pack(self) -> Bind:
        """Makes of a row's content what goes over the wire."""
        return packer(self.collection)

    @cached_property
    def forms(self) -> list[int]:
        """Which of that is in binary form."""
        return packed_forms(self.collection)

    @cached_property
    def wire(self) -> Wire:
        """Makes of a log's entry what COPY writes."""
        return wirer(self.collection)

    def entry(self, row: SealedRow, revision: int, now: int) -> list[Any]:
        """The row of a log, as it is inserted at *revision*."""
        created, version = now if row.created_at is None else row.created_at, self._version
        mark = seal(token(row.digest), revision, created, 0, version)
        stamps = (str(revision), moment(created), str(version), row.digest, str(mark))
        return [*self.bind(row.values), *stamps]

    def record(self, row: SealedRow, revision: int, created: int, now: int) -> list[Any]:
        """The row of a keyed record, as it is written at *revision*."""
        updated, version = now if row.updated_at is None else row.updated_at, self._version
        mark = seal(token(row.digest), revision, created, updated, version)
        moments = (moment(created), moment(updated))
        stamps = (str(revision), *moments, str(version), row.digest, str(mark))
        return [*self.bind(row.values), *stamps]

    # -- out -------------------------------------------------------------------------------------

    @cached_property
    def load(self) -> Load:
        """The stored row of what was selected; raises ``Corrupt`` where the seal is another."""
        return compose(self.collection, FORMS, seal, self._broken)

    @cached_property
    def peek(self) -> Load:
        """As :attr:`load`, whatever the seal says."""
        return compose(self.collection, FORMS, seal, lambda stored: stored)

    def _broken(self, stored: StoredRow) -> NoReturn:
        key = self.collection.stored_key(stored)
        raise Corrupt(
            f"{self.collection.name} {key!r} does not match its seal: its place, stamps or digest "
            "were changed outside quantkeep; run `quantkeep verify`, and restore it from a backup",
            locator=f"{self.collection.name}{key!r}",
        )
