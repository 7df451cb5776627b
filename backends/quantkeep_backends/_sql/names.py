"""Names in the database. Pure functions, so that every program finds the same tables."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

# What a table has beside the content. Names of records' own columns give way to these.
STAMPS: Final = frozenset(
    {"id", "revision", "created_at", "updated_at", "schema_version", "digest", "seal"}
)
_LONGEST: Final = 63  # of PostgreSQL's identifiers, in bytes


def column_name(name: str) -> str:
    """What a record's column *name* is called in its table: the same, unless the store needs it."""
    return f"{name}_" if name.rstrip("_").lower() in STAMPS else name


def index_name(kind: str, table: str, definition: Sequence[str]) -> str:
    """A readable name that no other definition on any table has."""
    parts = (kind, table, *definition)
    proof = blake2b("\0".join(parts).encode(), digest_size=4).hexdigest()
    readable = "_".join(parts).encode()[: _LONGEST - len(proof) - 1].decode(errors="ignore")
    return f"{readable}_{proof}"
