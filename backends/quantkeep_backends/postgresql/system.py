"""The tables that a keep has beside those of its collections."""

from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP

from quantkeep.collection import Collection, Key
from quantkeep_backends._sql.streams import stream_text
from quantkeep_backends.postgresql.engine import TEXT, PostgresqlEngine

LAYOUT: Final = 1  # of these tables and of how rows are laid out

META: Final = "quantkeep_meta"
STREAMS: Final = "quantkeep_streams"
OPERATIONS: Final = "quantkeep_operations"
BLOBS: Final = "quantkeep_blobs"
MIGRATIONS: Final = "quantkeep_migrations"


def _text(name: str, comment: str | None = None, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, TEXT, nullable=False, comment=comment, **more)


def _at(name: str, comment: str) -> sa.Column[Any]:
    return sa.Column(name, TIMESTAMP(timezone=True), nullable=False, comment=comment)


def _number(name: str, comment: str) -> sa.Column[Any]:
    zero = sa.text("0")
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=zero, comment=comment)


def tables(schema: str) -> list[sa.Table]:
    """The tables, in *schema*."""
    metadata = sa.MetaData(schema=schema)
    sa.Table(
        META,
        metadata,
        _text("name", primary_key=True),
        _text("value"),
        comment="What the keep remembers of itself",
    )
    sa.Table(
        STREAMS,
        metadata,
        _text("collection", primary_key=True),
        _text("stream", "values of the stream's columns, a JSON array", primary_key=True),
        _number("head", "the last revision given; its row is the lock under which it is given"),
        _number("deleted", "entries of a log that were deleted"),
        comment="How far each stream of revisions has come",
    )
    sa.Table(
        OPERATIONS,
        metadata,
        _text("op_id", primary_key=True),
        sa.Column("digest", BYTEA, nullable=False, comment="of what was to be written"),
        _text("receipt", "what the commit answered, JSON"),
        _at("created_at", "when it was committed"),
        comment="Commits that carried an operation id: each is applied once",
    )
    sa.Table(
        BLOBS,
        metadata,
        _text("digest", "SHA-256 of the bytes, hexadecimal", primary_key=True),
        _at("staged_at", "when it was last staged"),
        sa.Column("data", BYTEA, nullable=False),
        comment="Pieces of large values, by their content; documents refer to them",
    )
    sa.Table(
        MIGRATIONS,
        metadata,
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _at("applied_at", "when"),
        _text("change"),
        _text("statement"),
        comment="Every change of the tables, in order",
    )
    return [*metadata.tables.values()]


def extras(engine: PostgresqlEngine) -> list[str]:
    """What SQLAlchemy does not say of the tables."""
    return [
        # room for new versions of a head in its own page: no index is touched
        f"ALTER TABLE {engine.table(STREAMS)} SET (fillfactor = 50)",
        # compressed already, most of them
        f"ALTER TABLE {engine.table(BLOBS)} ALTER COLUMN data SET STORAGE EXTERNAL",
    ]


# -- streams --------------------------------------------------------------------------------------


@lru_cache(4096)
def text_of(collection: Collection, stream: Key) -> str:
    """The :func:`stream_text` of a stream of *collection*, in which 1 is not ``True``."""
    return stream_text(stream)
