"""A writer that is killed, or whose disk fails: what campaigns examine the work of."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from quantkeep import (
    ABSENT,
    AtRevision,
    Keep,
    QuantkeepError,
    Receipt,
    Unavailable,
    Unsupported,
)
from quantkeep_conformance.children.desk import Desk, described
from quantkeep_conformance.records import Entry, Setting

T = TypeVar("T")

_TRIES = 10
STREAMS = ("live", "paper", "test")  # an operation writes to the first two in one commit


def write(desk: Desk) -> None:
    """Do operations from ``start`` to ``limit``, acknowledging each, until killed.

    Errors are told, and what failed is tried again: on the same handle, or on a new one where the
    handle says that it is of no use any more.
    """
    writer = Writer(desk)
    desk.arm("open")
    writer.open()
    desk.say("ready")
    desk.arm("ready")
    for number in range(desk.told["start"], desk.told["limit"]):
        writer.operate(number)


class Writer:
    """Does operations of several parts: blobs, a commit that spans collections, one of its own."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._keep: Keep | None = None
        self._in_doubt = False  # whether the last commit may have been applied

    def open(self) -> None:
        """A new handle."""
        self._keep = self._insist("open", -1, self._desk.open)

    def operate(self, number: int) -> None:
        """Everything that operation *number* consists of, and its acknowledgement."""
        payload = "x" * (10, 300, 3000)[number % 3]  # the same when it is tried again
        if self._desk.told["thorough"]:
            self._insist("blob", number, lambda: self._store_and_drop(payload.encode()))
        whole = self._insist("commit", number, lambda: self._commit(number, payload))
        alone = self._insist("append", number, lambda: self._append(number, payload))
        self._desk.say("ack", number=number, replayed=whole.replayed, again=not alone.added)
        if self._desk.told["thorough"]:
            self._insist("compact", number, self._compact)

    def _commit(self, number: int, payload: str) -> Receipt:
        keep = self._known()
        self._resolve(f"op-{number}")
        entries, settings = keep.table(Entry), keep.table(Setting)
        live, paper = (self._entry(mode, number, payload) for mode in STREAMS[:2])
        counter = Setting(owner="kill", name="last", value=number)
        return keep.commit(
            entries.append([live]),
            settings.put(counter, AtRevision(number) if number else ABSENT),
            entries.append([paper]),
            op_id=f"op-{number}",
        )

    def _append(self, number: int, payload: str) -> Receipt:
        keep = self._known()
        return keep.commit(keep.table(Entry).append([self._entry(STREAMS[2], number, payload)]))

    def _entry(self, mode: Any, number: int, payload: str) -> Entry:
        return Entry(account="kill", mode=mode, uid=f"op-{number}", number=number, note=payload)

    def _store_and_drop(self, data: bytes) -> None:
        backend = self._known().backend
        backend.put_blob("ab" * 32, data)
        backend.delete_blob("ab" * 32)

    def _compact(self) -> None:
        with suppress(Unsupported):
            self._known().backend.compact()

    def _known(self) -> Keep:
        assert self._keep is not None
        return self._keep

    def _insist(self, at: str, number: int, act: Callable[[], T]) -> T:
        """*act*, tried again ten times, or for as many seconds as the parent has patience."""
        turn, until = 1, time.monotonic() + self._desk.told.get("patience", 0)
        while True:
            try:
                return act()
            except QuantkeepError as error:
                if turn >= _TRIES and time.monotonic() > until:
                    raise
                self._cope(at, number, error)
            turn += 1
            time.sleep(0.02 if turn > _TRIES else 0)

    def _cope(self, at: str, number: int, error: QuantkeepError) -> None:
        """Tell of it, and take a new handle where this one is of no use any more."""
        self._desk.say("error", at=at, number=number, **described(error))
        self._in_doubt = self._in_doubt or (at == "commit" and error.applied == "unknown")
        if isinstance(error, Unavailable) and not error.retryable and at != "open":
            self._known().close()
            self.open()

    def _resolve(self, op_id: str) -> None:
        """Ask what has become of an operation, before it is tried again."""
        if self._in_doubt:
            known = self._known().resolve(op_id)
            self._desk.say("resolved", applied=known is not None)
            self._in_doubt = False
