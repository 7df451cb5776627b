"""The tables that a keep has beside those of its collections."""

import re
from typing import Any, Final

import sqlalchemy as sa

from quantkeep_backends.sqlite.engine import REVISION_BITS, REVISION_MASK, SqliteEngine

APPLICATION_ID: Final = 0x514B4550  # "QKEP" in the file's header, where file(1) sees it
LAYOUT: Final = 1  # of these tables and of how rows are laid out
MOST_STREAMS: Final = 1 << (63 - REVISION_BITS)

_METADATA: Final = sa.MetaData()
_STRICT: Final[dict[str, Any]] = SqliteEngine.table_options
_COMPACT: Final[dict[str, Any]] = {**_STRICT, "sqlite_with_rowid": False}


def _text(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, **{"nullable": False, **more})


def _integer(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer, **{"nullable": False, **more})


META: Final = sa.Table(
    "quantkeep_meta",
    _METADATA,
    _text("name", primary_key=True),
    _text("value"),
    **_COMPACT,
)

# A stream's number is the upper part of its entries' ids. `head` is the last revision given, kept
# in the same commit: newest entries that were removed behind our back are missed.
STREAMS: Final = sa.Table(
    "quantkeep_streams",
    _METADATA,
    _integer("number", primary_key=True),
    _text("collection"),
    _text("stream"),
    _integer("head", server_default=sa.text("0")),
    _integer("deleted", server_default=sa.text("0")),
    sa.UniqueConstraint("collection", "stream"),
    **_STRICT,
)

OPERATIONS: Final = sa.Table(
    "quantkeep_operations",
    _METADATA,
    _text("op_id", primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    _text("receipt"),
    _integer("created_at"),
    **_COMPACT,
)

BLOBS: Final = sa.Table(
    "quantkeep_blobs",
    _METADATA,
    _text("digest", primary_key=True),
    _integer("staged_at"),
    sa.Column("data", sa.LargeBinary, nullable=False),
    **_STRICT,
)

MIGRATIONS: Final = sa.Table(
    "quantkeep_migrations",
    _METADATA,
    _integer("number", primary_key=True),
    _integer("applied_at"),
    _text("collection"),
    _text("change"),
    _text("statement"),
    **_STRICT,
)

TABLES: Final = (META, STREAMS, OPERATIONS, BLOBS, MIGRATIONS)


# -- streams --------------------------------------------------------------------------------------


def first_place(number: int) -> int:
    """The id before the first one that an entry of stream *number* may have."""
    return number << REVISION_BITS


def last_place(number: int) -> int:
    """The greatest id that an entry of stream *number* may have."""
    return (number << REVISION_BITS) | REVISION_MASK


def ddl(element: Any) -> str:
    """The statement that makes a table or an index."""
    made = sa.schema.CreateIndex if isinstance(element, sa.Index) else sa.schema.CreateTable
    text = str(made(element).compile(dialect=SqliteEngine.dialect)).strip()
    return re.sub(r"ROWID\s+STRICT$", "ROWID, STRICT", text)  # SQLAlchemy 2.0 forgets the comma
