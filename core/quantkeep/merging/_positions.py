"""What points at revisions of a log points at those of the target once it is merged."""

import json
from collections.abc import Callable
from typing import Any, Final

import attrs

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Row
from quantkeep.documents import normalise
from quantkeep.merging._source import Source
from quantkeep.merging._target import Place, Target, spans_of
from quantkeep.query import Query, Where
from quantkeep.watermarks import Stream

_SESSIONS: Final = "sessions"
_SNAPSHOTS: Final = "session_snapshots"

Fields = dict[str, Any]


@attrs.frozen
class Positions:
    """Rewrites the rows of a source for a target."""

    source: Source
    target: Target

    def moved(self, collection: Collection, row: StoredRow) -> Row:
        """The values of *row*, as the target is to have them."""
        rewrite = self._rewriters.get(collection.name)
        if rewrite is None:
            return row.values
        fields = dict(zip(collection.names, row.values, strict=True))
        rewrite(fields)
        return tuple(fields.values())

    @property
    def _rewriters(self) -> dict[str, Callable[[Fields], None]]:
        return {
            _SESSIONS: self._session,
            _SNAPSHOTS: self._snapshot,
            "live_trades": self._stretch,
            "replays": self._stretch,
        }

    def _session(self, fields: Fields) -> None:
        """The latest of its name has the highest number: this one, from now on."""
        session_id = fields["session_id"]
        if self.target.places[_SESSIONS].row((session_id,)) is None:
            fields["number"] = self._next_number(fields["name"])
        fields["watermarks"] = self._watermarks(fields["watermarks"])
        if fields["snapshot_revision"] and _SNAPSHOTS in self.source.collections:
            known = self.source.revisions(_SNAPSHOTS, session_id=session_id)
            before = self.target.places[_SNAPSHOTS].head((session_id,))
            place = sum(revision <= fields["snapshot_revision"] for revision in known)
            fields["snapshot_revision"] = before + place

    def _next_number(self, name: str) -> int:
        place = self.target.places[_SESSIONS]
        query = Query(where=(Where("name", "==", name),), order=("-number",), limit=1)
        last = next(place.backend.scan(place.collection, query), None)
        return int(self._value(place, last, "number")) + 1 if last else 1

    @staticmethod
    def _value(place: Place, row: StoredRow, column: str) -> Any:
        return row.values[place.collection.places[column]]

    def _snapshot(self, fields: Fields) -> None:
        place = self.target.places[_SESSIONS]
        session = place.row((fields["session_id"],))
        if session is not None:
            fields["number"] = self._value(place, session, "number")
        fields["watermarks"] = self._watermarks(fields["watermarks"])

    def _watermarks(self, document: str) -> str:
        marks: dict[str, int] = json.loads(document)
        for name, revision in marks.items():
            log, stream = Stream.named(name)
            marks[name] = self._there(log, stream.key, revision)
        return normalise(json.dumps(marks))

    def _stretch(self, fields: Fields) -> None:
        stream = (fields["account"], fields["mode"])
        for name in ("first_revision", "last_revision"):
            if fields[name] is not None:
                fields[name] = self._there(fields["log"], stream, fields[name])

    def _there(self, log: str, stream: tuple[Any, ...], revision: int) -> int:
        """The revision in the target by which all entries up to *revision* are there."""
        place = self.target.places.get(log)
        if place is None:
            return revision
        spans = spans_of(place.mark(self.source.identity, log, stream))
        if not spans:
            return place.head(stream)
        behind = [span for span in spans if span[0] <= revision]
        if not behind:
            return min(here for _, here, _ in spans) - 1
        return max(here + min(revision - there, count - 1) for there, here, count in behind)
