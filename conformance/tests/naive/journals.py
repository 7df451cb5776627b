"""Journals that are each kept in a careless way, found by many in real systems."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import attrs

from naive.journal import Journal, JournalBackend, encoded
from quantkeep import Capability
from quantkeep.batch import ANYTHING, Batch, Holding, Put, Receipt
from quantkeep.collection import SealedRow
from quantkeep.errors import Busy, Conflict, StoreFull, UpgradeNeeded
from quantkeep.failpoints import passing


class CarelessJournal(Journal):
    """A plugin as :class:`Journal` is.

    Attributes:
        clauses: those that must fail.
        perhaps: those that may fail beside them, as chance has it.
    """

    def __init__(
        self, backend: Callable[[Path], JournalBackend], clauses: Any, perhaps: Any
    ) -> None:
        super().__init__(backend)
        self.clauses = clauses
        self.perhaps = perhaps


def caught_by(*clauses: str, perhaps: tuple[str, ...] = ()) -> Callable[[type], CarelessJournal]:
    """Serve ``journal://`` with a careless backend, which these *clauses* catch."""
    return lambda backend: CarelessJournal(backend, clauses, perhaps)


AT_EVERY_STEP = "durability.kill_at_every_failpoint"
KILLS = (AT_EVERY_STEP, "durability.kill_at_random_moments", "durability.kill_while_compacting")
FLIPS = ("files.flips_are_never_silent", "files.flips_are_found")
FAULTS = ("faults.disk_full", "faults.disk_error")
BETWEEN_PROCESSES = (
    "one_winner.processes",
    "one_winner.no_update_is_lost",
    "one_winner.nothing_appended_is_lost",
    "one_winner.linearizable_between_processes",
    "atomicity.other_processes_see_whole_batches",
    "leases.paused_holder_is_refused",
    "embedding.reopened_in_a_fork",
    "embedding.what_another_handle_wrote_is_seen",
    "reopen.raced_by_processes",
    "honesty.second_writer",
)


class Exclusive(JournalBackend):
    """For one process at a time, which says so."""

    capabilities = JournalBackend.capabilities & ~Capability.MULTI_PROCESS

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise Busy("another process has this journal open") from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._passing_locked()
        yield


SOUND_EXCLUSIVE = Journal(Exclusive)


class Slow(JournalBackend):
    """As on a busy machine, or behind a long line: two commits a second."""

    def _put(self, line: bytes) -> None:
        time.sleep(0.25)
        super()._put(line)


SOUND_AND_SLOW = Journal(Slow)


@caught_by(
    AT_EVERY_STEP,
    "honesty.persistence_is_claimed",
    perhaps=(*KILLS, *FAULTS, "reopen.older_backup_is_noticed", "files.torn_tail"),
)
class acknowledges_before_it_is_durable(Exclusive):
    """Gathers lines, and writes them when there are ten, or at the end."""

    def __init__(self, path: Path) -> None:
        self._pending: list[bytes] = []
        super().__init__(path)

    def _put(self, line: bytes) -> None:
        self._pending.append(line)
        if len(self._pending) == 10:
            self._flush()

    def _catch_up(self) -> None:
        if not self._pending and self._read == 0:
            super()._catch_up()

    def _cut_torn_tail(self) -> None:
        pass

    def _flush(self) -> None:
        super()._put(b"".join(self._pending))
        self._pending.clear()

    def close(self) -> None:
        if self._file >= 0:
            self._flush()
        super().close()


@caught_by(AT_EVERY_STEP, perhaps=(*KILLS, *FAULTS))
class rewrites_its_file_in_place(Exclusive):
    """Truncates the file and writes all of it again, for each commit."""

    def _put(self, line: bytes) -> None:
        whole = os.pread(self._file, 2**30, 0) + line
        os.ftruncate(self._file, 0)
        passing("journal.truncated")
        super()._put(whole)


@caught_by(AT_EVERY_STEP, perhaps=(*KILLS, *FAULTS))
class commits_write_by_write(Exclusive):
    """Each write of a batch in a line of its own."""

    def _write_commit(self, batch: Batch, now: int, receipt: Receipt) -> None:
        *first, last = batch.writes
        for write in first:
            super()._write_commit(Batch((write,)), now, receipt)
        said = [batch.op_id, batch.digest(), receipt.to_json()] if batch.op_id is not None else []
        self._write(["commit", now, [encoded(last)], *said], self._model.undo)


@caught_by("operations.remembered_when_reopened", AT_EVERY_STEP, *FAULTS, perhaps=(*KILLS, *FAULTS))
class forgets_operations_when_closed(JournalBackend):
    def _again(self, now: int, writes: list[Any], *operation: Any) -> None:
        super()._again(now, writes)


@caught_by("reopen.revisions_go_on")
class counts_again_when_opened(JournalBackend):
    """Begins each stream where its newest record is, as ``max(revision) + 1`` does."""

    def _catch_up(self) -> None:
        fresh = not self._read
        super()._catch_up()
        for shelf in self._model.shelves.values() if fresh else ():
            there = {shelf.collection.stream_of(row.values) for row in shelf.rows.values()}
            for stream in {*shelf.heads} & there:
                shelf.heads[stream] = max(
                    row.revision
                    for row in shelf.rows.values()
                    if shelf.collection.stream_of(row.values) == stream
                )


