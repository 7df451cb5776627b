"""Whether every result is as it was saved (BT-20 ... BT-23)."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs

from quantkeep.backtests.part import TaskId, as_uuid, schema_of
from quantkeep.backtests.reading import Reading, files_of
from quantkeep.backtests.records import BacktestResult
from quantkeep.backtests.schemas import SIGNALS, SUMMARY, TABLES
from quantkeep.blobs import CHUNK_BYTES
from quantkeep.errors import Corrupt, Invalid, NotFound
from quantkeep.query import Query

if TYPE_CHECKING:
    from quantkeep.backtests._checks import Checker
    from quantkeep.backtests._stored import StoredFile


@attrs.frozen
class Verified:
    """What was found of one result.

    Attributes:
        task_id: of the result.
        rows: of each table, as they were counted.
        bytes: of its files, as they were read.
        problems: each a sentence; none if all is as it was saved.
    """

    task_id: UUID
    rows: dict[str, int]
    bytes: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


class Checking(Reading):
    """How results are checked."""

    def verify(self, task_id: TaskId) -> Verified:
        """Read all of a result, and hold it against what was saved.

        Recomputed are the digests of the record and of every file, the ETags, sizes and counts of
        rows, the schema, the order in time of each symbol's rows, the counts in the summary, and
        the columns that follow from others. Problems are reported, not raised.

        Raises:
            NotFound: it is not stored.
        """
        chosen = as_uuid(task_id)
        try:
            record = self.fetch(chosen)
        except Corrupt as error:
            return Verified(chosen, {}, 0, (str(error),))
        return self._verified(record)

    def verify_all(self) -> Iterator[Verified]:
        """:meth:`verify` every result, oldest first."""
        keys = [
            self._results.collection.key_of(stored.values)[0]
            for stored in self._home.backend.scan(
                self._results.collection, Query(order=("created_at", "revision"))
            )
        ]
        for key in keys:
            try:
                yield self.verify(str(key))
            except NotFound:
                continue  # deleted meanwhile

    def _verified(self, record: BacktestResult) -> Verified:
        problems: list[str] = []
        rows: dict[str, int] = {}
        if not record.has_tables:
            return Verified(record.task_id, rows, 0, ())
        files = files_of(record)
        size = sum(self._check_file(name, stored, problems) for name, stored in files.items())
        checkers = {name: self._check_table(record, name, problems) for name in TABLES}
        for name, checker in checkers.items():
            rows[name] = checker.rows
        _check_totals(record, rows, size, problems)
        self._check_summary(record, checkers[SIGNALS], problems)
        return Verified(record.task_id, rows, size, tuple(problems))

    def _check_file(self, name: str, stored: "StoredFile", problems: list[str]) -> int:
        """Digest and ETag of one file; the bytes that were read."""
        whole, tag, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        try:
            with self._blobs.open(stored.blob) as content:
                while piece := content.read(CHUNK_BYTES):
                    whole.update(piece)
                    tag.update(piece)
                    size += len(piece)
        except Corrupt as error:
            problems.append(f"{name}: {error}")
            return size
        if whole.hexdigest() != stored.blob.digest:
            problems.append(f"{name}: the file is not the one that was saved")
        if tag.hexdigest() != stored.etag:
            problems.append(f"{name}: its ETag is {tag.hexdigest()}, not {stored.etag}")
        return size

    def _check_table(self, record: BacktestResult, name: str, problems: list[str]) -> "Checker":
        """Schema, rows and order of one table."""
        from quantkeep.backtests._checks import Checker, check_summarised

        table = schema_of(record)[name]
        checker = Checker(table)
        try:
            for batch in self._opened(record, table).batches():
                checker.see(batch)
            check_summarised(checker, name, dict.fromkeys(record.symbols))
        except (Corrupt, Invalid) as error:
            problems.append(f"{name}: {error}")
        if checker.rows != files_of(record)[name].rows:
            saved = files_of(record)[name].rows
            problems.append(f"{name}: {checker.rows} rows were read, {saved} were saved")
        return checker

    def _check_summary(
        self, record: BacktestResult, signals: "Checker", problems: list[str]
    ) -> None:
        from quantkeep.backtests._checks import check_counts

        if not signals.rows:
            return  # a summary may stand without its signals
        table = schema_of(record)[SUMMARY]
        totals: dict[str, Any] = {}
        try:
            for batch in self._opened(record, table).batches():
                named = batch["symbol"].to_pylist()
                totals.update(zip(named, batch["total_signals"].to_pylist(), strict=True))
            check_counts(signals, {s: n for s, n in totals.items() if s in signals.symbols})
        except (Corrupt, Invalid) as error:
            problems.append(f"{SUMMARY}: {error}")


def _check_totals(
    record: BacktestResult, rows: dict[str, int], size: int, problems: list[str]
) -> None:
    """What the record says of its tables as a whole (BT-21)."""
    if record.record_count != rows[SIGNALS]:
        problems.append(f"record_count is {record.record_count}, of {rows[SIGNALS]} signals")
    if record.file_size != size:
        problems.append(f"file_size is {record.file_size}, of {size} bytes")
