"""Declaring records: attrs classes that say everything about the shape of what is kept.

    @record("fills", log=True, stream=("account", "mode"), identity=("uid",))
    class Fill(Record):
        '''One execution of an order.'''

        account: str = "default"
        mode: Literal["paper", "live"]
        uid: str | None = None
        timestamp: datetime = field(index=True, doc="when it happened")
        price: Decimal = field(precision=(20, 8))
        venue: dict[str, Any] | None = None

Kinds, nullability and enumerations come from the annotations; :func:`field` adds what an annotation
cannot say. Tables, Arrow schemas, keys, round-trip tests and documentation are all derived from it.
"""

import types
import typing
from collections.abc import Callable, Container, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import (
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
)
from uuid import UUID

import attrs

from quantkeep.collection import Collection, Index, Reference
from quantkeep.columns import Column, Kind, instant
from quantkeep.errors import InvalidRecord, InvalidValue

_METADATA = "quantkeep"

_KINDS: dict[Any, Kind] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    float: Kind.REAL,
    Decimal: Kind.DECIMAL,
    bool: Kind.BOOLEAN,
    datetime: Kind.TIMESTAMP,
    date: Kind.DATE,
    UUID: Kind.UUID,
    bytes: Kind.BINARY,
}


class Envelope(NamedTuple):
    """What the store knows of a record beside its content (Z-1). Never settable by an update."""

    revision: int  # dense and ascending in the record's stream
    created: int  # the store's stamps, in microseconds since the epoch
    updated: int
    schema_version: int
    digest: bytes  # of the content alone, so that copies can be compared

    @property
    def created_at(self) -> datetime:
        """When the record was first stored, UTC."""
        return instant(self.created)

    @property
    def updated_at(self) -> datetime:
        """When it was last written, UTC."""
        return instant(self.updated)


