"""Looking after the schema: what the server says of itself, whether the tables are whole."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from quantkeep.backend import Durability, Health
from quantkeep.collection import Collection
from quantkeep.errors import PermissionDenied, QuantkeepError
from quantkeep_backends._sql.streams import stream_of_text, stream_text
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.database import Database
from quantkeep_backends.postgresql.server import ServerFacts
from quantkeep_backends.postgresql.system import META, STREAMS
from quantkeep_backends.postgresql.tools import Tools

FAILPOINTS: Final = (
    "postgresql.commit.begin",
    "postgresql.commit.write",
    "postgresql.commit.written",
    "postgresql.commit.before_commit",
    "postgresql.commit.after_commit",
    "postgresql.create.begin",
    "postgresql.create.before_commit",
    "postgresql.create.after_commit",
    "postgresql.ensure.begin",
    "postgresql.ensure.table",
    "postgresql.ensure.before_commit",
    "postgresql.ensure.after_commit",
    "postgresql.append.begin",
    "postgresql.append.after_commit",
    "postgresql.put.begin",
    "postgresql.put.after_commit",
    "postgresql.blob.put.begin",
    "postgresql.blob.put.after_commit",
    "postgresql.blob.delete.begin",
    "postgresql.blob.delete.after_commit",
)


# Of rows, large values and indexes; without the maps of free space that a vacuum adds
_BYTES: Final = (
    "SELECT coalesce(sum(pg_relation_size(r.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n "
    "ON n.oid = c.relnamespace CROSS JOIN LATERAL (SELECT c.oid UNION ALL SELECT "
    "nullif(c.reltoastrelid, 0) UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = c.oid) "
    "AS r WHERE n.nspname = $1 AND c.relkind = 'r'"
)


class Maintenance:
    """Looks after one schema."""

    def __init__(self, database: Database, tools: Tools) -> None:
        self._database = database
        self._tools = tools

    # -- health ----------------------------------------------------------------------------------

    def durability(self) -> Durability:
        """The level that the settings reach, as they are observed now."""
        return self._database.read(ServerFacts.read).durability

    def health(self) -> Health:
        """What ``quantkeep doctor`` shows."""
        server = self._database.read(ServerFacts.read)
        known = self._database.read(self._is_known)
        facts = {
            "server": self._database.settings.name,
            "schema": self._database.settings.schema,
            **server.shown(),
            "pool_size": self._database.pool.size,
            "failpoints": FAILPOINTS,
        }
        return Health(known, server.durability, facts, tuple(server.warnings()))

    def _is_known(self, link: Link) -> bool:
        sql = f"SELECT count(*) FROM {self._database.engine.table(META)}"
        return _number(link, sql) > 0

    def sizes(self) -> dict[str, int]:
        """Rows of each collection, and bytes."""
        table, schema = self._database.engine.table, self._database.settings.schema
        names = [*self._tools.peers()]

        def work(link: Link) -> dict[str, int]:
            with link.unhurried():
                found = {n: _number(link, f"SELECT count(*) FROM {table(n)}") for n in names}
                found["bytes"] = _number(link, _BYTES, schema)
            return found

        return self._database.read(work)

    # -- integrity -------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """References, receipts, and that no log lacks an entry; pages are the server's to check."""
        peers = self._tools.peers()
        try:
            return self._database.read(lambda link: self._checked(link, peers))
        except QuantkeepError as error:
            return [str(error)]

    def _checked(self, link: Link, peers: Mapping[str, Collection]) -> list[str]:
        with link.unhurried():
            return [*self._problems(link, peers)]

    def _problems(self, link: Link, peers: Mapping[str, Collection]) -> Iterator[str]:
        yield from self._tools.operations.complaints(link)
        for collection in peers.values():
            yield from self._dangling(link, collection, peers)
            if collection.log:
                yield from self._gaps(link, collection)

    def _dangling(
        self, link: Link, collection: Collection, peers: Mapping[str, Collection]
    ) -> Iterator[str]:
        """The constraints hold, unless somebody turned them off."""
        child = self._tools.prepare(collection)
        for reference in collection.references:
            parent = self._tools.prepare(peers[reference.to])
            theirs = peers[reference.to].key_columns
            same = " AND ".join(
                f"p.{parent.name(their)} = c.{child.name(our)}"
                for their, our in zip(theirs, reference.columns, strict=True)
            )
            whole = " AND ".join(f"c.{child.name(n)} IS NOT NULL" for n in reference.columns)
            sql = (
                f"SELECT count(*) FROM {child.table} c WHERE {whole} AND NOT EXISTS "
                f"(SELECT FROM {parent.table} p WHERE {same})"
            )
            count = _number(link, sql)
            if count:
                yield f"{collection.name}: {count} rows refer to {reference.to} not stored"

    def _gaps(self, link: Link, collection: Collection) -> Iterator[str]:
        counts = self._counted(link, collection)
        table = self._database.engine.table(STREAMS)
        sql = f"SELECT stream, head, deleted FROM {table} WHERE collection = $1"
        for text, head, deleted in link.run(sql, (collection.name,)).fetchall():
            stream = stream_of_text(text)
            count = counts.pop(text, 0)
            missing = head - deleted - count
            if missing:
                yield (
                    f"{collection.name} {stream!r}: {abs(missing)} entries "
                    f"{'are missing' if missing > 0 else 'are too many'} "
                    f"({count} stored and {deleted} deleted, up to revision {head})"
                )
        if counts:
            homeless = sum(counts.values())
            yield f"{collection.name}: {homeless} entries belong to no known stream"

    def _counted(self, link: Link, collection: Collection) -> dict[str, int]:
        """Entries of each stream."""
        prepared = self._tools.prepare(collection)
        columns = [*map(prepared.name, collection.stream)]
        kinds = [collection.column(name) for name in collection.stream]
        grouped = f" GROUP BY {', '.join(columns)}" if columns else ""
        listed = ", ".join([*columns, "count(*)"])
        counts = {}
        for *values, count in link.run(f"SELECT {listed} FROM {prepared.table}{grouped}"):
            scalar = self._database.engine.scalar
            key = tuple(scalar(c, value) for c, value in zip(kinds, values, strict=True))
            counts[stream_text(key)] = count
        return counts

    # -- space -----------------------------------------------------------------------------------

    def compact(self) -> None:
        """Let the space of old versions be used again, and the planner know what is there."""
        names = (*self._tools.peers(), STREAMS)

        def work(link: Link) -> None:
            with link.unhurried(), _noticing(link) as refused:
                for name in names:
                    link.script(f"VACUUM (ANALYZE) {self._database.engine.table(name)}")
                    if refused:
                        raise PermissionDenied(
                            f"{self._database.where}: {name} may be compacted by its owner alone: "
                            f"connect as the schema's owner ({refused[0]})"
                        )

        self._database.write(work)


@contextmanager
def _noticing(link: Link) -> Iterator[list[str]]:
    """What a vacuum passes over, with a warning and no error, for want of rights."""
    refused: list[str] = []

    def note(said: psycopg.errors.Diagnostic) -> None:
        if (said.source_function or "").startswith("vacuum_is_"):  # ..._permitted_for_relation
            refused.append(said.message_primary or "")

    link.connection.add_notice_handler(note)
    try:
        yield refused
    finally:
        link.connection.remove_notice_handler(note)


def _number(link: Link, sql: str, *values: str) -> int:
    found: Any = link.run(sql, values).fetchone()
    return int(found[0])
