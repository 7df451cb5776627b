"""Blobs: chunks by the digest of their content, invisible until a commit refers to them (Z-7)."""

import sqlite3
from collections.abc import Iterator
from typing import Final

from quantkeep.columns import INT64_MAX
from quantkeep.failpoints import passing
from quantkeep_backends.sqlite.database import Database

# Staging again what is staged makes it young again, so that gc does not take it from a writer
_PUT: Final = (
    "INSERT INTO quantkeep_blobs (digest, staged_at, data) VALUES (?, ?, ?) "
    "ON CONFLICT (digest) DO UPDATE SET staged_at = excluded.staged_at"
)
_GET: Final = "SELECT data FROM quantkeep_blobs WHERE digest = ?"
_SIZE: Final = "SELECT length(data) FROM quantkeep_blobs WHERE digest = ?"
_DELETE: Final = "DELETE FROM quantkeep_blobs WHERE digest = ? AND staged_at < ?"
_LIST: Final = "SELECT digest, staged_at FROM quantkeep_blobs ORDER BY digest"


class Blobs:
    """The blobs of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, digest: str, data: bytes, now: int) -> None:
        """Stage *data*."""

        def work(writer: sqlite3.Connection) -> None:
            writer.execute(_PUT, (digest, now, data))
            passing("sqlite.blob.put.written")

        self._database.write("blob.put", work)

    def get(self, digest: str) -> bytes | None:
        """The content staged under *digest*."""
        with self._database.reading() as reader:
            found = reader.execute(_GET, (digest,)).fetchone()
        return found and bytes(found[0])

    def size(self, digest: str) -> int:
        """How many bytes it has."""
        with self._database.reading() as reader:
            found = reader.execute(_SIZE, (digest,)).fetchone()
        return found[0] if found else 0

    def delete(self, digest: str, staged_before: int | None) -> None:
        """Forget a blob that was last staged before that time, if one is given."""
        values = (digest, INT64_MAX if staged_before is None else staged_before)
        self._database.write("blob.delete", lambda writer: writer.execute(_DELETE, values))

    def all(self) -> Iterator[tuple[str, int]]:
        """Digest and time of staging of each."""
        with self._database.reading() as reader:
            rows: list[tuple[str, int]] = reader.execute(_LIST).fetchall()
        return iter(rows)
