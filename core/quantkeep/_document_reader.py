"""From canonical text back to the value: the JSON decoder, and what restores the tags."""

import json
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NoReturn, Protocol

from quantkeep._document_refusals import Refused, field_step, index_step, key_step
from quantkeep._document_tags import FACTORIES, SCALAR_READERS
from quantkeep._opaque import Opaque
from quantkeep.errors import Corrupt, InvalidValue


class Rebuildable(Protocol):
    """A registered class, to a reader."""

    @property
    def kind(self) -> Literal["host", "enum"]:
        """Which tag its objects are stored under."""

    def rebuild(self, content: Any) -> Any:
        """The object again; raises InvalidValue if its class cannot hold the content."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} stands in it, untagged")


_NAMED: Final = frozenset({"$host", "$defaultdict", "$deque"})  # whose content is a pair
_PAIR: Final = 2


def _decoder(restore: Callable[[Any], Any] | None = None) -> Callable[[str], Any]:
    """Decodes a text; *restore* is called with each object.

    Space around the value, for which the decoder's own method looks first, is in no canonical
    text; looking for it takes as long as a small document does.
    """
    decoder = json.JSONDecoder(object_hook=restore, parse_constant=_no_constant)

    def decode(text: str) -> Any:
        try:
            value, end = decoder.raw_decode(text)
        except json.JSONDecodeError:
            return decoder.decode(text)
        return value if end == len(text) else decoder.decode(text)

    return decode


_plain: Final = _decoder()


class Reader:
    """Restores values; holds no state of a call, so threads may share it.

    *hosts* are the registered classes by name. Where *strict*, an object of a class that is not
    among them is refused; otherwise it, and any that its class will not take back, is an Opaque.
    """

    def __init__(self, hosts: Mapping[str, Rebuildable], *, strict: bool) -> None:
        self._hosts = hosts
        self._strict = strict
        self._tags: dict[str, Callable[[Any], Any]] = {
            **SCALAR_READERS,
            **_CONTAINER_READERS,
            "$host": lambda content: self._host("host", content),
            "$enum": lambda content: self._host("enum", content),
        }
        self._tagged = _decoder(self._restore)

    def read(self, text: str) -> Any:
        """The value of a text.

        Raises:
            Corrupt: it is no document.
            InvalidValue: an object in it cannot be restored; the error has no path yet.
        """
        # A tag or an escaped key cannot be written without one of these.
        decode = self._tagged if '"$' in text or "\\u0024" in text else _plain
        try:
            return decode(text)
        except InvalidValue:
            raise
        except (ValueError, RecursionError) as error:
            raise Corrupt(f"a stored document cannot be read: {error}") from error

    def where(self, text: str) -> str:
        """The path to the object of *text* that cannot be restored."""
        try:
            self._search(_plain(text))
        except Refused as refused:
            return refused.at("").field or ""
        except RecursionError:  # deeper than any document, and the complaint stands without it
            return ""
        return ""

    def _restore(self, mapping: dict[str, Any]) -> Any:
        if len(mapping) == 1:
            ((key, content),) = mapping.items()
            if key[:1] != "$":
                return mapping
            return {key[1:]: content} if key[:2] == "$$" else self._untagged(key, content)
        if "$" in "".join(mapping):
            return _unescaped(mapping)
        return mapping

    def _untagged(self, tag: str, content: Any) -> Any:
        read = self._tags.get(tag)
        if read is None:
            raise Corrupt(f"a stored document has the tag {tag}, which is unknown here")
        try:
            return read(content)
        except InvalidValue:
            raise
        except (ValueError, TypeError, ArithmeticError) as error:
            raise Corrupt(f"a stored document has a broken {tag}: {error}") from error

    def _host(self, kind: Literal["host", "enum"], content: Any) -> Any:
        name, value = _pair(content)
        host = self._hosts.get(name)
        if host is None or host.kind != kind:
            if not self._strict:
                return Opaque(name, value, kind=kind)
            raise _not_registered(name)
        if self._strict:
            return host.rebuild(value)
        try:
            return host.rebuild(dict(value) if type(value) is dict else value)
        except InvalidValue:
            return Opaque(name, value, kind=kind)

    def _search(self, raw: Any) -> Any:
        """Restores as the decoder does, only slower, and knows where it is."""
        if type(raw) is list:
            return [self._step(index_step(place), item, raw) for place, item in enumerate(raw)]
        if type(raw) is not dict:
            return raw
        if _is_tag(raw):
            return self._search_tag(raw)
        inner = {key: self._step(key_step(_name(key)), item, raw) for key, item in raw.items()}
        return self._restore(inner)

    def _search_tag(self, raw: dict[str, Any]) -> Any:
        ((tag, content),) = raw.items()
        if tag not in _NAMED or type(content) is not list or len(content) != _PAIR:
            inner = self._search(content)
        elif tag == "$host" and type(content[1]) is dict and not _is_tag(content[1]):
            fields = {k: self._step(field_step(k), item, raw) for k, item in content[1].items()}
            inner = [content[0], self._restore(fields)]
        else:
            inner = [content[0], self._search(content[1])]
        try:
            return self._untagged(tag, inner)
        except InvalidValue as error:
            raise Refused(error.message, raw) from None

    def _step(self, step: str, item: Any, container: Any) -> Any:
        try:
            return self._search(item)
        except Refused as refused:
            raise refused.under(step, container)  # noqa: B904 - the same error, further out


def _name(key: str) -> str:
    return key[1:] if key[:2] == "$$" else key


def _is_tag(raw: dict[str, Any]) -> bool:
    key = next(iter(raw), "")
    return len(raw) == 1 and key[:1] == "$" and key[:2] != "$$"


def _unescaped(mapping: dict[str, Any]) -> dict[str, Any]:
    restored = {}
    for key, value in mapping.items():
        if key[:1] == "$":
            if key[:2] != "$$":
                raise Corrupt(f"a stored document has the tag {key} beside other keys")
            key = key[1:]  # noqa: PLW2901 - the key as it was
        restored[key] = value
    return restored


def _not_registered(name: str) -> InvalidValue:
    short = name.rpartition(".")[2]
    return InvalidValue(
        f"holds a {name}, a class that is not registered here",
        value=name,
        expected=f"types=[{short}] when the keep is opened",
    )


def _pair(content: Any) -> tuple[str, Any]:
    name, value = content
    if type(content) is not list or type(name) is not str:
        raise ValueError("a name and a content expected")
    return name, value


def _list(content: Any) -> list[Any]:
    if type(content) is not list:
        raise ValueError("a list expected")
    return content


def _members(content: Any) -> frozenset[Any]:
    members = frozenset(_list(content))
    if len(members) != len(content):
        raise ValueError("an item twice")
    return members


def _deque(content: Any) -> deque[Any]:
    length, items = _list(content)
    if length is not None and not len(_list(items)) <= length:
        raise ValueError("more items than its length")
    return deque(_list(items), length)


def _ordered(content: Any) -> OrderedDict[str, Any]:
    pairs = [_pair(pair) for pair in _list(content)]
    ordered = OrderedDict(pairs)
    if len(ordered) != len(pairs):
        raise ValueError("a key twice")
    return ordered


def _defaulting(content: Any) -> defaultdict[str, Any]:
    name, mapping = _list(content)
    if type(mapping) is not dict or not (name is None or name in FACTORIES):
        raise ValueError("a factory and an object expected")
    return defaultdict(None if name is None else FACTORIES[name], mapping)


_CONTAINER_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$tuple": lambda content: tuple(_list(content)),
    "$set": lambda content: set(_members(content)),
    "$frozenset": _members,
    "$deque": _deque,
    "$ordereddict": _ordered,
    "$defaultdict": _defaulting,
}
