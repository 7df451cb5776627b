"""The state as the program sees it: mappings that notice what is done to them (Z-47).

Every plain ``dict`` in a session is seen through a :class:`Tracked` mapping, however deep it lies.
Assigning or deleting a key marks that key. A mutable value that is handed out, or was handed in, is
looked at again at each save for as long as anybody else holds it, so that a change out of sight is
never lost; immutable values (numbers, text, frozen objects) cost nothing.
"""

import copy
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Self
from weakref import WeakValueDictionary

import attrs

from quantkeep.columns import check_key, check_text
from quantkeep.errors import InvalidValue
from quantkeep.sessions.mutability import SCALARS, is_immutable, is_private
from quantkeep.sessions.paths import Path


@attrs.frozen
class Touched:
    """What may differ from what is stored.

    Attributes:
        changed: paths that were assigned to or deleted; ``()`` stands for everything.
        loose: paths of mutable values that somebody else holds, or held until now.
        settled: those of *loose* that nobody else holds any more.
    """

    changed: frozenset[Path]
    loose: frozenset[Path]
    settled: frozenset[Path]

    @property
    def paths(self) -> frozenset[Path]:
        """All of them."""
        return self.changed | self.loose


class Tree:
    """The state as plain values, and the paths that were touched since the last save."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self._changed: set[Path] = set()
        self._loose: set[Path] = set()
        self._views: WeakValueDictionary[int, Tracked] = WeakValueDictionary()
        self.root = Tracked(self, (), data)

    def mark(self, path: Path) -> None:
        """Say that what stands at *path* was changed."""
        self._changed.add(path)

    def shown(self, path: Path, value: Any) -> Any:
        """*value* as it is handed out."""
        if type(value) is dict:
            view = self._views.get(id(value))
            if view is None:
                view = self._views[id(value)] = Tracked(self, path, value)
            return view
        if not is_immutable(value):
            self._loose.add(path)
        return value

    def taken(self, path: Path, value: Any) -> Any:
        """*value* as it is kept when it is handed in."""
        if isinstance(value, Tracked):
            return value.plain()  # two places never share one mapping
        if type(value) not in SCALARS and not is_immutable(value):
            self._loose.add(path)
        return value

    def take(self) -> Touched:
        """What was touched; from now on only what is touched afterwards counts.

        Whether a loose value is still held is asked before it is encoded: what nobody else holds
        by then can change only through the tracked mappings.
        """
        loose = frozenset(self._loose)
        settled = frozenset(path for path in loose if self._settle(path))
        return Touched(frozenset(_drained(self._changed)), loose, settled)

    def give_back(self, touched: Touched) -> None:
        """The save failed: all of it is still to be saved."""
        self._changed |= touched.changed
        self._loose |= touched.loose

    @property
    def is_touched(self) -> bool:
        """Whether anything may have to be saved."""
        return bool(self._changed or self._loose)

    def _settle(self, path: Path) -> bool:
        # Forgotten before it is looked at: another thread that is handed the value just now
        # either is seen holding it, or puts it back.
        self._loose.discard(path)
        settled = self._is_settled(path)
        if not settled:
            self._loose.add(path)
        return settled

    def _is_settled(self, path: Path) -> bool:
        holder: Any = self.data
        for key in path[:-1]:
            holder = holder.get(key) if type(holder) is dict else None
        if type(holder) is not dict or path[-1] not in holder:
            return True  # it is gone
        return is_private(holder, path[-1], self._views.__contains__)


class Tracked(MutableMapping[str, Any]):
    """A mapping inside a session. Compares equal to a dict of the same content.

    It has no methods that a dict lacks, save :meth:`plain`, which gives a dict of its own.
    """

    __slots__ = ("__weakref__", "_data", "_path", "_tree")

    def __init__(self, tree: Tree, path: Path, data: dict[str, Any]) -> None:
        self._tree = tree
        self._path = path
        self._data = data

    def __getitem__(self, key: str) -> Any:
        value = self._data[key]
        return value if type(value) in SCALARS else self._tree.shown((*self._path, key), value)

    def __setitem__(self, key: str, value: Any) -> None:
        path = (*self._path, key)
        _check_key(path)
        self._data[key] = self._tree.taken(path, value)
        self._tree.mark(path)  # afterwards: a save in between would miss the new value

    def __delitem__(self, key: str) -> None:
        del self._data[key]
        self._tree.mark((*self._path, key))

    def clear(self) -> None:
        self._data.clear()
        self._tree.mark(self._path)

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self._data:
            self[key] = default
        return self[key]

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Tracked):
            return self._data == other._data
        return self._data == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a dict

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self}

    def __ior__(self, other: Mapping[str, Any]) -> Self:
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        """A dict with the same entries, which the session knows nothing of."""
        return dict(self)

    __copy__ = copy

    def plain(self) -> dict[str, Any]:
        """A deep copy in plain dicts, which the session knows nothing of."""
        return copy.deepcopy(self._data)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return copy.deepcopy(self._data, memo)

    def __quantkeep_plain__(self) -> dict[str, Any]:
        """What a document holds in its place."""
        return self._data

    def __repr__(self) -> str:
        return repr(self._data)


def _drained(paths: set[Path]) -> Iterator[Path]:
    """Take the paths out one by one, which loses none that another thread adds meanwhile."""
    with suppress(KeyError):
        while True:
            yield paths.pop()


def _check_key(path: Path) -> None:
    """Refuse at once what no save could store."""
    key = path[-1]
    if type(key) is not str:
        raise InvalidValue(
            f"the key {key!r} is of type {type(key).__name__}",
            field=".".join(map(str, path[:-1])) or "session",
            value=key,
            expected="keys of exactly type str",
        )
    check_text(key, "session", repr(key))
    if len(path) == 1:
        check_key(key, "session", "section")
