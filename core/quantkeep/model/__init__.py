"""What a commit means, in plain Python, for those who write a backend.

An engine that has no rules of its own (a dictionary, a journal, a key-value store) need not invent
them. Three ways in, by how much the engine can do:

:class:`Rules`
    The judgement alone: preconditions, uniqueness, identities, immutability, references, cascades,
    revisions, over any :class:`Shelf`, which looks up and changes the rows of one collection inside
    a transaction of the engine. If a batch is refused, the transaction is rolled back.

:class:`KeyValueKeep`
    Nearly a whole backend, for every ordered key-value store with transactions: what to write under
    which keys is decided; the engine brings ``get``, ``put``, ``delete`` and ``range``.

:class:`Model`
    A whole keep in dictionaries, undo and operation ids included. A commit gives its *effects*
    (:class:`Stored`, :class:`Removed`), which a backend writes down and another process replays.

:func:`pinned_stream` and :func:`listed` answer a query from rows that stand in its order already.
"""

from quantkeep.model._effects import Effect, Removed, Stored
from quantkeep.model._keyvalue import KeyValue, KeyValueShelf
from quantkeep.model._keyvalue_keep import KeyValueBackdoor, KeyValueKeep
from quantkeep.model._model import Model
from quantkeep.model._packing import pack, unpack
from quantkeep.model._reading import listed, pinned_stream
from quantkeep.model._rules import Rules
from quantkeep.model._shelf import Group, HeldShelf, Shelf, arranger

__all__ = [
    "Effect",
    "Group",
    "HeldShelf",
    "KeyValue",
    "KeyValueBackdoor",
    "KeyValueKeep",
    "KeyValueShelf",
    "Model",
    "Removed",
    "Rules",
    "Shelf",
    "Stored",
    "arranger",
    "listed",
    "pack",
    "pinned_stream",
    "unpack",
]
