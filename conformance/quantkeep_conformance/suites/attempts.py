"""Commits that may fail, and what must then be there: each once, or its outcome was unknown."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from quantkeep import Busy, Conflict, Keep, OutcomeUnknown, QuantkeepError, Unavailable, Where
from quantkeep.batch import Write
from quantkeep_conformance.records import Entry

T = TypeVar("T")
PATIENCE = 10.0  # seconds for a handle to recover


def insisted(act: Callable[[], T]) -> T:
    """*act*, tried again while the server cannot be reached."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except (Unavailable, Busy):
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


class Attempts:
    """Appends entries without a uid, which would be there twice if they were applied twice.

    Attributes:
        done, refused, unknown: how many ended so.
    """

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._entries = keep.table(Entry)
        self._account = f"attempts {id(self)}"
        self._number = 0
        self._expected: dict[int, bool | None] = {}
        self._failure: BaseException | None = None

    @property
    def done(self) -> int:
        return self._count(applied=True)

    @property
    def refused(self) -> int:
        return self._count(applied=False)

    @property
    def unknown(self) -> int:
        return self._count(applied=None)

    def _count(self, *, applied: bool | None) -> int:
        return sum(became is applied for became in self._expected.values())

    def append(self, *, until_done: bool = False) -> None:
        """Append one entry; with *until_done*, one after the other, until one is acknowledged."""
        until = time.monotonic() + PATIENCE
        while True:
            self._number += 1
            entry = Entry(account=self._account, number=self._number)
            self._expected[entry.number] = self._tried(
                lambda: self._keep.commit(self._entries.append([entry]))  # noqa: B023  # run now
            )
            if self._expected[entry.number] or not until_done:
                return
            assert time.monotonic() < until, "the handle does not recover"
            time.sleep(0.01)

    def _tried(self, act: Callable[[], object]) -> bool | None:
        """Whether *act* was applied, by what is said."""
        try:
            act()
        except Conflict as error:
            raise AssertionError(f"nobody else was there, and yet: {error!r}") from error
        except OutcomeUnknown:
            return None
        except QuantkeepError as error:
            return {"yes": True, "no": False, "unknown": None}[error.applied]
        return True

    def commit(self, op_id: str) -> None:
        """Append one entry under *op_id*, and ask what became of it where that is unknown."""
        self._number += 1
        entry = Entry(account=self._account, number=self._number)
        write = self._entries.append([entry])
        became = self._tried(lambda: self._keep.commit(write, op_id=op_id))
        known = insisted(lambda: self._keep.resolve(op_id))
        assert became is None or became == (known is not None), (
            f"a commit said applied={became}, and resolve says {known}"
        )
        again = insisted(lambda: self._committed(write, op_id))
        assert again == (known is not None), "what was resolved was not what had happened"
        self._expected[entry.number] = True

    def _committed(self, write: Write, op_id: str) -> bool:
        """Whether committing it again changes nothing."""
        while True:
            with suppress(OutcomeUnknown):
                return self._keep.commit(write, op_id=op_id).replayed

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Entries are appended, one after the other, while the block runs."""
        stop = threading.Event()
        worker = threading.Thread(target=self._work, args=(stop,))
        worker.start()
        try:
            yield
        finally:
            stop.set()
            worker.join()
        if self._failure is not None:
            raise self._failure

    def wait_for(self, more: int) -> None:
        """Wait until so many more attempts were made by the work in the background."""
        until, target = time.monotonic() + PATIENCE, self._number + more
        while self._number < target and time.monotonic() < until and self._failure is None:
            time.sleep(0.001)

    def _work(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self.append()
        except BaseException as error:  # noqa: BLE001  # the clause's own thread must see it
            self._failure = error

    def hold(self) -> None:
        """Fail unless what was done is there once, and what was refused is not."""
        self.append(until_done=True)
        mine = Where("account", "==", self._account)
        found = [entry.number for entry in insisted(lambda: self._entries.list(mine))]
        assert len(found) == len(set(found)), f"applied twice: {found}"
        wrong = {
            number: "lost" if became else "said to be refused, and there"
            for number, became in self._expected.items()
            if became is not None and became != (number in found)
        }
        assert not wrong, f"{wrong}"

    def counts(self) -> dict[str, object]:
        """What came of them."""
        return {"done": self.done, "refused": self.refused, "unknown": self.unknown}
