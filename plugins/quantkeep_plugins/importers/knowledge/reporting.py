"""What an import did, and what it had to decide."""

from collections.abc import Mapping
from uuid import UUID

import attrs


@attrs.frozen(kw_only=True)
class Imported:
    """The outcome of an import.

    Attributes:
        run_id: the run that everything belongs to.
        read: records of the source, by kind.
        added: rows of the keep that are new, all collections together; 0 the second time.
        notes: what the source did not say, and what was taken instead.
    """

    run_id: UUID
    read: Mapping[str, int]
    added: int
    notes: tuple[str, ...] = ()
