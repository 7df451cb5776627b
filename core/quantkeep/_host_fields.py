"""What can be read off a class: its fields, how its constructor takes them, what they may hold."""

import dataclasses
import enum
import inspect
import typing
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import attrs

_UNRESOLVED = (NameError, AttributeError, TypeError, SyntaxError)


class Field(NamedTuple):
    """A field of a host class."""

    name: str
    argument: str | None  # what the constructor calls it; None where it does not take it


def fields_of(cls: type) -> tuple[Field, ...] | None:
    """The fields of an attrs class, a dataclass or a named tuple; ``None`` for other classes."""
    if attrs.has(cls):
        # Private attributes have an alias without the underscore.
        return tuple(Field(a.name, a.alias if a.init else None) for a in attrs.fields(cls))
    if dataclasses.is_dataclass(cls):
        return tuple(Field(f.name, f.name if f.init else None) for f in dataclasses.fields(cls))
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return tuple(Field(name, name) for name in cls._fields)
    return None


def describes_itself(cls: type) -> bool:
    """Whether a class can be kept without hooks: it has fields, or is an enumeration."""
    return issubclass(cls, enum.Enum) or fields_of(cls) is not None


def constructor_fault(cls: type, fields: Sequence[Field]) -> str | None:
    """Why the constructor cannot rebuild an object from its fields; ``None`` if it can."""
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):  # none to be seen: building one will tell
        return None
    given = {field.argument for field in fields if field.argument}
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if wanted := {p.name for p in parameters if _is_required(p)} - given & named:
        return f"its constructor wants {', '.join(sorted(wanted))}, which is no field"
    if not any(p.kind is p.VAR_KEYWORD for p in parameters) and (refused := given - named):
        return f"its constructor does not take the field {', '.join(sorted(refused))}"
    return None


def _is_required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variadic


def reachable(cls: type) -> Iterator[type]:
    """The classes that the annotations of a class's fields name, at any depth inside them."""
    names = {field.name for field in fields_of(cls) or ()}
    for name, annotation in _annotations(cls).items():
        if name in names:
            yield from _classes_in(annotation)


def _annotations(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except _UNRESOLVED:  # a name that exists for type checkers only: the others still count
        return _annotations_one_by_one(cls)


def _annotations_one_by_one(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, annotation in inspect.get_annotations(base).items():
            alone = type(base.__name__, (), {"__annotations__": {name: annotation}})
            alone.__module__ = base.__module__  # where its names are looked up
            try:
                found |= typing.get_type_hints(alone)
            except _UNRESOLVED:  # encoding such a value will ask for its class
                continue
    return found


def _classes_in(annotation: Any) -> Iterator[type]:
    pending = [annotation]
    seen: dict[int, Any] = {}  # by identity: aliases may name themselves, and not all can be hashed
    while pending:
        part = pending.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        origin = typing.get_origin(part) or part
        if isinstance(origin, type):
            yield origin
        pending += _parts(part, origin)


def _parts(annotation: Any, origin: Any) -> list[Any]:
    parts = list(typing.get_args(annotation))
    if isinstance(annotation, enum.Enum):  # Literal[Side.BUY]
        parts.append(type(annotation))
    if typing.is_typeddict(origin):
        parts += _annotations(origin).values()
    for inside in ("__supertype__", "__value__", "__bound__"):  # NewType, `type X = …`, TypeVar
        if not isinstance(annotation, type):
            parts.append(getattr(annotation, inside, None))
    return parts
