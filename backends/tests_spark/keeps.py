"""Keeps for Spark to read: their records, what is done to them, and how answers are compared."""

import contextlib
import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

import quantkeep
from quantkeep import Keep, Record, field, record
from quantkeep.errors import StillReferenced
from quantkeep.opening import store_classes
from quantkeep_backends.parquet._columns import stamp_names
from quantkeep_conformance.exactness import same
from quantkeep_conformance.records import KIT_RECORDS, Entry, Seat
from quantkeep_conformance.samples import made, minimal, populated, with_targets
from quantkeep_conformance.suites.helpers import known

STORES = {name: cls.records for name, cls in store_classes().items()} | {"kit": KIT_RECORDS}
RECORDS = [r for records in STORES.values() for r in records]
WIDEST = Decimal("99999999999999999999.999999999999999999")
KNOWN = {r.collection.name: r for r in RECORDS}


@record("wide", key=("name",))
class Wide(Record):
    """A decimal of more digits than Spark has."""

    name: str
    figure: Decimal | None = field(default=None, precision=(50, 10))


@record("cases", key=("name",))
class Cases(Record):
    """Two columns that differ in case alone."""

    name: str
    Name: str | None = None


@record("stamped", key=("name",))
class Stamped(Record):
    """Columns that are called as those of the store and of the recipe are."""

    name: str
    created_at: datetime | None = None
    number: int = 0
    row: str | None = None
    gone: bool = True


ALL = (*KIT_RECORDS, Wide, Cases, Stamped)


def entries(start: int, end: int) -> list[Entry]:
    return [
        Entry(
            number=n,
            uid=f"uid {n}",
            symbol=f"S{n * 7 % 11}",
            happened_at=datetime(1700, 1, 1, tzinfo=UTC) + timedelta(days=n * 61),
            price=Decimal(n) / 8,
        )
        for n in range(start, end)
    ]


def opened(path: Path, *records: type[Record]) -> Keep:
    return quantkeep.open(f"parquet:///{path}", records=records or ALL)


def compact(keep: Keep, path: Path) -> None:
    """With commits before the manifest left in the log, and in every folder a file too many."""
    keep.backend.compact()
    for folder in (path / "segments").glob("*"):
        segment = next(folder.glob("*.parquet"))
        shutil.copyfile(segment, segment.with_name("0rphan.parquet"))


def write(keep: Keep, *records: Record) -> None:
    tables = ((keep.table(type(each)), each) for each in records)
    keep.commit(*(t.append([r]) if r.collection.log else t.put(r) for t, r in tables))


def delete(keep: Keep, one: Record) -> None:
    key = [getattr(one, name) for name in one.collection.key_columns]
    keep.commit(keep.table(type(one)).delete(*key))


def add(keep: Keep, number: int) -> None:
    """Of every record one in which all is said, and one in which nothing is."""
    for place, each in enumerate(RECORDS, number):
        sparse = {"hall": f"{place}"} if each is Seat else {}  # no two that are nowhere
        write(keep, *with_targets(populated(each, place), KNOWN, place))
        write(keep, *with_targets(minimal(each, place + 500, **sparse), KNOWN, place + 500))


def change(keep: Keep) -> None:
    """Put other content under a key of each collection that allows it, and delete another."""
    for place, each in enumerate(RECORDS, 9000):
        collection = each.collection
        first, *_, last = keep.table(each).list()
        if not (collection.log or collection.immutable):
            key = {name: getattr(first, name) for name in collection.key}
            other = made(each, {**populated(each, place).as_dict(), **key})
            *targets, other = with_targets(other, KNOWN, place)
            write(keep, *(t for t in targets if known(keep, t) is None), other)
        with contextlib.suppress(StillReferenced):
            delete(keep, last)


# -- what is compared ------------------------------------------------------------------------------


def key_of(record_class: type[Record]) -> list[str]:
    """The key as files call it."""
    collection = record_class.collection
    if collection.log:
        return [*collection.stream, stamp_names(collection)[0]]
    return [*collection.key]


def answered(keep: Keep, record_class: type[Record]) -> list[dict[str, Any]]:
    """What quantkeep answers: the columns by way of Arrow, and the store's own."""
    stored, names = keep.table(record_class), record_class.collection.names
    stamps = stamp_names(record_class.collection)
    columns = stored.arrow().read_all().select([*names]).to_pylist()
    envelopes = [each.envelope for each in stored.scan()]
    return [
        {**row, **dict(zip(stamps, _stamps(envelope), strict=True))}
        for row, envelope in zip(columns, envelopes, strict=True)
    ]


def _stamps(envelope: Any) -> tuple[Any, ...]:
    return (
        envelope.revision, envelope.created_at, envelope.updated_at, envelope.schema_version,
    )  # fmt: skip


def assert_same(found: DataFrame, keep: Keep, record_class: type[Record]) -> int:
    """Fail unless both have the same rows, bit for bit; how many there are."""
    key = key_of(record_class)
    rows = by_key(found.toArrow().to_pylist(), key)
    wanted = by_key(answered(keep, record_class), key)
    assert rows.keys() == wanted.keys()
    unlike = {k: (rows[k], wanted[k]) for k in wanted if not same(rows[k], wanted[k])}
    assert not unlike
    return len(rows)


def by_key(rows: list[dict[str, Any]], key: list[str]) -> dict[str, dict[str, Any]]:
    found = {repr([row[name] for name in key]): row for row in rows}
    assert len(found) == len(rows), "a row twice"
    return found
