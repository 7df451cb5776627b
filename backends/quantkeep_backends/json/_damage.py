"""What can still be read of a keep of which some files are damaged, or cannot be read."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Final

import attrs

from quantkeep.batch import Receipt
from quantkeep.errors import QuantkeepError
from quantkeep.model import Effect, HeldShelf, Model

OPERATIONS: Final = ""  # stands beside the names of collections
_UNTIL_THEN: Final = "Until then nothing can be written; what it did not touch can be read"


@attrs.frozen
class Harm:
    """A file, or a line of one, that is damaged or cannot be read.

    Attributes:
        error: says which.
        look: how it looks; another look shows whether it was put right.
        closes: collections of which not all is known because of it, or :data:`OPERATIONS`.
        operation: an operation id of which it is not known what came of it.
        seen: how it looked.
    """

    error: QuantkeepError
    look: Callable[[], object]
    closes: frozenset[str] = frozenset()
    operation: str | None = None
    seen: object = attrs.field()

    @seen.default
    def _looked_at(self) -> object:
        return self.look()

    @property
    def is_open(self) -> bool:
        """Whether anything is not known because of it."""
        return bool(self.closes) or self.operation is not None


def stamp(path: Path) -> object:
    """Changes whenever the file does."""
    with suppress(OSError):
        status = path.lstat()
        return status.st_ino, status.st_size, status.st_ctime_ns
    return None


def named(closes: Iterable[str]) -> str:
    """What is closed, in words."""
    return ", ".join(sorted(name or "operations" for name in closes))


class Harms:
    """All that one handle has met since it began to read."""

    def __init__(self) -> None:
        self.found: list[Harm] = []

    def __bool__(self) -> bool:
        return bool(self.found)

    def add(self, harm: Harm) -> None:
        """Take note of one."""
        self.found.append(harm)

    def have_changed(self) -> bool:
        """Whether one of them looks otherwise now: restored from a backup, say."""
        return bool(self.found) and any(harm.look() != harm.seen for harm in self.found)

    def complaints(self) -> tuple[str, ...]:
        """What is wrong."""
        return tuple(str(harm.error) for harm in self.found)

    @property
    def closed(self) -> Mapping[str, QuantkeepError]:
        """By collection, or :data:`OPERATIONS`, the first that closes it."""
        return {name: h.error for h in reversed(self.found) for name in h.closes}

    def check_operation(self, op_id: str) -> None:
        """Raise what is wrong if it is not known what came of *op_id*."""
        for harm in self.found:
            if op_id == harm.operation or OPERATIONS in harm.closes:
                raise copy(harm.error)

    def check_writable(self) -> None:
        """Raise what is wrong if there is anything that a writer cannot know."""
        for harm in self.found:
            if harm.is_open:
                error = copy(harm.error)
                error.args = (f"{error}. {_UNTIL_THEN}",)
                raise error


class SoundModel(Model):
    """Answers from what is undamaged; to ask for anything else raises what is wrong with it."""

    def __init__(self, model: Model, harms: Harms) -> None:
        super().__init__()
        self.shelves = _SoundShelves(model.shelves, harms.closed)
        self.operations = model.operations
        self._harms = harms

    def replay(self, effect: Effect) -> None:
        if effect.collection in self.shelves:
            super().replay(effect)

    def outcome(self, op_id: str) -> Receipt | None:
        found = super().outcome(op_id)
        if found is None:
            self._harms.check_operation(op_id)
        return found


class _SoundShelves(dict[str, HeldShelf]):
    def __init__(
        self, shelves: Mapping[str, HeldShelf], closed: Mapping[str, QuantkeepError]
    ) -> None:
        super().__init__({name: s for name, s in shelves.items() if name not in closed})
        self._closed = closed

    def __missing__(self, name: str) -> HeldShelf:
        raise copy(self._closed[name])  # each caller has its own traceback
