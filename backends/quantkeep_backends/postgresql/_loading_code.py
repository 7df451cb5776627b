"""How PostgreSQL's rows are loaded; see :mod:`quantkeep_backends._sql.loading_code`."""

import struct
from collections.abc import Iterator
from typing import Final

from quantkeep.collection import Collection
from quantkeep.columns import Column, Kind, plain_decimal
from quantkeep_backends._sql.loading_code import Forms
from quantkeep_backends.postgresql.engine import MICROSECONDS_TO_2000, date_text, uuid_text

_READ: Final = {
    Kind.TIMESTAMP: f"v{{0}} + {MICROSECONDS_TO_2000}",
    Kind.DATE: "date_text(v{0})",
    Kind.UUID: "uuid_text(v{0})",
    Kind.DECIMAL: "plain_decimal(v{0})",
}


def _taken_apart(collection: Collection, values: str) -> Iterator[str]:
    log = collection.log
    yield f"{values}revision, created, {'' if log else 'updated, '}version, digest, seal = raw"
    yield f"created += {MICROSECONDS_TO_2000}"
    yield "updated = created" if log else f"updated += {MICROSECONDS_TO_2000}"


def _value(place: int, column: Column) -> str | None:
    read = _READ.get(column.kind)
    return read and f"if v{place} is not None: v{place} = {read.format(place)}"


def _sealed(collection: Collection) -> str:
    return f"token(digest)[0], revision, created, {'0' if collection.log else 'updated'}, version"


FORMS: Final = Forms(
    _taken_apart,
    _value,
    _sealed,
    {
        "date_text": date_text,
        "plain_decimal": plain_decimal,
        "token": struct.Struct(">q8x").unpack,
        "uuid_text": uuid_text,
    },
)
