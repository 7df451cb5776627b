"""Code that loads rows of one collection, written out and compiled once.

Every row that is read comes through it. A loop over the columns takes twice as long.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Kind, plain_decimal
from quantkeep_backends.postgresql.engine import MICROSECONDS_TO_2000, date_text, uuid_text

Load = Callable[[tuple[Any, ...]], StoredRow]

_READ: Final = {
    Kind.TIMESTAMP: f"v{{0}} + {MICROSECONDS_TO_2000}",
    Kind.DATE: "date_text(v{0})",
    Kind.UUID: "uuid_text(v{0})",
    Kind.DECIMAL: "plain_decimal(v{0})",
}


def compose(
    collection: Collection, seal_of: Callable[..., int], broken: Callable[..., Any]
) -> Load:
    """The function that makes a stored row of what was selected, its seal checked by *seal_of*.

    *broken* is called with the row where the seal is another.
    """
    known: dict[str, Any] = {
        "StoredRow": StoredRow,
        "broken": broken,
        "date_text": date_text,
        "make": tuple.__new__,
        "plain_decimal": plain_decimal,
        "seal_of": seal_of,
        "struct_error": struct.error,
        "token": struct.Struct(">q8x").unpack,
        "uuid_text": uuid_text,
    }
    exec("\n ".join(_lines(collection)), known)  # noqa: S102  # written here, of places alone
    load: Load = known["load"]
    return load


def _lines(collection: Collection) -> Iterator[str]:
    values = "".join(f"v{place}, " for place in range(len(collection.columns)))
    log = collection.log
    yield "def load(raw):"
    stamps = "created, version" if log else "created, updated, version"
    yield f"{values}revision, {stamps}, digest, seal = raw"
    yield f"created += {MICROSECONDS_TO_2000}"
    yield "updated = created" if log else f"updated += {MICROSECONDS_TO_2000}"
    for place, column in enumerate(collection.columns):
        if column.kind in _READ:
            yield f"if v{place} is not None: v{place} = {_READ[column.kind].format(place)}"
    yield f"row = make(StoredRow, (({values}), revision, created, updated, version, digest))"
    sealed = f"revision, created, {'0' if log else 'updated'}, version"
    yield f"try: good = seal_of(token(digest)[0], {sealed}) == seal"
    yield "except struct_error: good = False"
    yield "return row if good else broken(row)"
