"""Writing the next commit, among others who want to write it too."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from quantkeep.batch import Batch, Receipt
from quantkeep.errors import (
    Busy,
    OutcomeUnknown,
    QuantkeepError,
    StoreFull,
    Unavailable,
    WriterPoisoned,
)
from quantkeep.failpoints import passing
from quantkeep.model import Effect
from quantkeep_backends._files import durable
from quantkeep_backends._files.medium import Files
from quantkeep_backends.parquet import _entries
from quantkeep_backends.parquet._replica import Replica
from quantkeep_backends.parquet._tables import Tables

_TURN: Final = 2.0  # seconds to wait for other writers of this host before trying beside them
_OF_THE_STORE: Final = (OutcomeUnknown, StoreFull, Unavailable)  # not of what it holds

Change = Callable[[Tables], Mapping[str, Any] | None]


class Committer:
    """Makes changes to the level state of a handle, and writes what they say into the log."""

    def __init__(
        self, files: Files, replica: Replica, thread: threading.RLock, patience: float
    ) -> None:
        self._files = files
        self._replica = replica
        self._thread = thread
        self._patience = patience
        self._is_alone = True  # as far as was seen: nobody came in between

    def apply(self, batch: Batch, now: int) -> Receipt:
        """Commit *batch*."""
        receipts = list[Receipt]()

        def applied(tables: Tables) -> Mapping[str, Any] | None:
            receipt, effects = tables.apply(batch, now)
            receipts.append(receipt)
            return self._entry(tables, batch, receipt, effects)

        self.insist(applied)
        return receipts[-1]

    def _entry(
        self, tables: Tables, batch: Batch, receipt: Receipt, effects: Sequence[Effect]
    ) -> Mapping[str, Any] | None:
        """What the log is to say of the batch that was applied; ``None``: nothing has changed."""
        segments, operation = tables.segments, None
        if batch.op_id is not None and not receipt.replayed:
            operation = _entries.Operation(batch.op_id, *tables.operations[batch.op_id])
        if not effects and not segments and operation is None:
            return None
        collections = self._replica.state.collections
        return _entries.entry(collections, receipt.at, effects, segments, operation)

    def insist(self, change: Change) -> None:
        """Make *change* to the level state and write what it says, until nobody is in between.

        Raises:
            Busy: others were in between for longer than the time allowed. Corrupt: a file is
                damaged, and what it says may matter.
        """
        with self._thread, self._files.turn(min(_TURN, self._patience)):
            with durable.told(self._files.root):
                passing("parquet.commit.begin")
            if self._is_alone and self._made_unasked(change):
                return
            for _ in self._tries():
                before, tables = self._replica.seen, self._replica.level()
                self._is_alone = self._replica.seen == before
                self._replica.state.harms.check_writable()
                if self._changed(tables, change):
                    return
        raise Busy(
            f"other writers of {self._files.root} were first for {self._patience:g} s; nothing was "
            "written"
        )

    def _made_unasked(self, change: Change) -> bool:
        """Whether *change* was made to the state as it was last seen, which saves a round trip.

        If there is a newer one, a commit is refused. What comes to nothing, or is refused for what
        the state says, holds if that proves to be the newest.
        """
        tables, before = self._replica.unasked(), self._replica.seen
        if tables is None:
            return False
        try:
            if not self._changed(tables, change):
                self._is_alone = False
                return False
        except _OF_THE_STORE:
            raise
        except QuantkeepError:
            if self._is_newest(before):
                raise
            return False
        return self._replica.seen != before or self._is_newest(before)

    def _is_newest(self, known: tuple[str, int]) -> bool:
        self._replica.level()
        self._is_alone = self._replica.seen == known
        return self._is_alone

    def _changed(self, tables: Tables, change: Change) -> bool:
        tables.position.number = self._replica.state.log.number + 1
        keep_files = False
        try:
            said = change(tables)
            if said is not None and not self._replica.add(said):
                keep_files = True  # the next try needs them again
                return False
        except (OutcomeUnknown, WriterPoisoned) as error:
            keep_files = True
            if isinstance(error, WriterPoisoned):
                self._replica.poison(error)
            raise
        except QuantkeepError:
            raise
        except (
            BaseException
        ):  # nobody knows how far it came, so its files are left and all is read anew
            keep_files = True
            self._replica.doubt()
            raise
        finally:
            if not keep_files:
                tables.settle()
        return True

    def _tries(self) -> Iterator[int]:
        """Tries, with longer and longer pauses between them, as long as there is time."""
        deadline, pause = time.monotonic() + self._patience, 0.002
        yield 0
        number = 0
        while time.monotonic() < deadline:
            time.sleep(random.uniform(0, pause))  # noqa: S311  # so that writers do not keep step
            pause = min(pause * 1.6, 0.25)
            number += 1
            yield number
