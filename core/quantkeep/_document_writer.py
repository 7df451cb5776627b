"""From a value to what the JSON encoder writes: checks every container, rewrites what needs tags.

The encoder in C does the bulk of the work, and would take far more than may be taken (tuples,
subclasses, numbers as keys, NaN), so each container's types are checked before it. Containers that
need nothing are handed to it as they are: a plain one costs a set of types and no copy.
"""

import json
import math
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, Final, Protocol

from quantkeep._document_refusals import (
    Refused,
    TooDeep,
    field_step,
    index_step,
    item_step,
    key_step,
    text_fault,
    unregistered,
)
from quantkeep._document_tags import FACTORIES, SCALAR_WRITERS
from quantkeep._opaque import Opaque

MAX_DEPTH: Final = 200  # arrays and objects of the text; a host object is three of them
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

Rewrite = Callable[[Any, int], Any]
_Step = Callable[[Any], str]

_STR: Final = frozenset({str})
_INT: Final = frozenset({int})
_PLAIN: Final = frozenset({str, float, bool, NoneType})  # int has limits, so it is looked at
_PLAIN_CAREFULLY: Final = frozenset({bool, NoneType})

_encoder: Final = json.JSONEncoder(
    ensure_ascii=False,
    check_circular=False,  # the depth is limited before
    allow_nan=False,
    sort_keys=True,
    separators=(",", ":"),
)


