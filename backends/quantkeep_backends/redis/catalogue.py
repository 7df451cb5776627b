"""What the keep knows of its collections, as it was when this handle last looked."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from quantkeep import schema
from quantkeep.collection import Collection
from quantkeep.errors import Corrupt, InvalidRecord
from quantkeep_backends.redis import entries
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import Link
from quantkeep_backends.redis.scripts import script
from quantkeep_backends.redis.shapes import Index, Shape
from quantkeep_backends.redis.steps import step

_TRIES: Final = 50  # times that other programs may change the description under our hands


class Catalogue:
    """Collections by name, and which of their indexes are complete.

    Attributes:
        number: of the description; a commit says which one it was made by.
    """

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names
        self._lock = threading.Lock()
        self.number = "0"
        self.text: str | None = None
        self._shapes: dict[str, Shape] = {}
        self._ready: frozenset[str] = frozenset()
        self._layouts: dict[int, tuple[str, ...]] = {}

    def look(self) -> None:
        """Read the description anew."""
        number, text = self._link.ask("HMGET", self._names.meta, "schema", "description")
        states = self._link.ask("HGETALL", self._names.of("indexes"))
        ready = {
            name.decode()
            for name, state in zip(states[::2], states[1::2], strict=True)
            if state == b"ready"
        }
        said = text.decode(errors="replace") if text else None  # a checksum is in it
        stored = {c.name: c for c in schema.understand(said)} if said else {}
        with self._lock:
            self.number = (number or b"0").decode()
            self.text = said
            self._ready = frozenset(ready)
            self._shapes = {name: Shape(c, stored) for name, c in stored.items()}

    def shape(self, name: str) -> Shape:
        """The collection called *name*."""
        found = self._shapes.get(name)
        if found is None:
            self.look()
            found = self._shapes.get(name)
        if found is None:
            raise InvalidRecord(f"the keep has no collection {name!r}: open it with its record")
        return found

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """All collections of the keep, this program's or not."""
        return self._shapes

    def ready(self, shape: Shape) -> list[Index]:
        """The indexes of *shape* that are complete."""
        return [index for index in shape.indexes if index.name in self._ready]

    def layout(self, number: int) -> tuple[str, ...]:
        """The columns of a layout; raises ``LookupError``."""
        if number not in self._layouts:
            for shape in self._shapes.values():  # most entries are of today's
                if shape.layout[0] == number:
                    return self._layouts.setdefault(number, shape.collection.names)
            found = self._link.ask("HGET", self._names.of("columns"), str(number))
            if found is None:
                raise LookupError(f"its columns (layout {number}) are not known")
            self._layouts[number] = entries.names_of(found)
        return self._layouts[number]

    # -- making room -------------------------------------------------------------------------------

    def ensure(self, collections: Sequence[Collection], reindex: Callable[[Shape], None]) -> None:
        """Make room for *collections* beside those there are; *reindex* fills what is new."""
        for _ in range(_TRIES):
            self.look()
            known = self.text or ""
            theirs = schema.understand(known) if known else []
            merged = {c.name: c for c in schema.merge(collections, theirs)}
            text = schema.describe(merged.values())
            shapes = [Shape(c, merged) for c in merged.values()]
            if schema.is_described(known, text) and self._complete(shapes):
                return
            building = self._described(known, text, shapes)
            if building is not None:
                self.look()
                self._build(building, reindex)
                return
        raise Corrupt("the keep's description changes without end", locator="meta")

    def _complete(self, shapes: Sequence[Shape]) -> bool:
        return all(index.name in self._ready for shape in shapes for index in shape.indexes)

    def _described(self, known: str, text: str, shapes: Sequence[Shape]) -> set[str] | None:
        layouts = [part for shape in shapes for part in map(str, shape.layout)]
        indexes = [
            part
            for shape in shapes
            for index in shape.indexes
            for part in (shape.collection.name, index.name)
        ]
        step("redis.ensure.send", self._link)
        answer = script("describe").run(
            self._link, self._names.meta, known, text,
            len(layouts) // 2, *layouts, len(indexes) // 2, *indexes,
        )[0]  # fmt: skip
        said = [part.decode() for part in answer]
        return None if said[0] == "changed" else set(said[1:])

    def _build(self, building: set[str], reindex: Callable[[Shape], None]) -> None:
        """Enter what is stored into new indexes; writers keep them up from now on."""
        for shape in self._shapes.values():
            mine = [index.name for index in shape.indexes if index.name in building]
            if mine:
                reindex(shape)
                pairs = [part for name in mine for part in (name, "ready")]
                self._link.ask("HSET", self._names.of("indexes"), *pairs)
        if building:
            self.look()


def arguments_of(shape: Shape, stored: Any) -> list[Any]:
    """The arguments of the script that enters a stored record into its indexes."""
    key = shape.key(shape.take_key(stored.values))
    return [
        shape.collection.name, key, stored.revision, *shape.members(stored.values, key),
        *shape.groups(stored.values), *shape.references(stored.values),
    ]  # fmt: skip