@attrs.frozen(kw_only=True, slots=True)
class Record:
    """Base of every record. ``envelope`` is set on what was read, ``None`` on what you make."""

    collection: ClassVar[Collection]

    envelope: Envelope | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def revision(self) -> int | None:
        """The store's number for this record in its stream, or ``None`` if it was not read."""
        return self.envelope.revision if self.envelope else None

    def replace(self, **changes: Any) -> Self:
        """A copy with *changes*, to be written as new content."""
        return attrs.evolve(self, envelope=None, **changes)

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, without the envelope; values are not converted."""
        return {column.name: getattr(self, column.name) for column in self.collection.columns}


def field(
    *,
    default: Any = attrs.NOTHING,
    factory: Callable[[], Any] | None = None,
    index: bool = False,
    references: str | None = None,
    on_delete: Literal["restrict", "cascade"] = "restrict",
    choices: Sequence[str] = (),
    extensible: bool = False,
    precision: tuple[int, int] = (38, 18),
    finite: bool = False,
    between: tuple[float, float] | None = None,
    doc: str = "",
) -> Any:
    """Say of a field what its annotation cannot.

    Args:
        default: taken when the field is not given; without one it is required.
        factory: called for a default that must be fresh each time.
        index: queries filter or order by this field.
        references: name of the keyed collection this field holds a key of.
        on_delete: whether deleting the referenced record is refused, or deletes this one too.
        choices: the values taken; a ``Literal`` annotation says the same.
        extensible: a keep may be opened with further choices (``choices={"trades.action": ...}``).
        precision: decimals: significant digits in all, and after the point. Never rounded to.
        finite: reals: NaN and infinities are refused, as they are in keys, streams, identities.
        between: inclusive bounds of a number.
        doc: one line with unit and sign, for the documentation.
    """
    said = {
        "index": index,
        "references": references,
        "on_delete": on_delete,
        "choices": tuple(choices),
        "extensible": extensible,
        "precision": precision,
        "finite": finite,
        "between": between,
        "doc": doc,
    }
    if factory is not None:
        return attrs.field(factory=factory, metadata={_METADATA: said})
    return attrs.field(default=default, metadata={_METADATA: said})


_R = TypeVar("_R", bound=Record)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def record(
    name: str | None = None,
    *,
    key: Sequence[str] = (),
    stream: Sequence[str] = (),
    log: bool = False,
    immutable: bool = False,
    identity: Sequence[str] = (),
    unique: Sequence[Sequence[str]] = (),
    indexes: Sequence[Sequence[str]] = (),
    references: Sequence[Reference] = (),
    schema_version: int = 1,
) -> Callable[[type[_R]], type[_R]]:
    """Make the decorated class a record, kept in the collection *name*.

    Without a *name* the class extends the record it derives from: same collection, further fields
    and indexes (CODEX-5). See :class:`quantkeep.collection.Collection` for the arguments.

    Raises:
        InvalidRecord: the declaration contradicts itself.
    """

    def declare(cls: type[_R]) -> type[_R]:
        made = attrs.frozen(
            cls, kw_only=True, slots=True, auto_attribs=True, field_transformer=_required
        )
        columns, said = _columns(made, identifying={*key, *stream, *identity})
        all_indexes = (
            *(Index(tuple(group)) for group in indexes),
            *(Index((c,)) for c, s in said.items() if s.get("index")),
        )
        all_references = (
            *references,
            *(
                Reference((c,), s["references"], s["on_delete"])
                for c, s in said.items()
                if s.get("references")
            ),
        )
        if name is None:
            made.collection = _extended(made, columns, all_indexes, all_references)
        else:
            made.collection = Collection(
                name=name,
                columns=columns,
                key=tuple(key),
                stream=tuple(stream),
                log=log,
                immutable=immutable or log,
                identity=tuple(identity),
                unique=tuple(tuple(group) for group in unique),
                schema_version=schema_version,
                doc=(cls.__doc__ or "").strip(),
                record=made,
                indexes=all_indexes,
                references=all_references,
            )
        return made

    return declare


def _extended(
    cls: type[Record],
    columns: tuple[Column, ...],
    indexes: tuple[Index, ...],
    references: tuple[Reference, ...],
) -> Collection:
    base: Collection | None = getattr(cls, "collection", None)
    if base is None:
        raise InvalidRecord(f"{cls.__name__} extends no record: give it a collection name")
    known = {column.name for column in base.columns}
    late = [c.name for c in columns if c.name not in known and not c.nullable]
    if late:
        raise InvalidRecord(
            f"{cls.__name__}.{late[0]}: a field that extends {base.name!r} must allow None, "
            "because what is already stored has no value for it"
        )
    return attrs.evolve(
        base,
        columns=base.columns + tuple(c for c in columns if c.name not in known),
        indexes=tuple(dict.fromkeys(base.indexes + indexes)),
        references=tuple(dict.fromkeys(base.references + references)),
        record=cls,
    )


def _required(cls: type, fields: "list[attrs.Attribute[Any]]") -> "list[attrs.Attribute[Any]]":
    """A field that is left out is named by our own error, not by a TypeError (Z-20)."""
    return [
        f.evolve(default=attrs.Factory(_missing(cls.__name__, f.name)))
        if f.default is attrs.NOTHING
        else f
        for f in fields
    ]


def _missing(record_name: str, field_name: str) -> Callable[[], Any]:
    def refuse() -> Any:
        raise InvalidValue("is required", record=record_name, field=field_name)

    return refuse


def _columns(
    cls: type[Record], *, identifying: Container[str]
) -> tuple[tuple[Column, ...], dict[str, dict[str, Any]]]:
    """The columns of *cls*, and what their fields say; no NaN identifies, for it equals nothing."""
    hints = typing.get_type_hints(cls)
    _check_envelope(cls)
    said = {
        f.name: dict(f.metadata.get(_METADATA, {}))
        for f in attrs.fields(cls)
        if f.name != "envelope"
    }
    for name, more in said.items():
        if name in identifying and _understood(hints[name])[0] is Kind.REAL:
            more["finite"] = True
    return tuple(_column(name, hints[name], s) for name, s in said.items()), said


def _check_envelope(cls: type[Record]) -> None:
    """Refuse a field that nothing would be stored of."""
    own = (c for c in cls.__mro__ if c is not Record)
    if any("envelope" in vars(c).get("__annotations__", ()) for c in own):
        raise InvalidRecord(
            f"{cls.__name__}.envelope: what the store says of a record is called so: call the "
            "field otherwise"
        )


def _column(name: str, annotation: Any, said: dict[str, Any]) -> Column:
    kind, nullable, choices = _understood(annotation)
    precision, scale = said.get("precision", (38, 18))
    return Column(
        name=name,
        kind=kind,
        nullable=nullable,
        choices=said.get("choices") or choices,
        extensible=said.get("extensible", False),
        precision=precision,
        scale=scale,
        finite=said.get("finite", False),
        between=said.get("between"),
        doc=said.get("doc", ""),
    )


def _understood(annotation: Any) -> tuple[Kind, bool, tuple[str, ...]]:
    """Kind, nullability and choices that an annotation says."""
    if annotation is Any:
        return Kind.DOCUMENT, True, ()
    if get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        if len(parts) > 1:
            return Kind.DOCUMENT, len(parts) < len(get_args(annotation)), ()
        kind, _, choices = _understood(parts[0])
        return kind, True, choices
    if get_origin(annotation) is Literal:
        values = get_args(annotation)
        return Kind.TEXT, None in values, tuple(v for v in values if v is not None)
    return _KINDS.get(annotation, Kind.DOCUMENT), False, ()
