"""Schemas as text: a keep describes its own collections, so that tools need no Python classes."""

import json
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any, Final

import attrs
import cattrs

from quantkeep.checksums import checked, is_sound, understood
from quantkeep.collection import Collection
from quantkeep.columns import Column, Kind
from quantkeep.errors import Corrupt, FormatTooNew, InvalidRecord

FORMAT: Final = 1  # of everything a keep stores beside its records

_WHAT: Final = "the keep's description of its collections"
_LOCATOR: Final = "description"
_MEMBERS: Final = frozenset({"format", "collections"})


@cache
def _converter() -> cattrs.Converter:
    """A pure function of the classes; cached because building hooks takes milliseconds."""
    converter = cattrs.Converter(omit_if_default=True, forbid_extra_keys=True)
    converter.register_unstructure_hook(Kind, lambda kind: kind.value)
    converter.register_unstructure_hook(
        Collection,
        cattrs.gen.make_dict_unstructure_fn(
            Collection, converter, record=cattrs.override(omit=True), _cattrs_omit_if_default=True
        ),
    )
    converter.register_structure_hook(
        Collection,
        cattrs.gen.make_dict_structure_fn(
            Collection,
            converter,
            record=cattrs.override(omit=True),
            _cattrs_forbid_extra_keys=True,
        ),
    )
    return converter


def describe(collections: Iterable[Collection]) -> str:
    """The text a keep remembers of its *collections*, with a checksum."""
    return _described(tuple(collections))


@lru_cache(maxsize=8)
def _described(collections: tuple[Collection, ...]) -> str:
    """Each opening asks for it, and most openings in a process are of the same collections."""
    said = {c.name: _said(c) for c in collections}
    return checked(json.dumps({"format": FORMAT, "collections": said}, sort_keys=True))


def is_described(stored: str | None, description: str) -> bool:
    """Whether *stored* says what *description* does; it may be of before there were checksums."""
    return stored is not None and (stored == description or checked(stored) == description)


def check(text: str) -> None:
    """Raise :class:`Corrupt` if a stored description is not what was written."""
    if not is_sound(text):
        understood(text, _MEMBERS, _WHAT, _LOCATOR)  # which says why; or it has no checksum


@lru_cache(maxsize=1024)
def _said(collection: Collection) -> dict[str, Any]:
    """Each opening describes all there are, to see that nothing is missing."""
    said: dict[str, Any] = _converter().unstructure(collection, Collection)
    return said


def understand(text: str) -> list[Collection]:
    """The collections that a stored description speaks of.

    Raises:
        FormatTooNew: it was written by a newer quantkeep.
        Corrupt: it cannot be read, or is not what was written.
    """
    return [*_understood(text)]


@lru_cache(maxsize=8)
def _understood(text: str) -> tuple[Collection, ...]:
    """A keep that changes hands is understood anew by each, and mostly says what it said before."""
    said = understood(text, _MEMBERS, _WHAT, _LOCATOR)
    try:
        version = int(said["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{_WHAT} cannot be read: {error}", locator=_LOCATOR) from None
    if version > FORMAT:
        raise FormatTooNew(
            f"the keep has format {version}; this quantkeep reads up to {FORMAT}: upgrade it"
        )
    try:
        collections = said["collections"].values()
        return tuple(_converter().structure(c, Collection) for c in collections)
    except Exception as error:  # cattrs raises an exception group of whatever went wrong
        raise Corrupt(f"{_WHAT} cannot be read: {error}", locator=_LOCATOR) from error


def merge(ours: Sequence[Collection], theirs: Sequence[Collection]) -> list[Collection]:
    """*ours* as this keep has to hold them: with the columns and choices others added to them.

    Raises:
        FormatTooNew: a collection was written by a newer schema.
        InvalidRecord: the two contradict each other.
    """
    stored = {c.name: c for c in theirs}
    known = {c.name for c in ours}
    merged = [_merged(c, stored[c.name]) if c.name in stored else c for c in ours]
    return merged + [c for c in theirs if c.name not in known]


def _merged(ours: Collection, theirs: Collection) -> Collection:
    if theirs.schema_version > ours.schema_version:
        raise FormatTooNew(
            f"{ours.name} has schema version {theirs.schema_version}; this program knows "
            f"{ours.schema_version}: upgrade it, or open with the newer record class"
        )
    for aspect in ("key", "stream", "log", "identity"):
        if getattr(ours, aspect) != getattr(theirs, aspect):
            raise InvalidRecord(
                f"{ours.name}: its {aspect} is stored as {getattr(theirs, aspect)!r} and declared "
                f"as {getattr(ours, aspect)!r}; that cannot change in place: copy to a new keep"
            )
    columns = [_column(c, theirs) for c in ours.columns]
    extra = [c for c in theirs.columns if c.name not in ours.places]
    extra_columns = tuple(attrs.evolve(c, nullable=True) for c in extra)
    indexes = tuple(dict.fromkeys((*ours.indexes, *theirs.indexes)))
    return attrs.evolve(ours, columns=(*columns, *extra_columns), indexes=indexes)


def _column(ours: Column, theirs_all: Collection) -> Column:
    if ours.name not in theirs_all.places:
        if not ours.nullable:
            raise InvalidRecord(
                f"{theirs_all.name}.{ours.name} is new and must allow None, because what is "
                "already stored has no value for it"
            )
        return ours
    theirs = theirs_all.column(ours.name)
    if theirs.kind is not ours.kind or (theirs.precision, theirs.scale) != (
        ours.precision,
        ours.scale,
    ):
        raise InvalidRecord(
            f"{theirs_all.name}.{ours.name} is stored as {theirs.kind.value} and declared as "
            f"{ours.kind.value}: give the new field another name"
        )
    wider = (
        tuple(dict.fromkeys((*ours.choices, *theirs.choices))) if ours.extensible else ours.choices
    )
    return attrs.evolve(ours, choices=wider, nullable=ours.nullable or theirs.nullable)
