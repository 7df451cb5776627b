"""The registry of host types: the caller's own classes that documents may hold.

    hosts = Hosts([Order, ArbitrageTrade])
    text = documents.encode({"BTC": trade}, hosts)

An object is stored as the name of its class and its fields, each by its run-time type, and comes
back through the constructor. What is stored names no module, and nothing that it names is ever
imported: only classes that were registered come back.
"""

import enum
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from quantkeep._document_reader import Reader
from quantkeep._document_refusals import Refused, text_fault
from quantkeep._document_writer import Writer
from quantkeep._host_fields import constructor_fault, describes_itself, fields_of, reachable
from quantkeep._host_shapes import EnumShape, FieldsShape, Hook, HookShape, Shape, Upgrade
from quantkeep.errors import InvalidValue

if TYPE_CHECKING:
    import cattrs

__all__ = ["Hosts"]


class Hosts:
    """The classes whose objects may stand in documents, by the names they are stored under.

    attrs classes, dataclasses, named tuples and enumerations (``Flag`` too) describe themselves.
    Other classes need a pair of hooks, given to :meth:`register` or held by the *converter*.
    One registry belongs to one keep, and threads may share it.

    Raises:
        InvalidValue: as :meth:`register` does.
    """

    def __init__(
        self, types: Iterable[type] = (), *, converter: "cattrs.Converter | None" = None
    ) -> None:
        self._converter = converter
        self._by_class: dict[type, Shape] = {}
        self._by_name: dict[str, Shape] = {}
        self.writer = Writer(careful=False)
        self.careful_writer = Writer(careful=True)
        self.reader = Reader(self._by_name, strict=True)
        self.lenient_reader = Reader(self._by_name, strict=False)
        for cls in types:
            self.register(cls)

    def register(
        self,
        cls: type,
        *,
        name: str | None = None,
        unstructure: Callable[[Any], Any] | None = None,
        structure: Callable[[Any], Any] | None = None,
        upgrade: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        """Lets objects of *cls* be kept, and of the classes that its fields' annotations name.

        Registering a class again replaces what was said of it; subclasses are classes of their
        own. Nothing is registered if any of it fails.

        Args:
            cls: the class.
            name: what it is stored as, by default ``cls.__qualname__``. Give the old name after
                renaming a class, and a name of its own where two classes share one.
            unstructure: makes something that a document can hold of an object.
            structure: makes the object again of what *unstructure* gave.
            upgrade: state versioning (D70-32). It is called with the stored fields of each object
                before it is rebuilt, and returns the fields of today; given those of today it
                returns them unchanged.

        Raises:
            InvalidValue: the class cannot be kept as it is, or another has its name.
        """
        shape = self._shape(cls, name, unstructure, structure, upgrade)
        found = {cls: shape}
        if unstructure is None:
            self._follow(cls, found)
        self._check_names(found.values())
        for registered in found.values():
            self._add(registered)

    def __contains__(self, cls: object) -> bool:
        return isinstance(cls, type) and cls in self._by_class

    def names(self) -> list[str]:
        """The names that classes are stored under, sorted."""
        return sorted(self._by_name)

    def describe(self) -> dict[str, list[str]]:
        """Each name with its fields or enum members (none where hooks decide), as a plain dict.

        For a keep to say what it holds, to those who lack the classes (Z-3).
        """
        return {name: self._by_name[name].members for name in self.names()}

    def as_dict(self, value: Any) -> Any:
        """The fields of a registered object as a dict, and of those inside it (D70-29).

        For a log, a table or a template; Decimals, instants and enum members stay what they are.
        Objects in dicts, lists and tuples are followed.

        Raises:
            InvalidValue: a hook failed.
        """
        try:
            return self._as_dict(value)
        except Refused as refused:
            raise refused.at("") from refused.__cause__

    def _as_dict(self, value: Any) -> Any:
        if shape := self._by_class.get(type(value)):
            parts = shape.parts(value)
            return value if parts is value else self._as_dict(parts)
        if type(value) is dict:
            return {key: self._as_dict(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(map(self._as_dict, value))
        return value

    def _follow(self, cls: type, found: dict[type, Shape]) -> None:
        for inner in reachable(cls):
            if inner not in found and inner not in self and describes_itself(inner):
                try:
                    found[inner] = self._shape(inner, None, None, None, None)
                except InvalidValue:
                    continue  # nobody asked for it; encoding one will
                self._follow(inner, found)

    def _shape(
        self,
        cls: type,
        name: str | None,
        unstructure: Hook | None,
        structure: Hook | None,
        upgrade: Upgrade | None,
    ) -> Shape:
        if not isinstance(cls, type):
            raise InvalidValue("is not a class", value=cls, expected="a class, as in types=[Order]")
        if (unstructure is None) != (structure is None):
            raise InvalidValue(
                f"one hook for {cls.__qualname__}", value=cls, expected="both hooks, or neither"
            )
        if self.writer.is_built_in(cls):
            raise InvalidValue(
                f"{cls.__qualname__} comes back as it is", value=cls, expected="no registration"
            )
        name = _storable(cls.__qualname__ if name is None else name, cls)
        if unstructure is not None and structure is not None:
            return HookShape(cls, name, unstructure, structure, upgrade)
        if issubclass(cls, enum.Enum):
            return _enum(cls, name, upgrade)
        if (fields := fields_of(cls)) is None:
            return self._converted(cls, name, upgrade)
        if fault := constructor_fault(cls, fields):
            raise InvalidValue(
                f"{cls.__qualname__} cannot be rebuilt from its fields: {fault}",
                value=cls,
                expected="unstructure= and structure= hooks for it",
            )
        return FieldsShape(cls, name, fields, upgrade)

    def _converted(self, cls: type, name: str, upgrade: Upgrade | None) -> Shape:
        converter = self._converter
        if converter is not None and _has_hooks(converter, cls):
            return HookShape(
                cls,
                name,
                lambda value: converter.unstructure(value, unstructure_as=cls),
                lambda content: converter.structure(content, cls),
                upgrade,
            )
        raise InvalidValue(
            f"{cls.__qualname__} does not say what it consists of",
            value=cls,
            expected="an attrs class, a dataclass, a named tuple, an enum, or a class with both "
            "unstructure= and structure= hooks, or with hooks in the converter",
        )

    def _check_names(self, shapes: Iterable[Shape]) -> None:
        taken = dict(self._by_name)
        for shape in shapes:
            other = taken.setdefault(shape.name, shape)
            if other.cls is not shape.cls:
                raise InvalidValue(
                    f"{_full(shape.cls)} and {_full(other.cls)} would both be stored as "
                    f"{shape.name!r}",
                    value=shape.cls,
                    expected="a name of its own for one of them: hosts.register(cls, name=…)",
                )

    def _add(self, shape: Shape) -> None:
        previous = self._by_class.get(shape.cls)
        self._by_name[shape.name] = shape
        self._by_class[shape.cls] = shape
        self.writer.add(shape)
        self.careful_writer.add(shape)
        if previous is not None and previous.name != shape.name:
            del self._by_name[previous.name]


def _enum(cls: type[enum.Enum], name: str, upgrade: Upgrade | None) -> Shape:
    if upgrade is not None:
        raise InvalidValue(
            f"{cls.__qualname__} is an enum, which has no fields to upgrade",
            value=cls,
            expected="no upgrade=: a renamed member keeps its old name as an alias in the class",
        )
    return EnumShape(cls, name)


def _storable(name: str, cls: type) -> str:
    if type(name) is not str or not name or text_fault(name):
        raise InvalidValue(f"the name {name!r} for {cls.__qualname__}", expected="a readable text")
    return name


def _has_hooks(converter: "cattrs.Converter", cls: type) -> bool:
    from cattrs.errors import StructureHandlerNotFoundError
    from cattrs.fns import identity

    try:
        converter.get_structure_hook(cls)
    except StructureHandlerNotFoundError:
        return False
    return converter.get_unstructure_hook(cls) is not identity


def _full(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
