"""What a merge remembers: in the source who it is, in the target how far it has come."""

from typing import Any
from uuid import UUID, uuid4

from quantkeep.records import Record, field, record

SOURCE = "source"  # the one key of MergeSource


@record("merge_source", key=("place",))
class MergeSource(Record):
    """Which keep this is, to those that merge it. In the source."""

    place: str = SOURCE
    identity: UUID = field(factory=uuid4)
    epoch: UUID = field(factory=uuid4, doc="another one with each merge")
    previous: UUID | None = field(default=None, doc="epoch of the merge before")


@record("merged_sources", key=("source",))
class MergedSource(Record):
    """Which epoch of a source was merged last: it tells an older copy. In the target."""

    source: UUID
    epoch: UUID


@record("merge_marks", key=("source", "of", "stream"), stream=("source",))
class MergeMark(Record):
    """How far a stream of a source was merged. In the target, committed with what was merged."""

    source: UUID = field(doc="the source's identity")
    of: str = field(doc="collection of the source, keyed or a log")
    stream: str = field(doc="its stream there, as JSON")
    merged: int = field(doc="revisions up to this one were dealt with, ...")
    pending: Any = field(factory=list, doc="... except these, which are in conflict")
    spans: Any = field(
        factory=list, doc="of a log, [first revision there, first revision here, how many]"
    )
