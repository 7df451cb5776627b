"""How a value is refused: the reason, and the path to it, gathered on the way out.

Paths read as the trader would write them: ``positions.active_orders['BTC'].order_a``. Nothing is
paid for them until something is refused.
"""

from typing import Any, Self

from quantkeep.errors import InvalidValue

_PATH_HEAD = 8
_PATH_TAIL = 3


class Refused(Exception):
    """This value cannot be in a document; each container on the way out adds its step."""

    def __init__(self, message: str, value: Any, expected: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.value = value
        self.expected = expected
        self.steps: list[str] = []  # innermost first

    def under(self, step: str, container: Any) -> Self:
        """The same, one container further out, where *step* leads from *container* to it."""
        self.steps.append(step)
        return self

    def at(self, path: str) -> InvalidValue:
        """The public error for it; *path* leads to the document."""
        steps = self.steps[::-1]
        if len(steps) > _PATH_HEAD + _PATH_TAIL:
            steps = [*steps[:_PATH_HEAD], " … ", *steps[-_PATH_TAIL:]]
        whole = path + "".join(steps)
        return InvalidValue(
            self.message,
            field=whole.removeprefix(".") or None,
            value=self.value,
            expected=self.expected,
        )


class TooDeep(Refused):
    """Nested too deeply, perhaps because a container holds itself."""

    def __init__(self, container: Any, limit: int) -> None:
        super().__init__(f"nested deeper than {limit} levels", container)
        self._containers: list[Any] = []  # innermost first, as the steps

    def under(self, step: str, container: Any) -> Self:
        self._containers.append(container)
        return super().under(step, container)

    def at(self, path: str) -> InvalidValue:
        seen: set[int] = set()
        for steps, container in enumerate(reversed(self._containers)):
            if id(container) in seen:
                self.message = "refers back to what it is in; a document has no cycles"
                self.steps = self.steps[-steps:]  # one lap tells the story, the others hide it
                break
            seen.add(id(container))
        return super().at(path)


def text_fault(text: str) -> str | None:
    """What keeps *text* from being stored on every engine, in words; ``None`` if nothing does."""
    if "\0" in text:
        return "contains NUL (U+0000), which not every engine can hold"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"contains a lone surrogate (U+{ord(text[error.start]):04X}), which is no text"
    return None


def key_step(key: Any) -> str:
    """The step into a mapping: ``.active_orders`` for names, ``['BTC']`` for all else."""
    return f".{key}" if key.isidentifier() and key.islower() else f"[{key!r}]"


def field_step(name: Any) -> str:
    """The step into a field of an object: ``.order_a``."""
    return f".{name}"


def index_step(place: Any) -> str:
    """The step into a sequence: ``[3]``."""
    return f"[{place}]"


def item_step(_place: Any) -> str:
    """The step into a set, whose items have no name: ``[*]``."""
    return "[*]"


_BUILT_IN = (str, int, float, dict, list, tuple, set, frozenset)


def unregistered(value: Any) -> Refused:
    """The refusal of a value whose type is neither plain nor registered, saying what to do."""
    cls = type(value)
    return Refused(f"{_a(cls)} cannot be kept as it is", value, _remedy(value, cls))


def _a(cls: type) -> str:
    where = "" if cls.__module__ == "builtins" else f" ({cls.__module__})"
    return f"an object of type {cls.__qualname__}{where}"


def _remedy(value: Any, cls: type) -> str:
    if cls.__module__.partition(".")[0] == "numpy":
        return "a Python value: .item() makes one of a numpy scalar, .tolist() of an array"
    if cls in (bytearray, memoryview):
        return "bytes(value)"
    register = f"a registered type: types=[{cls.__name__}] when the keep is opened"
    if _has_fields(cls):
        return register
    register += ", or hosts.register with hooks"
    for base in _BUILT_IN:
        if isinstance(value, base):
            return f"exactly {base.__name__}, as {base.__name__}(value) makes it, or {register}"
    return f"a plain value, or {register}"


def _has_fields(cls: type) -> bool:
    return any(
        hasattr(cls, mark)
        for mark in ("__attrs_attrs__", "__dataclass_fields__", "__members__", "_fields")
    )
