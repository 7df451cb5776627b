"""What a save has to write: the rows of live state that do not say what the state says."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from quantkeep import documents
from quantkeep._document_writer import dumps, escaped
from quantkeep.batch import Delete, Put, Write
from quantkeep.collection import Key, SealedRow
from quantkeep.errors import InvalidValue, TooLarge
from quantkeep.sessions.paths import Path, divisible, fits, label, path_text

if TYPE_CHECKING:
    from quantkeep.sessions.layout import Layout

SPLIT_BYTES: Final = 2048  # below it, one row is as quick to write as an entry of its own
_MISSING: Final = object()


class Difference:
    """Rows to write and to delete, found by looking at parts of the state.

    Attributes:
        rows: by path; ``None`` for a row to delete.
        divided: mappings whose entries get rows of their own.
        merged: mappings whose entries had, and now have none.
        document: the canonical text of the whole state, once it was composed.
    """

    def __init__(self, layout: "Layout", state: dict[str, Any]) -> None:
        self.rows: dict[Path, SealedRow | None] = {}
        self.divided: set[Path] = set()
        self.merged: set[Path] = set()
        self._layout = layout
        self._state = state
        self._looked_at: set[Path] = set()
        self._composing = False
        self.document = ""

    @property
    def units(self) -> int:
        """How many rows there are once it is committed."""
        added = sum(
            (sealed is not None) - (path in self._layout.digests)
            for path, sealed in self.rows.items()
        )
        return self._layout.units + added

    @cached_property
    def total(self) -> int:
        """By how much the rows to write change the sum of digests; asked before it is committed."""
        before, number = self._layout.digests, int.from_bytes
        return sum(
            (number(sealed.digest) if sealed else 0) - number(before.get(path, b""))
            for path, sealed in self.rows.items()
        )

    def writes(self) -> Iterator[Write]:
        """The writes for a batch."""
        collection = self._layout.collection
        for path, sealed in self.rows.items():
            if sealed is None:
                yield Delete(collection, self._key(path))
            else:
                yield Put(collection, sealed)

    def _key(self, path: Path) -> Key:
        return (self._layout.session_id, path[0], path_text(path))

    # -- looking ---------------------------------------------------------------------------------

    def look_at(self, path: Path) -> None:
        """Compare the row that *path* lies in, and all rows below it, with the state."""
        covering = self._covering(path)
        if any(covering[:length] in self._looked_at for length in range(len(covering) + 1)):
            return
        self._looked_at.add(covering)
        if covering:
            self._compare(covering, self._holder(covering))
        else:
            self._compare_sections()

    def compose(self) -> None:
        """Compare everything, and make ``document``."""
        self._composing = True
        self.document = self._compare_sections()

    def _covering(self, path: Path) -> Path:
        """The outermost row that a change at *path* shows in."""
        split = self._layout.split
        length = min(len(path), 1)
        while length < len(path) and path[:length] in split:
            length += 1
        covering = path[:length]
        return covering if length < 2 or fits(covering) else covering[:-1]

    def _holder(self, path: Path) -> Any:
        holder: Any = self._state
        for key in path[:-1]:
            holder = holder.get(key) if type(holder) is dict else None
        return holder

    # Each of these gives the canonical text of what it looked at, if there is to be a document.

    def _compare_sections(self) -> str:
        known = {path[0] for path in self._layout.digests}
        return self._compare_entries((), self._state, known)

    def _compare_entries(self, path: Path, value: dict[str, Any], known: set[str]) -> str:
        texts = {key: self._compare((*path, key), value) for key in [*value.keys() | known]}
        return self._joined({key: texts[key] for key in value}) if self._composing else ""

    def _compare(self, path: Path, holder: Any) -> str:
        value = holder.get(path[-1], _MISSING) if type(holder) is dict else _MISSING
        if value is _MISSING:
            self._drop(path)
            return ""
        if path in self._layout.split:
            return self._compare_split(path, value)
        return self._compare_whole(path, value)

    def _compare_split(self, path: Path, value: Any) -> str:
        known = self._layout.split[path]
        if divisible(path, value):
            return self._compare_entries(path, value, known)
        self.merged.add(path)
        for key in known:
            self._drop((*path, key))
        return self._write(path, self._encoded(path, value))

    def _compare_whole(self, path: Path, value: Any) -> str:
        try:
            text = self._encoded(path, value)
        except TooLarge:
            if not divisible(path, value):
                raise
        else:
            if len(text) <= SPLIT_BYTES or not divisible(path, value):
                return self._write(path, text)
        self.divided.add(path)
        self._put(path, self._layout.seal(path, "entries", None))
        return self._compare_entries(path, value, set())

    def _drop(self, path: Path) -> None:
        for key in self._layout.split.get(path, ()):
            self._drop((*path, key))
        if path in self._layout.split:
            self.merged.add(path)
        if path in self._layout.digests:
            self.rows[path] = None

    def _encoded(self, path: Path, value: Any) -> str:
        try:
            return documents.encode(value, self._layout.hosts)
        except InvalidValue as error:
            raise error.within("", label(path)) from error.__cause__

    def _write(self, path: Path, text: str) -> str:
        self._put(path, self._layout.seal(path, "whole", None if text == "null" else text))
        return text

    def _put(self, path: Path, sealed: SealedRow) -> None:
        if self._layout.digests.get(path) != sealed.digest:
            self.rows[path] = sealed

    @staticmethod
    def _joined(texts: Mapping[str, str]) -> str:
        """The canonical text of a mapping whose values have these texts."""
        pairs = sorted((escaped(key), text) for key, text in texts.items())
        return "{" + ",".join(f"{dumps(key)}:{text}" for key, text in pairs) + "}"
