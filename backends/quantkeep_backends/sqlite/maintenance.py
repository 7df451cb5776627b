"""Looking after the file: what it says of itself, whether it is whole, giving space back."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from quantkeep.backend import Durability, Health
from quantkeep.collection import Collection
from quantkeep.errors import QuantkeepError
from quantkeep.failpoints import passing
from quantkeep_backends._sql.streams import stream_of_text
from quantkeep_backends.sqlite import files, operations
from quantkeep_backends.sqlite.connections import pragma, reached
from quantkeep_backends.sqlite.database import Database
from quantkeep_backends.sqlite.engine import REVISION_BITS, REVISION_MASK

LATE_CHECKS: Final = (
    "records have checksums, SQLite's pages have none: a changed bit may hide a record in an index "
    "until `quantkeep verify` looks"
)
DAMAGE_SPREADS: Final = "the pages of all collections are in one file, and SQLite refuses it whole"
FAILPOINTS: Final = (
    "sqlite.commit.begin",
    "sqlite.commit.write",
    "sqlite.commit.written",
    "sqlite.commit.before_commit",
    "sqlite.commit.after_commit",
    "sqlite.create.file",
    "sqlite.create.begin",
    "sqlite.create.before_commit",
    "sqlite.create.after_commit",
    "sqlite.ensure.begin",
    "sqlite.ensure.table",
    "sqlite.ensure.before_commit",
    "sqlite.ensure.after_commit",
    "sqlite.append.begin",
    "sqlite.append.before_commit",
    "sqlite.append.after_commit",
    "sqlite.blob.put.begin",
    "sqlite.blob.put.written",
    "sqlite.blob.put.before_commit",
    "sqlite.blob.put.after_commit",
    "sqlite.blob.delete.begin",
    "sqlite.blob.delete.before_commit",
    "sqlite.blob.delete.after_commit",
    "sqlite.checkpoint",
    "sqlite.compact.begin",
    "sqlite.compact.after_commit",
)

_WAL_RESET_FIXED: Final = (3, 51, 3)
_SYNCHRONOUS: Final = ("off", "normal", "full", "extra")
_LITTLE: Final = 16 * 2**20  # bytes: a log and a checkpoint of it
_GAPS: Final = (
    f"SELECT s.number, s.stream, s.deleted, count(t.id), "
    f"max(s.head, coalesce(max(t.id), 0) & {REVISION_MASK}) "
    f"FROM quantkeep_streams s LEFT JOIN {{table}} t "
    f"ON t.id > s.number << {REVISION_BITS} AND t.id <= (s.number << {REVISION_BITS}) | "
    f"{REVISION_MASK} WHERE s.collection = ? GROUP BY s.number"
)
_HOMELESS: Final = (
    f"SELECT count(*) FROM {{table}} WHERE id >> {REVISION_BITS} NOT IN "
    "(SELECT number FROM quantkeep_streams WHERE collection = ?)"
)

Collections = Callable[[], Mapping[str, Collection]]


class Maintenance:
    """Looks after one database."""

    def __init__(self, database: Database, filesystem: str, collections: Collections) -> None:
        self._database = database
        self._filesystem = filesystem
        self._collections = collections

    # -- health ----------------------------------------------------------------------------------

    def durability(self) -> Durability:
        """The level that the settings reach, as they are observed now."""
        journal, synchronous = self._settings()
        return reached(journal, synchronous, volatile=files.is_volatile(self._filesystem))

    def _settings(self) -> tuple[str, int]:
        with self._database.reading() as reader:
            return str(pragma(reader, "journal_mode")), self._database.synchronous

    def health(self) -> Health:
        """What ``quantkeep doctor`` shows."""
        journal, synchronous = self._settings()
        with self._database.reading() as reader:
            ok = reader.execute("SELECT count(*) FROM quantkeep_meta").fetchone()[0] > 0
            pages, size = pragma(reader, "page_count"), pragma(reader, "page_size")
        facts = {
            "path": str(self._database.path),
            "filesystem": self._filesystem or "unknown",
            "sqlite": sqlite3.sqlite_version,
            "journal": journal,
            "synchronous": _SYNCHRONOUS[synchronous],
            "bytes": pages * size,
            "log_bytes": _size(f"{self._database.path}-wal"),
            "free_bytes": _free_bytes(self._database.path),
            "busy_timeout": self._database.settings.busy_timeout,
            "failpoints": FAILPOINTS,
            "late_checks": LATE_CHECKS,
            "damage_spreads": DAMAGE_SPREADS,
        }
        ok = ok and not self._database.poisoned
        return Health(ok, self.durability(), facts, tuple(self._warnings(journal, synchronous)))

    def _warnings(self, journal: str, synchronous: int) -> Iterator[str]:
        if sqlite3.sqlite_version_info < _WAL_RESET_FIXED:
            yield (
                f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug (fixed in 3.51.3): writers "
                "that are quantkeep's take turns and cannot meet it; let no other program write "
                "to this file while it is open"
            )
        if journal != "wal":
            yield f"the write-ahead log could not be turned on (journal_mode is {journal})"
        if self.durability() < Durability.DISK:
            yield (
                f"a power cut can lose what was committed (synchronous is "
                f"{_SYNCHRONOUS[synchronous]}, file system {self._filesystem or 'unknown'})"
            )
        if files.is_remote(self._filesystem):
            yield f"{self._filesystem} is a network file system: one machine at a time"
        free = _free_bytes(self._database.path)
        if free < _LITTLE and not self._database.read_only:
            yield f"its disk is full, or soon will be: {free:,} bytes are free; make room"
        if self._database.poisoned:
            yield "a write could not be brought to the disk: close the keep and open it again"

    def sizes(self) -> dict[str, int]:
        """Rows of each collection, and bytes."""
        with self._database.reading() as reader:
            sizes = {name: _count(reader, name) for name in self._collections()}
            sizes["bytes"] = pragma(reader, "page_count") * pragma(reader, "page_size")
        return sizes

    # -- integrity -------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """SQLite's own check, references, operations, and that no log lacks an entry."""
        try:
            with self._database.reading() as reader:
                return [*self._problems(reader)]
        except QuantkeepError as error:
            return [str(error)]

    def _problems(self, reader: sqlite3.Connection) -> Iterator[str]:
        for (line,) in reader.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield str(line)
        for table, rowid, target, _ in reader.execute("PRAGMA foreign_key_check"):
            yield f"{table} (rowid {rowid}) refers to {target} that are not stored"
        yield from operations.complaints(reader)
        for collection in self._collections().values():
            if collection.log:
                yield from self._gaps(reader, collection)

    def _gaps(self, reader: sqlite3.Connection, collection: Collection) -> Iterator[str]:
        table, name = f'"{collection.name}"', collection.name
        for _, text, deleted, count, head in reader.execute(_GAPS.format(table=table), (name,)):
            missing = head - deleted - count
            if missing:
                stream = stream_of_text(text)
                yield (
                    f"{name} {stream!r}: {abs(missing)} entries "
                    f"{'are missing' if missing > 0 else 'are too many'} "
                    f"({count} stored and {deleted} deleted, up to revision {head})"
                )
        homeless = reader.execute(_HOMELESS.format(table=table), (name,)).fetchone()[0]
        if homeless:
            yield f"{name}: {homeless} entries belong to no known stream"

    # -- space -----------------------------------------------------------------------------------

    def compact(self) -> None:
        """Write the file anew without its holes, and empty the log."""
        with self._database.turn() as writer:
            passing("sqlite.compact.begin")
            writer.execute("VACUUM")
            passing("sqlite.compact.after_commit")
            waiting = pragma(writer, "busy_timeout")
            writer.execute("PRAGMA busy_timeout = 0")  # readers keep the log: nobody waits for them
            try:
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                writer.execute(f"PRAGMA busy_timeout = {waiting}")


def _count(reader: sqlite3.Connection, table: str) -> int:
    count: Any = reader.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # ours
    return int(count)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _free_bytes(path: Path) -> int:
    """What the disk of *path* has room for."""
    return shutil.disk_usage(path.parent).free
