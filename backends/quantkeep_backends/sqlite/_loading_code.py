"""Code that loads rows of one collection, written out and compiled once.

Every row that is read comes through it. A loop over the columns takes twice as long.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Kind
from quantkeep_backends.sqlite.engine import REVISION_MASK
from quantkeep_backends.sqlite.functions import real_from_sqlite

Load = Callable[[tuple[Any, ...]], StoredRow]


def compose(
    collection: Collection, seal_of: Callable[..., int], broken: Callable[..., Any]
) -> Load:
    """The function that makes a stored row of what was selected, its seal checked by *seal_of*.

    *broken* is called with the row where the seal is another.
    """
    known: dict[str, Any] = {
        "StoredRow": StoredRow,
        "broken": broken,
        "flag": {0: False, 1: True}.get,
        "make": tuple.__new__,
        "real": real_from_sqlite,
        "seal_of": seal_of,
        "struct_error": struct.error,
    }
    exec("\n ".join(_lines(collection)), known)  # noqa: S102  # written here, of places alone
    load: Load = known["load"]
    return load


def _lines(collection: Collection) -> Iterator[str]:
    values = "".join(f"v{place}, " for place in range(len(collection.columns)))
    yield "def load(raw):"
    if collection.log:
        yield f"place, {values}created, version, digest, seal = raw"
        yield f"revision, updated = place & {REVISION_MASK}, created"
    else:
        yield f"{values}revision, created, updated, version, digest, seal = raw"
    for place, column in enumerate(collection.columns):
        if column.kind is Kind.REAL:
            yield f"if type(v{place}) is bytes: v{place} = real(v{place})"
        elif column.kind is Kind.BOOLEAN:  # what is neither stays, for the digest to notice
            yield f"v{place} = flag(v{place}, v{place})"
    yield f"row = make(StoredRow, (({values}), revision, created, updated, version, digest))"
    sealed = "place, created" if collection.log else "revision, created, updated"
    yield f"try: good = seal_of(digest, {sealed}, version) == seal"
    yield "except (TypeError, struct_error): good = False"
    yield "return row if good else broken(row)"
