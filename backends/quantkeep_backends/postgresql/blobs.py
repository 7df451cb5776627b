"""Blobs: chunks by the digest of their content, invisible until a commit refers to them (Z-7)."""

from collections.abc import Iterator

from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.database import Database
from quantkeep_backends.postgresql.engine import moment
from quantkeep_backends.postgresql.rows import microseconds_sql
from quantkeep_backends.postgresql.system import BLOBS


class Blobs:
    """The blobs of one schema."""

    def __init__(self, database: Database) -> None:
        self._database = database
        table = database.engine.table(BLOBS)
        # Staging again what is staged makes it young again: gc does not take it from a writer
        self._renew = f"UPDATE {table} SET staged_at = clock_timestamp() WHERE digest = $1"
        self._put = (
            f"INSERT INTO {table} (digest, staged_at, data) VALUES ($1, clock_timestamp(), $2) "
            "ON CONFLICT (digest) DO UPDATE SET staged_at = excluded.staged_at"
        )
        self._get = f"SELECT data FROM {table} WHERE digest = $1"
        self._size = f"SELECT octet_length(data) FROM {table} WHERE digest = $1"
        self._delete = f"DELETE FROM {table} WHERE digest = $1"
        self._list = f"SELECT digest, {microseconds_sql('staged_at')} FROM {table} ORDER BY digest"

    def put(self, digest: str, data: bytes) -> None:
        """Stage *data*."""
        self._database.step("blob.put.begin")

        def work(link: Link) -> None:
            if not link.alone(self._renew, (digest,)).rowcount:
                link.alone(self._put, (digest, data))

        self._database.write(work)
        self._database.committed("blob.put")

    def get(self, digest: str) -> bytes | None:
        """The content staged under *digest*."""
        found = self._database.read(lambda link: link.run(self._get, (digest,)).fetchone())
        return None if found is None else bytes(found[0])

    def size(self, digest: str) -> int:
        """How many bytes it has."""
        found = self._database.read(lambda link: link.run(self._size, (digest,)).fetchone())
        return found[0] if found else 0

    def delete(self, digest: str, staged_before: int | None) -> None:
        """Forget a blob that was last staged before that time, if one is given."""
        sql, values = self._delete, [digest]
        if staged_before is not None:
            sql, values = f"{sql} AND staged_at < $2", [digest, moment(staged_before)]
        self._database.step("blob.delete.begin")
        self._database.write(lambda link: link.alone(sql, values))
        self._database.committed("blob.delete")

    def all(self) -> Iterator[tuple[str, int]]:
        """Digest and time of staging of each."""
        rows = self._database.read(lambda link: link.run(self._list).fetchall())
        return ((digest, staged) for digest, staged in rows)
