"""Collections: what backends, copy, verify and the conformance kit know of a record.

Derived from the record's class when there is one; read back from the keep when there is not, so
that maintenance tools handle the records of a program they do not have (Z-3).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import attrs

from quantkeep.columns import Column, Kind, Row, Scalar, check_integer
from quantkeep.digests import RowDigest
from quantkeep.errors import InvalidRecord, InvalidValue
from quantkeep.hosts import Hosts

if TYPE_CHECKING:
    from quantkeep.loading import Loader
    from quantkeep.sealing import Sealer

Key = tuple[Scalar, ...]

# The store's own columns that may be indexed beside the record's.
STAMPS: Final = ("created_at", "updated_at")


@attrs.frozen
class Index:
    """Columns that queries filter and order by together; the store's stamps may be among them."""

    columns: tuple[str, ...]


@attrs.frozen
class Reference:
    """*columns* hold a key of the collection *to*."""

    columns: tuple[str, ...]
    to: str
    on_delete: Literal["restrict", "cascade"] = "restrict"


class SealedRow(NamedTuple):
    """A row ready to be written: canonical scalars, and the digest of their content.

    The stamps (microseconds) are the store's unless import or copy brings the original ones.
    """

    values: Row
    digest: bytes
    created_at: int | None = None
    updated_at: int | None = None


class StoredRow(NamedTuple):
    """A row as a backend hands it back."""

    values: Row
    revision: int
    created_at: int
    updated_at: int
    schema_version: int
    digest: bytes


