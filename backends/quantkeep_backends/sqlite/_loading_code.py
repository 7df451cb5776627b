"""How SQLite's rows are loaded; see :mod:`quantkeep_backends._sql.loading_code`."""

from collections.abc import Iterator
from typing import Final

from quantkeep.collection import Collection
from quantkeep.columns import Column, Kind
from quantkeep_backends._sql.loading_code import Forms
from quantkeep_backends.sqlite.engine import REVISION_MASK
from quantkeep_backends.sqlite.functions import real_from_sqlite


def _taken_apart(collection: Collection, values: str) -> Iterator[str]:
    if collection.log:
        yield f"place, {values}created, version, digest, seal = raw"
        yield f"revision, updated = place & {REVISION_MASK}, created"
    else:
        yield f"{values}revision, created, updated, version, digest, seal = raw"


def _value(place: int, column: Column) -> str | None:
    if column.kind is Kind.REAL:
        return f"if type(v{place}) is bytes: v{place} = real(v{place})"
    if column.kind is Kind.BOOLEAN:  # what is neither stays, for the digest to notice
        return f"v{place} = flag(v{place}, v{place})"
    return None


def _sealed(collection: Collection) -> str:
    stamps = "place, created" if collection.log else "revision, created, updated"
    return f"digest, {stamps}, version"


FORMS: Final = Forms(
    _taken_apart, _value, _sealed, {"flag": {0: False, 1: True}.get, "real": real_from_sqlite}
)
