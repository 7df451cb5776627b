"""What a registered class looks like: how its objects are taken apart and built again.

Three shapes: classes with fields (attrs, dataclasses, named tuples), enumerations, and classes
that bring their own pair of hooks.
"""

import enum
import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from quantkeep._document_refusals import Refused, text_fault
from quantkeep._document_writer import Rewrite, Writer
from quantkeep._host_fields import Field
from quantkeep.errors import InvalidValue

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
Hook = Callable[[Any], Any]


class Shape(ABC):
    """A class under the name it is stored by."""

    kind: ClassVar[Literal["host", "enum"]] = "host"

    def __init__(self, cls: type, name: str) -> None:
        self.cls = cls
        self.name = name

    @property
    @abstractmethod
    def members(self) -> list[str]:
        """Names of the fields, or of the members of an enumeration."""

    @abstractmethod
    def parts(self, value: Any) -> Any:
        """What an object consists of: its fields by name, what its hook gives, or itself."""

    @abstractmethod
    def rewriter(self, writer: Writer) -> Rewrite:
        """What turns an object at some depth into its tag, walking its contents by *writer*."""

    @abstractmethod
    def rebuild(self, content: Any) -> Any:
        """The object again.

        Raises:
            InvalidValue: the class, as it is today, cannot hold what was stored.
        """

    def outdated(self, what: str, value: Any, remedy: str) -> InvalidValue:
        """The complaint that what was stored does not fit the class of today."""
        return InvalidValue(f"stored {self.name}: {what}", value=value, expected=remedy)


class FieldsShape(Shape):
    """A class whose constructor takes its fields."""

    def __init__(
        self, cls: type, name: str, fields: Sequence[Field], upgrade: Upgrade | None = None
    ) -> None:
        super().__init__(cls, name)
        self._names = tuple(field.name for field in fields)
        self._known = frozenset(self._names)
        self._late = tuple(field.name for field in fields if not field.argument)
        self._renamed = {
            field.name: field.argument
            for field in fields
            if field.argument and field.argument != field.name
        }
        self._upgrade = upgrade
        self._read = _reader_of(self._names)

    @property
    def members(self) -> list[str]:
        return list(self._names)

    def rewriter(self, writer: Writer) -> Rewrite:
        name, parts, walk = self.name, self.parts, writer.fields

        def rewrite(value: Any, depth: int) -> Any:
            return {"$host": [name, walk(parts(value), depth + 2, value)]}

        return rewrite

    def parts(self, value: Any) -> dict[str, Any]:
        try:
            return dict(zip(self._names, self._read(value), strict=True))
        except AttributeError:  # a field that was never set
            return {name: getattr(value, name) for name in self._names if hasattr(value, name)}

    def rebuild(self, content: Any) -> Any:
        if type(content) is not dict:
            raise self.outdated("no fields", content, "an object: it was stored by a hook")
        fields = _upgraded(self, self._upgrade, content) if self._upgrade else content
        if not self._known.issuperset(fields):
            raise self._unknown(fields)
        late = {name: fields.pop(name) for name in self._late if name in fields}
        if self._renamed:
            fields = {self._renamed.get(name, name): value for name, value in fields.items()}
        made = self._made(fields)
        for name, value in late.items():
            object.__setattr__(made, name, value)
        return made

    def _made(self, arguments: dict[str, Any]) -> Any:
        try:
            return self.cls(**arguments)
        except Exception as error:
            raise self.outdated(
                f"its class refused the stored fields: {error}",
                arguments,
                f"fields that {self.cls.__qualname__} takes today: give new ones a default, "
                "or register the class with upgrade=",
            ) from error

    def _unknown(self, fields: Mapping[str, Any]) -> InvalidValue:
        names = ", ".join(sorted(fields.keys() - self._known))
        return self.outdated(
            f"{self.cls.__qualname__} has no field {names}",
            dict(fields),
            f"only {', '.join(self._names)}; register the class with upgrade= to say what "
            "became of the others",
        )


