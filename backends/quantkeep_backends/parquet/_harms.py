"""What damaged files leave open: which rows nobody can be sure of, and that all others are sound.

A commit says of itself, and of the one before it, what it touched: by collection, the streams of a
log or the keys of other rows. Where its file is damaged, these cannot be known any more. Whoever
asks for one of them is told so, and whoever asks for anything else has his answer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from quantkeep.collection import Collection, Key
from quantkeep.errors import Corrupt
from quantkeep.model import Effect, Removed
from quantkeep.query import Condition, Exists, Where
from quantkeep_backends._files.medium import Entry, Files
from quantkeep_backends._files.proving import Touched
from quantkeep_backends.parquet._scalars import read_key

OPERATIONS: Final = "_operations"
_MANY: Final = 16  # streams or keys, above which the whole collection is named
_SCHEMA: Final = ("identity", "description")
_SPARED: Final = "Nothing else depends on it; compact the keep"


def footprint(collections: Mapping[str, Collection], said: Mapping[str, Any]) -> Touched | None:
    """What a commit touches; ``None``: everything, for it is about the collections themselves."""
    if any(name in said for name in _SCHEMA):
        return None
    touched: dict[str, dict[str, Any]] = {}
    for name, key in _touching(collections, said):
        touched.setdefault(name, {})[repr(key)] = key
    return {n: [*keys.values()] if len(keys) <= _MANY else None for n, keys in touched.items()}


def _touching(
    collections: Mapping[str, Collection], said: Mapping[str, Any]
) -> Iterable[tuple[str, Any]]:
    for effect in said.get("effects", ()):
        collection = collections[effect["collection"]]
        if "removed" in effect:
            key = effect["removed"]
            yield collection.name, key[: len(told_by(collection))]
        else:
            yield collection.name, [effect["record"].get(n) for n in told_by(collection)]
    for segment in said.get("segments", ()):
        for stream, *_ in segment["runs"]:
            yield segment["collection"], stream
    if "operation" in said:
        yield OPERATIONS, [said["operation"]["id"]]


def told_by(collection: Collection) -> Sequence[str]:
    """The columns by which a footprint tells rows apart."""
    return collection.stream if collection.log else collection.key


def again(collections: Mapping[str, Collection], said: Mapping[str, Any]) -> dict[str, Any]:
    """What the commit behind the one that was *said* is to say of it."""
    schema = {name: said[name] for name in _SCHEMA if name in said}
    rest = {name: value for name, value in said.items() if name not in _SCHEMA}
    before = footprint(collections, rest)
    return {"before": before, "again": schema} if schema else {"before": before}


@attrs.frozen
class Harm:
    """A damaged file.

    Attributes:
        name: of the file, below the root.
        seen: how it looked; another look shows whether it was put right.
        touched: what is not known because of it; empty where all is known from elsewhere.
    """

    name: str
    error: Corrupt
    seen: Entry | None
    touched: Touched


class Harms:
    """The damaged files that one handle has met."""

    def __init__(self) -> None:
        self.found: dict[str, Harm] = {}

    def add(self, files: Files, name: str, error: Corrupt, touched: Touched) -> None:
        """Take note of one."""
        self.found[name] = Harm(name, error, files.look(name), touched)

    def __bool__(self) -> bool:
        return bool(self.found)

    @property
    def weight(self) -> int:
        """How many of them leave something open."""
        return sum(bool(harm.touched) for harm in self.found.values())

    def have_changed(self, files: Files) -> bool:
        """Whether one of the files is another now: restored from a backup, say."""
        return any(files.look(harm.name) != harm.seen for harm in self.found.values())

    def covers(self, collection: Collection, effect: Effect) -> bool:
        """Whether what *effect* changes is not known any more."""
        if isinstance(effect, Removed):
            key = effect.key[: len(told_by(collection))]
        else:
            key = collection.pick(told_by(collection))(effect.row.values)
        return any(_meets(h, collection.name, lambda mine: mine == key) for h in self._open)

    # -- what is asked -----------------------------------------------------------------------------

    def check_key(self, collection: Collection, key: Key) -> None:
        """Raise :class:`Corrupt` if the row under *key* may have been changed."""
        wanted = key[: len(told_by(collection))]
        self._check(collection.name, lambda mine: mine == wanted)

    def check_query(self, collection: Collection, where: Iterable[Condition]) -> None:
        """Raise :class:`Corrupt` if rows that meet *where* may have been changed."""
        if not self.found:
            return
        where = [*where]
        pinned = {c.column: c.value for c in where if isinstance(c, Where) and c.operator == "=="}
        names = told_by(collection)

        def is_asked_for(key: Key) -> bool:
            return all(pinned.get(n, v) == v for n, v in zip(names, key, strict=True))

        self._check(collection.name, is_asked_for)
        for condition in where:
            if isinstance(condition, Exists):
                self.check_all(condition.collection)

    def check_all(self, collection: Collection) -> None:
        """Raise :class:`Corrupt` if any row of *collection* may have been changed."""
        self._check(collection.name, lambda _: True)

    def check_operation(self, op_id: str) -> None:
        """Raise :class:`Corrupt` if that operation may have been committed."""
        self._check(OPERATIONS, lambda mine: mine == (op_id,))

    def check_writable(self) -> None:
        """Raise :class:`Corrupt` if there is anything that a writer cannot know."""
        for harm in self._open:
            raise Corrupt(
                f"{harm.error}. Until then nothing can be written; what it did not touch can be "
                "read",
                locator=harm.error.locator,
            )

    def touch(self, name: str) -> bool:
        """Whether any row of the collection *name* may have been changed."""
        return any(name in harm.touched for harm in self.found.values())

    def complaints(self) -> Iterable[str]:
        """What is damaged, and what cannot be read because of it."""
        for harm in self.found.values():
            lost = ", ".join(sorted(harm.touched))
            yield f"{harm.error}. " + (f"Not known is what it says of {lost}" if lost else _SPARED)

    def _check(self, name: str, is_asked_for: Callable[[Key], bool]) -> None:
        for harm in self._open:
            if _meets(harm, name, is_asked_for):
                raise Corrupt(
                    f"{harm.error}. What it says of {name} is not known, and was asked for",
                    locator=harm.error.locator,
                )

    @property
    def _open(self) -> list[Harm]:
        return [harm for harm in self.found.values() if harm.touched]


def _meets(harm: Harm, name: str, is_asked_for: Callable[[Key], bool]) -> bool:
    if name not in harm.touched:
        return False
    keys = harm.touched[name]
    return keys is None or any(is_asked_for(read_key(key)) for key in keys)