@caught_by(*FAULTS)
class lets_errors_of_the_disk_out(JournalBackend):
    def failed(self, error: OSError) -> Exception:
        return error


@caught_by(*FAULTS)
class goes_on_when_the_disk_fails(JournalBackend):
    """Logs the error, and returns as if nothing had been."""

    def _write(self, entry: list[Any], undo: Callable[[], None]) -> None:
        try:
            super()._write(entry, lambda: None)
        except Exception:  # as some do
            self._passed_over = True


@caught_by(*FAULTS)
class says_no_when_it_was_yes(JournalBackend):
    """Fails after the line was synced, and says that nothing was written."""

    def commit(self, batch: Batch) -> Receipt:
        receipt = super().commit(batch)
        try:
            passing("journal.answered")
        except OSError as error:
            raise StoreFull("nothing was written") from error
        return receipt


@caught_by(
    "one_winner.nothing_appended_is_lost",
    perhaps=(*BETWEEN_PROCESSES, "reopen.older_backup_is_noticed", "files.torn_tail"),
)
class does_without_a_lock(JournalBackend):
    """Looks, and then writes; what others wrote meanwhile is sorted out by whoever reads."""

    def _alone(self) -> Any:
        return nullcontext()

    def _cut_torn_tail(self) -> None:
        pass

    def _again(self, now: int, writes: list[Any], *operation: Any) -> None:
        try:
            super()._again(now, writes, *operation)
        except Conflict:
            self._passed_over = True

    def _compare(self) -> None:
        pass


@caught_by("embedding.what_another_handle_wrote_is_seen", perhaps=BETWEEN_PROCESSES)
class reads_what_it_knows_already(JournalBackend):
    """Catches up when it writes, and not when it reads."""

    def _refreshed(self, read: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            return read(*arguments)


@caught_by("reopen.older_backup_is_noticed", perhaps=("files.torn_tail",))
class builds_on_an_older_backup(JournalBackend):
    def _compare(self) -> None:
        self._read = min(self._read, os.fstat(self._file).st_size)

    def _cut_torn_tail(self) -> None:
        pass


@caught_by(
    "leases.stale_token_changes_nothing",
    "leases.no_lease_is_no_permission",
    "leases.paused_holder_is_refused",
)
class looks_at_no_token(JournalBackend):
    def commit(self, batch: Batch) -> Receipt:
        writes = tuple(
            attrs.evolve(w, expect=ANYTHING)
            if isinstance(getattr(w, "expect", None), Holding)
            else w
            for w in batch.writes
        )
        return super().commit(attrs.evolve(batch, writes=writes))


@caught_by("hostile.ids_of_files")
class makes_files_named_by_keys(JournalBackend):
    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        super().__init__(path)

    def commit(self, batch: Batch) -> Receipt:
        for write in batch.writes:
            if isinstance(write, Put):
                self._mark(write.row)
        return super().commit(batch)

    def _mark(self, row: SealedRow) -> None:
        try:
            (self._folder / f"{row.values[0]}").touch(0o600)
        except (OSError, ValueError):
            self._passed_over = True


@caught_by(*FLIPS, "files.cuts_are_never_silent")
class takes_damage_for_a_torn_tail(JournalBackend):
    """Stops at a line that is not sound, whatever follows, as if it were the last."""

    def _noted_length(self) -> int:
        return 0

    def met(self, line: bytes) -> None:
        self._passed_over = True


@caught_by("files.cuts_are_never_silent")
class does_not_know_how_long_it_was(JournalBackend):
    """Takes a journal that was cut behind a line for one that was never longer."""

    def _note_length(self) -> None:
        pass


@caught_by("files.torn_tail", perhaps=KILLS)
class appends_behind_a_torn_tail(JournalBackend):
    def _cut_torn_tail(self) -> None:
        pass


@caught_by("files.private")
class makes_files_for_everybody(JournalBackend):
    def opened(self, path: Path, more: int = os.O_NOFOLLOW, mode: int = 0o666) -> int:
        return super().opened(path, more, mode)


@caught_by("files.planted_links")
class writes_through_links(JournalBackend):
    """Begins anew what is no journal, wherever it is."""

    def opened(self, path: Path, more: int = 0, mode: int = 0o600) -> int:
        file = super().opened(path, more, mode)
        if os.pread(file, 1, 0) not in b"0123456789abcdef":
            os.ftruncate(file, 0)
        return file


@caught_by("durability.kill_while_compacting", perhaps=KILLS)
class compacts_in_place(JournalBackend):
    """Writes the file again over itself, line by line."""

    def compact(self) -> None:
        with self._lock, self._alone():
            self._catch_up()
            lines = os.pread(self._file, 2**30, 0).splitlines(keepends=True)
            os.ftruncate(self._file, 0)
            for line in lines:
                os.write(self._file, line)
                time.sleep(0.001)  # wide enough for a kill on a busy machine too


@caught_by("reopen.raced_by_processes")
class makes_room_if_nobody_else_does(JournalBackend):
    """Gives up where another process has changed what the keep says of itself meanwhile."""

    def ensure(self, collections: Any, description: str) -> None:
        known = self._description
        time.sleep(0.02)
        with self._lock, self._alone():
            self._catch_up()
            if self._description != known:
                raise UpgradeNeeded("somebody else has changed the schema")
        super().ensure(collections, description)