class EnumShape(Shape):
    """An enumeration, stored by the names of its members."""

    kind = "enum"
    cls: type[enum.Enum]

    def __init__(self, cls: type[enum.Enum], name: str) -> None:
        super().__init__(cls, name)
        for member in cls.__members__:
            if fault := text_fault(member):
                raise InvalidValue(f"the member {member!r} {fault}", field=name, value=cls)

    @property
    def members(self) -> list[str]:
        return list(self.cls.__members__)

    def parts(self, value: Any) -> Any:
        return value

    def rewriter(self, writer: Writer) -> Rewrite:
        name = self.name
        tags = {member: {"$enum": [name, member]} for member in self.cls.__members__}

        def rewrite(value: enum.Enum, _depth: int) -> Any:
            # _name_, because a member may have a field of its own called name
            return tags.get(value._name_) or {"$enum": [name, _combination(value)]}

        return rewrite

    def rebuild(self, content: Any) -> Any:
        try:
            if type(content) is list and issubclass(self.cls, enum.Flag):
                return self.cls(functools.reduce(operator.or_, map(self._bits, content), 0))
            return self.cls.__members__[content]
        except (KeyError, TypeError, ValueError):
            raise self.outdated(
                f"no member {content!r}",
                content,
                f"one of {', '.join(self.members)}; a renamed member keeps its old name as an "
                "alias in the class",
            ) from None

    def _bits(self, part: Any) -> Any:
        return part if type(part) is int else self.cls.__members__[part].value


def _combination(value: Any) -> list[str | int]:
    """A combination of flags: its members' names, and the number of the bits that have none."""
    if not isinstance(value, enum.Flag):
        raise Refused("an enum member that its class does not list", value)
    named = [part for part in value if part.name in type(value).__members__]
    rest = value.value & ~functools.reduce(operator.or_, (part.value for part in named), 0)
    if rest.bit_length() > 63:
        raise Refused("a flag with unnamed bits beyond 64", value)
    return [*(str(part.name) for part in named), *([rest] if rest else [])]


class HookShape(Shape):
    """A class that brings its own pair: to something a document can hold, and back."""

    def __init__(
        self,
        cls: type,
        name: str,
        unstructure: Hook,
        structure: Hook,
        upgrade: Upgrade | None = None,
    ) -> None:
        super().__init__(cls, name)
        self._unstructure = unstructure
        self._structure = structure
        self._upgrade = upgrade

    @property
    def members(self) -> list[str]:
        return []

    def rewriter(self, writer: Writer) -> Rewrite:
        name, parts, walk = self.name, self.parts, writer.any

        def rewrite(value: Any, depth: int) -> Any:
            return {"$host": [name, walk(parts(value), depth + 2)]}

        return rewrite

    def parts(self, value: Any) -> Any:
        try:
            return self._unstructure(value)
        except Exception as error:
            raise Refused(f"the unstructure hook of {self.name} failed: {error}", value) from error

    def rebuild(self, content: Any) -> Any:
        if self._upgrade and type(content) is dict:
            content = _upgraded(self, self._upgrade, content)
        try:
            return self._structure(content)
        except Exception as error:
            raise self.outdated(
                f"its structure hook failed: {error}", content, "what the hook gave when it stored"
            ) from error


def _upgraded(shape: Shape, upgrade: Upgrade, fields: dict[str, Any]) -> dict[str, Any]:
    try:
        upgraded = upgrade(fields)
    except Exception as error:
        raise shape.outdated(f"upgrade= failed: {error}", fields, "fields of today") from error
    if type(upgraded) is not dict:
        raise shape.outdated("upgrade= gave no dict", upgraded, "a dict of all fields")
    return upgraded


def _reader_of(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """What reads those attributes at the speed of C."""
    if len(names) > 1:
        return operator.attrgetter(*names)  # of one, it would be no tuple
    return lambda value: tuple(getattr(value, name) for name in names)
