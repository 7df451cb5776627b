"""From a record to a row that may be written: validated, canonical, with its digest.

This is on the path of every live append. What can be worked out once per pattern of types is; a
value is looked at one by one only to name the one that was refused.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

import attrs

from quantkeep import documents
from quantkeep._sealing_code import Helpers, Pattern, compose
from quantkeep.collection import Collection, SealedRow
from quantkeep.columns import (
    KEY_BYTES,
    VALUE_BYTES,
    Kind,
    Row,
    Scalar,
    acceptable_types,
    check_integer,
    check_key,
    check_text,
    check_value,
    microseconds,
)
from quantkeep.digests import DIGEST_BYTES
from quantkeep.errors import InvalidRecord, InvalidValue
from quantkeep.hosts import Hosts

# Types of documents are without end; past this many patterns rows are looked at column by column.
_PATTERNS: Final = 512


class Sealer:
    """Seals the records of one collection."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._name = collection.record_name
        self._takers: dict[type, Callable[[Any], tuple[Any, ...]]] = {}
        self._content = collection.digest.content
        self._patterns: dict[tuple[type, ...], Pattern] = {}
        self._once: set[tuple[type, ...]] = set()
        self._indexed_texts = tuple(
            collection.places[name]
            for name in sorted(collection.indexed)
            if name in collection.places and collection.column(name).kind is Kind.TEXT
        )

    def seal(self, record: Any, hosts: Hosts) -> SealedRow:
        """The row of *record*.

        Raises:
            InvalidValue: names the record type, the field, the value and what was expected.
            InvalidRecord: *record* is of another type.
        """
        take = self._takers.get(type(record)) or self.taker(type(record))
        return self.seal_values(take(record), hosts)

    def seal_onto(self, rows: list[SealedRow], records: Iterable[Any], hosts: Hosts) -> None:
        """Put the rows of *records* behind *rows*; raises as :meth:`seal`, and leaves the others.

        Most records of a bulk are of one class, and of one pattern of types.
        """
        add, kind, known = rows.append, None, None
        for record in records:
            if type(record) is not kind:
                kind = type(record)
                take = self._takers.get(kind) or self.taker(kind)
            values = take(record)
            signature = tuple(map(type, values))
            if signature != known:
                pattern = self._patterns.get(signature)
                known = signature if pattern else None
            add(pattern(values, hosts) if pattern else self._met(signature, values, hosts))

    def taker(self, given: type) -> Callable[[Any], tuple[Any, ...]]:
        """Takes the columns out of records of a class that extends ours, or that ours extends.

        Raises:
            InvalidRecord: *given* is of another kind, or has fields that the keep has no room for.
        """
        name = self._collection.name
        theirs = getattr(given, "collection", None)
        if not isinstance(theirs, Collection) or theirs.name != name:
            raise InvalidRecord(
                f"{given.__name__} is not a {self._name}: expected a record of {name!r}"
            )
        more = [column for column in theirs.names if column not in self._collection.places]
        if more:
            raise InvalidRecord(
                f"{given.__name__}.{more[0]} has no column in this keep's {name!r}: "
                f"open the keep with records=[{given.__name__}]"
            )
        self._takers[given] = _getter(self._collection, given)
        return self._takers[given]

    def seal_values(self, values: tuple[Any, ...], hosts: Hosts) -> SealedRow:
        """As :meth:`seal`, from the Python values of all columns in order."""
        signature = tuple(map(type, values))
        pattern = self._patterns.get(signature)
        if pattern is None:
            return self._met(signature, values, hosts)
        return pattern(values, hosts)

    def _met(self, signature: tuple[type, ...], values: tuple[Any, ...], hosts: Hosts) -> SealedRow:
        """A pattern of types is worth its code when it is met again."""
        self._check_types(signature, values)
        if signature in self._once and len(self._patterns) < _PATTERNS:
            self._patterns[signature] = self._composed(signature)
        elif len(self._once) < _PATTERNS:
            self._once.add(signature)
        row = [
            None if value is None else self.scalar(place, value, hosts)
            for place, value in enumerate(values)
        ]
        return self.seal_row(tuple(row))

    def scalar(self, place: int, value: Any, hosts: Hosts) -> Scalar:
        """The canonical scalar of *value*, of a type that the column at *place* takes."""
        column, given = self._collection.columns[place], type(value)
        if column.kind is Kind.DOCUMENT:
            return self._document(place, value, hosts)
        if column.needs_converting(given):
            return column.converter(given)(value, self._name)
        scalar: Scalar = value
        return scalar

    def seal_row(self, row: Row) -> SealedRow:
        """A row of canonical scalars with its digest, held to the limits every engine shares."""
        try:
            content = self._content(row)
        except ValueError:
            self._complain(row)
            raise
        if len(content) > KEY_BYTES:
            self._check_sizes(row, len(content))
        return SealedRow(row, blake2b(content, digest_size=DIGEST_BYTES).digest())

    def _document(self, place: int, value: Any, hosts: Hosts) -> str:
        try:
            return documents.encode(value, hosts)
        except InvalidValue as error:
            raise error.within(self._name, self._collection.names[place]) from None

    def _check_types(self, signature: tuple[type, ...], values: tuple[Any, ...]) -> None:
        columns = self._collection.columns
        for place, (column, given) in enumerate(zip(columns, signature, strict=True)):
            allowed = acceptable_types(column)
            wrong = given not in allowed if allowed else given is type(None) and not column.nullable
            if wrong:
                raise column.refused(values[place], self._name)

    def _composed(self, signature: tuple[type, ...]) -> Pattern:
        helpers = Helpers(self._name, self._document, self._complain, self._check_sizes)
        return compose(self._collection.columns, signature, helpers)

    def _check_sizes(self, row: Row, size: int) -> None:
        """Refuse what no engine could index, or hold; *size* is that of the row's content."""
        if size > VALUE_BYTES:
            for name, part in zip(self._collection.names, row, strict=True):
                check_value(part, self._name, name)
        for place in self._indexed_texts:
            part = row[place]
            if isinstance(part, str) and len(part) * 4 > KEY_BYTES:
                check_key(part, self._name, self._collection.names[place])

    def _complain(self, row: Row) -> None:
        """Find and name the value that no engine can hold."""
        for name, scalar in zip(self._collection.names, row, strict=True):
            if isinstance(scalar, str):
                check_text(scalar, self._name, name)
            elif type(scalar) is int:
                check_integer(scalar, self._name, name)


def _getter(collection: Collection, given: type) -> Callable[[Any], tuple[Any, ...]]:
    """Takes the columns out of a record; those that others added stand last, and are null."""
    fields = {f.name for f in attrs.fields(given)}
    own = [name for name in collection.names if name in fields]
    others = (None,) * (len(collection.names) - len(own))
    take = attrgetter(*own)
    if len(own) == 1:
        return lambda record: (take(record), *others)
    return (lambda record: take(record) + others) if others else take


def stamped(
    sealed: SealedRow, created_at: datetime, updated_at: datetime | None = None
) -> SealedRow:
    """*sealed* with the stamps it had where it comes from (X-7); for import and copy only."""
    first = microseconds(created_at)
    return sealed._replace(
        created_at=first, updated_at=microseconds(updated_at) if updated_at else first
    )
