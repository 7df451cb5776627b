"""What a merge did."""

from collections import Counter

import attrs

from quantkeep.collection import Key


@attrs.frozen
class MergeConflict:
    """A record of the fallback that was not merged.

    Attributes:
        collection: of the record.
        key: of the record, in the fallback: canonical scalars.
        why: in words.
    """

    collection: str
    key: Key
    why: str


@attrs.define
class MergeReport:
    """What was merged, and what was not.

    Attributes:
        added: records that the target did not have, by collection.
        replaced: records of the target that were overwritten, as was asked for, by collection.
        equal: records that the target had already, by collection.
        dropped: records of the fallback that were given up, as was asked for, by collection.
        conflicts: records that are left in the fallback.
    """

    added: Counter[str] = attrs.field(factory=Counter)
    replaced: Counter[str] = attrs.field(factory=Counter)
    equal: Counter[str] = attrs.field(factory=Counter)
    dropped: Counter[str] = attrs.field(factory=Counter)
    conflicts: list[MergeConflict] = attrs.field(factory=list)

    @property
    def complete(self) -> bool:
        """Whether the fallback is empty now."""
        return not self.conflicts