@attrs.frozen(kw_only=True, slots=False, cache_hash=True)
class Collection:
    """A set of records of one shape.

    A *log* only grows: its key is its stream and the revision the store assigns, and entries are
    never changed. Every other collection is keyed.

    Attributes:
        key: columns that identify a record; of a log, left empty.
        stream: columns that partition the numbering of revisions (Z-2).
        log: append-only.
        immutable: a record cannot be put again with other content.
        identity: of a log, columns that, where none is null, identify an entry within its stream:
            appending the same entry again adds nothing (Z-31).
        unique: groups of columns no two records share; a null counts as a value (Z-32).
        indexes: what is queried.
        references: what must exist.
        schema_version: of the record's declaration.
        record: the class, if this program has it.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    stream: tuple[str, ...] = ()
    log: bool = False
    immutable: bool = False
    identity: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[Index, ...] = ()
    references: tuple[Reference, ...] = ()
    schema_version: int = 1
    doc: str = ""
    record: type[Any] | None = attrs.field(default=None, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not self.name.isidentifier() or self.name.startswith("quantkeep"):
            raise InvalidRecord(f"{self.name!r} cannot name a collection: use a plain identifier")
        if self.log == bool(self.key):
            raise InvalidRecord(f"{self.name}: a log has no key of its own, all others have one")
        if self.log and "revision" in self.places:
            raise InvalidRecord(
                f"{self.name}.revision: entries of a log are known by the revision that the store "
                "gives them: call the field otherwise"
            )
        groups = (self.key, self.stream, self.identity, *self.unique)
        for name in (n for group in groups for n in group):
            self.column(name)
        for name in (*self.key, *self.stream):
            self._check_order(name)
        for name in (n for index in self.indexes for n in index.columns):
            if name not in STAMPS:
                self.column(name)

    def _check_order(self, name: str) -> None:
        """Records are listed by key, or by stream: refuse what has no order."""
        kind = self.column(name).kind
        if kind in (Kind.BINARY, Kind.DOCUMENT):
            raise InvalidRecord(
                f"{self.name}.{name}: a {kind.value} column has no order, so it cannot be part of "
                "a key or stream: use text, such as value.hex()"
            )

    # -- shape ---------------------------------------------------------------------------------

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Where each column stands in a row."""
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """Columns that identify a record; of a log, its stream and ``revision``."""
        return (*self.stream, "revision") if self.log else self.key

    def column(self, name: str) -> Column:
        """The column called *name*; raises :class:`InvalidRecord`."""
        if name not in self.places:
            known = ", ".join(self.names)
            raise InvalidRecord(f"{self.name} has no column {name!r}; it has {known}")
        return self.columns[self.places[name]]

    def pick(self, columns: Sequence[str]) -> Callable[[Row], Key]:
        """A function that takes *columns* out of a row."""
        places = [self.places[name] for name in columns]
        if len(places) > 1:
            return itemgetter(*places)
        return lambda row: tuple([row[place] for place in places])

    @cached_property
    def stream_of(self) -> Callable[[Row], Key]:
        """The stream that a row belongs to."""
        return self.pick(self.stream)

    @cached_property
    def identity_of(self) -> Callable[[Row], Key]:
        """The identity columns of a log's row."""
        return self.pick(self.identity)

    @cached_property
    def key_of(self) -> Callable[[Row], Key]:
        """The key of a keyed row."""
        return self.pick(self.key)

    def stored_key(self, stored: StoredRow) -> Key:
        """The whole key of a stored row: of a log, its stream and revision."""
        if self.log:
            return (*self.stream_of(stored.values), stored.revision)
        return self.key_of(stored.values)

    def canonical_key(self, key: Sequence[Any]) -> Key:
        """The canonical scalars of a key given as Python values.

        Raises:
            InvalidValue: a part is missing, or is not what its column takes.
        """
        if len(key) != len(self.key_columns):
            raise InvalidValue(
                f"is a key of {len(key)} parts",
                record=self.name, field="key", value=tuple(key),
                expected=f"({', '.join(self.key_columns)})",
            )  # fmt: skip
        return tuple(
            self._key_part(name, part) for name, part in zip(self.key_columns, key, strict=True)
        )

    def _key_part(self, name: str, part: Any) -> Scalar:
        if name == "revision":
            if type(part) is not int:
                raise InvalidValue(
                    "is not a revision", record=self.name, field=name, value=part,
                    expected="an integer",
                )  # fmt: skip
            check_integer(part, self.name, name)
            return part
        return self.column(name).canonical(part, record=self.name)

    # -- rows ----------------------------------------------------------------------------------

    @cached_property
    def record_name(self) -> str:
        """What errors call a record of this collection."""
        return self.record.__name__ if self.record else self.name

    @cached_property
    def digest(self) -> RowDigest:
        """Digests this collection's rows."""
        return RowDigest(self.columns)

    @cached_property
    def indexed(self) -> frozenset[str]:
        """Columns that every engine must be able to index."""
        groups = (
            self.key,
            self.stream,
            self.identity,
            *self.unique,
            *(index.columns for index in self.indexes),
        )
        return frozenset(name for group in groups for name in group)

    @cached_property
    def sealer(self) -> "Sealer":
        """Turns records into rows ready to be written."""
        from quantkeep.sealing import Sealer

        return Sealer(self)

    @cached_property
    def seal(self) -> "Callable[[Any, Hosts], SealedRow]":
        """The validated row of a record; see :meth:`quantkeep.sealing.Sealer.seal`."""
        return self.sealer.seal

    @cached_property
    def loader(self) -> "Loader":
        """Turns stored rows into records."""
        from quantkeep.loading import Loader

        return Loader(self)

    @cached_property
    def load(self) -> "Callable[[StoredRow, Hosts], Any]":
        """The record of a stored row, its digest checked; see :mod:`quantkeep.loading`."""
        return self.loader.load

    def verify(self, stored: StoredRow) -> None:
        """Hold what was read against its digest; raises :class:`quantkeep.Corrupt`."""
        self.loader.verify(stored)

    def extended(self, choices: Mapping[str, Sequence[str]]) -> "Collection":
        """This collection with further *choices* for its extensible columns.

        Raises:
            InvalidRecord: a column is unknown, or its choices are closed.
        """
        columns = list(self.columns)
        for name, more in choices.items():
            column = self.column(name)
            if not column.extensible:
                raise InvalidRecord(f"{self.name}.{name} takes {column.expected}, and no others")
            wider = tuple(dict.fromkeys((*column.choices, *more)))
            columns[self.places[name]] = attrs.evolve(column, choices=wider)
        return attrs.evolve(self, columns=tuple(columns))
