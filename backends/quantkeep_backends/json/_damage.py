"""What can still be read of a keep of which some files are damaged, by those who only read."""

from collections.abc import Mapping
from copy import copy
from typing import Final

from quantkeep.batch import Receipt
from quantkeep.errors import Corrupt
from quantkeep.model import Effect, HeldShelf, Model

OPERATIONS: Final = ""  # stands beside the names of collections

# By the name of a collection, what is wrong with the file of its records.
Damage = Mapping[str, Corrupt]


class SoundModel(Model):
    """Answers from what is undamaged; to ask for anything else raises what is wrong with it."""

    def __init__(self, model: Model, damage: Damage) -> None:
        super().__init__()
        self.shelves = _SoundShelves(model.shelves, damage)
        self.operations = model.operations
        self._damage = damage

    def replay(self, effect: Effect) -> None:
        if effect.collection not in self._damage:
            super().replay(effect)

    def outcome(self, op_id: str) -> Receipt | None:
        if OPERATIONS in self._damage:
            raise copy(self._damage[OPERATIONS])
        return super().outcome(op_id)


class _SoundShelves(dict[str, HeldShelf]):
    def __init__(self, shelves: Mapping[str, HeldShelf], damage: Damage) -> None:
        super().__init__({name: s for name, s in shelves.items() if name not in damage})
        self._damage = damage

    def __missing__(self, name: str) -> HeldShelf:
        raise copy(self._damage[name])  # each caller has its own traceback