def _made_once(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """What ``encoder.encode`` does; that makes an encoder in C, and closures, for each value."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    separators = encoder.key_separator, encoder.item_separator
    options = encoder.sort_keys, encoder.skipkeys, encoder.allow_nan
    text_of = json.encoder.encode_basestring
    chunks = make(None, encoder.default, text_of, None, *separators, *options)
    return lambda value: "".join(chunks(value, 0))


dumps: Final = _made_once(_encoder)


class Rewritable(Protocol):
    """A registered class, to a writer: it makes the function that rewrites its objects."""

    @property
    def cls(self) -> type:
        """The class."""

    def rewriter(self, writer: "Writer") -> Rewrite:
        """What turns an object at some depth into its tag, walking its contents by *writer*."""


class _Rewriters(dict[type, Rewrite]):
    """What rewrites a value, by its exact type."""

    def __init__(self, writer: "Writer") -> None:
        super().__init__()
        self._writer = writer

    def __missing__(self, kind: type) -> Rewrite:
        if hasattr(kind, "__quantkeep_plain__"):
            return self._writer.stand_in
        return _refuse


class Writer:
    """Rewrites values for the encoder; holds no state of a call, so threads may share it.

    A *careful* one also looks into every text and float, which the quick one leaves to a glance at
    the finished text (see :func:`quantkeep.documents.encode`).
    """

    def __init__(self, *, careful: bool) -> None:
        self._careful = careful
        self._plain = _PLAIN_CAREFULLY if careful else _PLAIN
        self._rewriters = _Rewriters(self)
        self._rewriters.update(SCALAR_WRITERS)
        self._rewriters.update(
            {
                str: _text if careful else _as_it_is,
                float: _number if careful else _as_it_is,
                int: _integer,
                bool: _as_it_is,
                NoneType: _as_it_is,
                dict: self.mapping,
                list: self.sequence,
                tuple: self._tuple,
                set: self._set,
                frozenset: self._frozenset,
                deque: self._deque,
                OrderedDict: self._ordered,
                defaultdict: self._defaulting,
                Opaque: self._opaque,
            }
        )

        self._built_in = frozenset(self._rewriters)

    def is_built_in(self, cls: type) -> bool:
        """Whether documents hold objects of *cls* without any registration."""
        return cls in self._built_in

    def add(self, host: Rewritable) -> None:
        """Rewrites objects of the host's class from now on."""
        self._rewriters[host.cls] = host.rewriter(self)

    def any(self, value: Any, depth: int = 0) -> Any:
        """The rewritten *value*; the very same object where nothing had to be rewritten.

        Raises:
            Refused: something in it cannot be in a document.
        """
        return self._rewriters[type(value)](value, depth)

    def mapping(self, mapping: dict[str, Any], depth: int) -> dict[str, Any]:
        """A dict, with keys that start with ``$`` escaped by a second one."""
        return self._keyed(mapping, depth, mapping)

    def _keyed(self, mapping: dict[str, Any], depth: int, origin: Any) -> dict[str, Any]:
        keys = self._keys(mapping, origin)
        values = self.values(mapping, depth, origin, key_step)
        if "$" in keys:
            return {escaped(key): value for key, value in values.items()}
        return values

    def values(
        self, mapping: dict[str, Any], depth: int, origin: Any, step: _Step
    ) -> dict[str, Any]:
        """The dict with its values rewritten and its keys left alone; *origin* is what it shows."""
        if depth >= MAX_DEPTH:
            raise TooDeep(origin, MAX_DEPTH)
        if self._plain.issuperset(map(type, mapping.values())):
            return mapping
        changes: dict[str, Any] = {}
        self._rewrite(mapping.items(), changes, depth + 1, origin, step)
        return {**mapping, **changes} if changes else mapping

    def fields(self, fields: dict[str, Any], depth: int, origin: Any) -> dict[str, Any]:
        """The fields of the host object *origin*, in a fresh dict, which is changed in place."""
        if depth >= MAX_DEPTH:
            raise TooDeep(origin, MAX_DEPTH)
        self._rewrite(fields.items(), fields, depth + 1, origin, field_step)
        return fields

    def sequence(self, items: list[Any], depth: int) -> list[Any]:
        """A list."""
        return self._items(items, depth, items, index_step)

    def stand_in(self, value: Any, depth: int) -> Any:
        """What an object that declares ``__quantkeep_plain__()`` gives to be kept in its place."""
        plain = value.__quantkeep_plain__()
        if type(plain) not in (dict, list):
            raise Refused("__quantkeep_plain__() gave neither a dict nor a list", value)
        return self.any(plain, depth)

    def _items(self, items: list[Any], depth: int, origin: Any, step: _Step) -> list[Any]:
        if depth >= MAX_DEPTH:
            raise TooDeep(origin, MAX_DEPTH)
        if self._plain.issuperset(map(type, items)) or _all_int64(items):
            return items
        changes: dict[int, Any] = {}
        self._rewrite(enumerate(items), changes, depth + 1, origin, step)
        if changes:
            items = items.copy()
            for place, value in changes.items():
                items[place] = value
        return items

    def _rewrite(
        self,
        pairs: Iterable[tuple[Any, Any]],
        into: dict[Any, Any],
        depth: int,
        origin: Any,
        step: _Step,
    ) -> None:
        """Puts the pairs whose item had to be rewritten *into* a dict."""
        plain, rewriters = self._plain, self._rewriters
        key: Any = None
        try:
            for key, item in pairs:
                kind = type(item)
                if kind in plain or (kind is int and INT64_MIN <= item <= INT64_MAX):
                    continue
                rewritten = rewriters[kind](item, depth)
                if rewritten is not item:
                    into[key] = rewritten
        except Refused as refused:
            raise refused.under(step(key), origin)  # noqa: B904 - the same error, further out

    def _keys(self, mapping: dict[str, Any], origin: Any) -> str:
        if not _STR.issuperset(map(type, mapping)):
            raise _key_refused(mapping, origin)
        keys = "".join(mapping)
        if self._careful and text_fault(keys):
            for key in mapping:
                if fault := text_fault(key):
                    raise Refused(f"the key {key!r} {fault}", origin, "other keys")
        return keys

    def _tuple(self, items: tuple[Any, ...], depth: int) -> dict[str, Any]:
        return {"$tuple": self._items(list(items), depth + 1, items, index_step)}

    def _set(self, items: set[Any], depth: int) -> dict[str, Any]:
        return {"$set": self._sorted(items, depth + 1)}

    def _frozenset(self, items: frozenset[Any], depth: int) -> dict[str, Any]:
        return {"$frozenset": self._sorted(items, depth + 1)}

    def _sorted(self, items: Iterable[Any], depth: int) -> list[Any]:
        return sorted(self._items(list(items), depth, items, item_step), key=dumps)

    def _deque(self, items: deque[Any], depth: int) -> dict[str, Any]:
        listed = self._items(list(items), depth + 2, items, index_step)
        return {"$deque": [items.maxlen, listed]}

    def _ordered(self, mapping: OrderedDict[str, Any], depth: int) -> dict[str, Any]:
        self._keys(mapping, mapping)
        values = self.values(dict(mapping), depth + 2, mapping, key_step)
        return {"$ordereddict": [[key, value] for key, value in values.items()]}

    def _defaulting(self, mapping: defaultdict[str, Any], depth: int) -> dict[str, Any]:
        factory = mapping.default_factory
        name = getattr(factory, "__name__", "")
        if factory is not None and FACTORIES.get(name) is not factory:
            raise Refused(
                "a defaultdict whose factory cannot be named in a text",
                mapping,
                f"dict(value), or one of the factories {', '.join(FACTORIES)}",
            )
        return {"$defaultdict": [name or None, self._keyed(dict(mapping), depth + 2, mapping)]}

    def _opaque(self, value: Opaque, depth: int) -> dict[str, Any]:
        return {f"${value.kind}": [value.name, self.any(value.value, depth + 2)]}


def _as_it_is(value: Any, _depth: int) -> Any:
    return value


def _refuse(value: Any, _depth: int) -> Any:
    raise unregistered(value)


def _text(value: str, _depth: int) -> str:
    if fault := text_fault(value):
        raise Refused(f"the text {fault}", value, "other text, or bytes")
    return value


_tag_float = SCALAR_WRITERS[float]


def _number(value: float, depth: int) -> Any:
    return value if math.isfinite(value) else _tag_float(value, depth)


def _integer(value: int, _depth: int) -> int:
    if INT64_MIN <= value <= INT64_MAX:
        return value
    raise Refused("an integer beyond 64 bits", value, "-2**63 to 2**63 - 1, or a Decimal or text")


def _all_int64(items: list[Any]) -> bool:
    return _INT.issuperset(map(type, items)) and min(items) >= INT64_MIN and max(items) <= INT64_MAX


def escaped(key: str) -> str:
    """A dict's key as the text has it: what starts with ``$`` is no tag."""
    return f"${key}" if key.startswith("$") else key


def _key_refused(mapping: Iterable[Any], origin: Any) -> Refused:
    key = next(key for key in mapping if type(key) is not str)
    return Refused(
        f"the key {key!r} is of type {type(key).__name__}", origin, "keys of exactly type str"
    )
