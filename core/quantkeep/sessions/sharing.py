"""A save that is committed together with what it is a save of (Z-8)."""

from collections.abc import Callable, Sequence

import attrs

from quantkeep.batch import Receipt, Write
from quantkeep.guard import GuardedBackend
from quantkeep.sessions.saving import Prepared, Saver
from quantkeep.watermarks import Growth, growths


class Share:
    """What a session adds to a batch: its save, with watermarks that hold what the batch appends.

    Args:
        saver: of the session.
        prepared: the save, sealed when it was asked for.
        told: is given the save whenever it has become another, and at last the receipt too.
    """

    def __init__(
        self, saver: Saver, prepared: Prepared, told: Callable[[Prepared, Receipt | None], None]
    ) -> None:
        self._saver = saver
        self._prepared = prepared
        self._marks = prepared.watermarks  # without the batch
        self._told = told
        self._growths: list[Growth] | None = None
        self._size = 0

    def writes(self, gathered: Sequence[Write]) -> Sequence[Write]:
        """The save, and that the streams end where its watermarks say."""
        if self._growths is None:
            self._growths = growths(gathered, self._marks)
        moved = {growth.name: growth.after for growth in self._growths}
        self._prepared = self._saver.marked(self._prepared, {**self._marks, **moved})
        self._told(self._prepared, None)
        save = self._saver.writes(self._prepared)
        self._size = len(save)
        return [*save, *(r for growth in self._growths for r in growth.requirements())]

    def revise(self, backend: GuardedBackend) -> bool:
        """Whether some of what is appended was on the tape already; raises as ``revised``."""
        before = self._growths or []
        self._growths = [growth.revised(backend) for growth in before]
        return self._growths != before

    def applied(self, receipt: Receipt) -> None:
        """The batch was committed."""
        of_save = attrs.evolve(receipt, outcomes=receipt.outcomes[: self._size])
        self._told(self._prepared, of_save)
