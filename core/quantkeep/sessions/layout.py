"""How live state is laid out in rows, so that a save writes only what changed (D70-30).

A small section is one row. A mapping whose text is longer than ``SPLIT_BYTES`` has a row for each
of its entries, and so on inward; the mapping itself then is a row that says so. A path is a tuple
of keys, the section first.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Final, Literal

from quantkeep import documents
from quantkeep.collection import Collection, SealedRow, StoredRow
from quantkeep.errors import Corrupt, InvalidValue
from quantkeep.hosts import Hosts
from quantkeep.sessions.difference import Difference
from quantkeep.sessions.paths import Path, label, path_text
from quantkeep.sessions.records import EntryRecord
from quantkeep.table import Table

_TAKEN: Final = ("section", "path", "layout", "body")
_SECTION: Final = "[]"  # the path of a section itself
_DIGESTS: Final = 2**128


class Layout:
    """The rows that a session's state is stored in.

    Attributes:
        digests: of each row, by path.
        split: the mappings whose entries have rows of their own, with the keys of those.
    """

    def __init__(self, table: Table[EntryRecord], session_id: str) -> None:
        self.collection: Final[Collection] = table.collection
        self.hosts: Final[Hosts] = table.hosts
        self.session_id: Final = session_id
        self.digests: dict[Path, bytes] = {}
        self.split: dict[Path, set[str]] = {}
        self._sum = 0
        self._take: Final = itemgetter(*(self.collection.places[name] for name in _TAKEN))

    @property
    def units(self) -> int:
        """How many rows there are."""
        return len(self.digests)

    @property
    def state_digest(self) -> bytes:
        """The sum of their digests: whichever row is lost or comes back old, it differs."""
        return self._sum.to_bytes(16, "big")

    def difference(
        self, state: dict[str, Any], paths: Iterable[Path], *, composing: bool = False
    ) -> Difference:
        """What has to be written so that the rows say what *state* says at *paths*.

        Args:
            state: all of it.
            paths: what may have changed; ``()`` stands for everything.
            composing: everything is looked at, and the texts are put together to one document.

        Raises:
            InvalidValue: something there cannot be stored; ``field`` is the path to it.
        """
        difference = Difference(self, state)
        if composing:
            difference.compose()
            return difference
        for path in sorted(paths, key=len):
            difference.look_at(path)
        return difference

    def apply(self, difference: Difference) -> None:
        """The *difference* was committed."""
        self._sum = (self._sum + difference.total) % _DIGESTS
        for path in difference.merged:
            self.split.pop(path, None)
        self.split.update({path: set() for path in difference.divided})
        for path, sealed in difference.rows.items():
            siblings = self.split.get(path[:-1])
            if sealed is None:
                del self.digests[path]
                if siblings is not None:
                    siblings.discard(path[-1])
            else:
                self.digests[path] = sealed.digest
                if siblings is not None:
                    siblings.add(path[-1])

    def sum_after(self, difference: Difference) -> bytes:
        """The state digest once the *difference* is committed."""
        return ((self._sum + difference.total) % _DIGESTS).to_bytes(16, "big")

    def seal(self, path: Path, layout: Literal["whole", "entries"], text: str | None) -> SealedRow:
        """The row of *path*."""
        known = (self.session_id, path[0], path_text(path), layout, text)
        others = (None,) * (len(self.collection.columns) - len(known))
        return self.collection.sealer.seal_row((*known, *others))

    def read(self, rows: Iterable[StoredRow]) -> dict[str, Any]:
        """The state that *rows* hold; each is checked, and remembered.

        Raises:
            Corrupt: a row is not what was written, or the mapping it belongs to is missing.
            InvalidValue: an object's class is not registered; ``field`` is the path to it.
        """
        state: dict[str, Any] = {}
        holders: dict[Path, dict[str, Any]] = {(): state}
        for path, layout, text, digest in sorted(map(self._checked, rows), key=_depth):
            holder = holders.get(path[:-1])
            if holder is None:
                raise Corrupt(
                    f"{label(path)} of session {self.session_id!r} is stored, but the mapping it "
                    "is an entry of is missing",
                    locator=f"session_entries({self.session_id!r})",
                )
            if layout == "entries":
                holder[path[-1]] = holders[path] = {}
                self.split[path] = set()
            else:
                holder[path[-1]] = self._decoded(path, text)
            if len(path) > 1:
                self.split[path[:-1]].add(path[-1])
            self.digests[path] = digest
            self._sum = (self._sum + int.from_bytes(digest, "big")) % _DIGESTS
        return state

    def _checked(self, stored: StoredRow) -> tuple[Path, str, str | None, bytes]:
        self.collection.verify(stored)
        section, path, layout, text = self._take(stored.values)
        keys = () if path == _SECTION else documents.decode(path, self.hosts)
        return (section, *keys), layout, text, stored.digest

    def _decoded(self, path: Path, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return documents.decode(text, self.hosts)
        except InvalidValue as error:
            raise error.within("", label(path)) from error.__cause__


def _depth(row: tuple[Path, str, str | None, bytes]) -> int:
    return len(row[0])
