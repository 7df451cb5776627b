"""What a commit did, for those who write it down."""

from typing import NamedTuple

from quantkeep.collection import Key, StoredRow


class Stored(NamedTuple):
    """This row is now the collection's; it may have taken the place of another."""

    collection: str
    row: StoredRow


class Removed(NamedTuple):
    """The row under this key is gone; its stream stays numbered."""

    collection: str
    key: Key


Effect = Stored | Removed
